"""Text to be continued character by character, and what counting alone foretells of it."""

from __future__ import annotations

import numpy as np

from minidl.checks import checked, number, whole
from minidl.data.dataset import Dataset
from minidl.errors import InputError


@checked
def encode(text: str, classes: tuple[str, ...]) -> np.ndarray:
    """The characters' places in `classes`, (len(text),); `decode` is the way back.

    Raises
    ------
    InputError
        If a character is not among the classes.
    """
    places = {character: place for place, character in enumerate(classes)}
    strange = sorted(set(text) - set(places))
    if strange:
        raise InputError(
            f"the text holds {strange}; the known characters are {''.join(classes)!r}, the classes"
        )
    return np.array([places[character] for character in text], np.int64)


@checked
def decode(numbers: np.ndarray, classes: tuple[str, ...]) -> str:
    """The text whose characters have these places in `classes`.

    Raises
    ------
    InputError
        If a number is no place.
    """
    numbers = np.asarray(numbers)
    if numbers.size and numbers.dtype.kind not in "iu":
        raise InputError(f"decode: numbers must be whole, not of type {numbers.dtype}")
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(classes):
        raise InputError(
            f"numbers of characters must be places in classes, from 0 to {len(classes) - 1}; they "
            f"run from {numbers.min()} to {numbers.max()}"
        )
    return "".join(classes[number] for number in numbers)


@checked
def windows(text: str, classes: tuple[str, ...], steps: int, name: str = "text") -> Dataset:
    """A text cut into windows, each with the characters that follow its own.

    Every character but the first is a target once, except at the end, where fewer than
    `steps` may be left over.

    Parameters
    ----------
    text
        At least ``steps + 1`` characters.
    classes
        All characters that there can be.
    steps
        T, the length of a window.
    name
        What the data set is called.

    Returns
    -------
    Dataset
        Inputs and targets (N, T), numbers to look up in `classes`.

    Raises
    ------
    InputError
        If the text is too short or holds other characters.
    """
    numbers = encode(text, classes)
    count = (len(numbers) - 1) // whole("steps", steps)
    if count < 1:
        raise InputError(
            f"{name}: windows of {steps} characters, each with the one after it, need a text of "
            f"at least {steps + 1}, not {len(text)}"
        )
    inputs, targets = (
        numbers[first : first + count * steps].reshape(count, steps) for first in (0, 1)
    )
    return Dataset(inputs, targets, name, classes, keep_integers=True)


@checked
def unigram_loss(train: Dataset, test: Dataset, smoothing: float = 1.0) -> float:
    """The cross entropy, in nats a character, of foretelling each one by how frequent it is.

    Parameters
    ----------
    train
        Windows of text, whose characters are counted.
    test
        Windows of text with the same classes, whose characters are foretold.
    smoothing
        Added to every count (Laplace), so that nothing is impossible. If it is 0, a
        character never seen in training makes the loss infinite.
    """
    counts = np.bincount(train.targets.ravel(), minlength=_classes(train, test))
    return float(_surprise(counts, smoothing)[test.targets].mean())


@checked
def bigram_loss(train: Dataset, test: Dataset, smoothing: float = 1.0) -> float:
    """As `unigram_loss`, but by how frequent each character is after the one before it."""
    size = _classes(train, test)
    pairs = train.inputs.ravel() * size + train.targets.ravel()
    counts = np.bincount(pairs, minlength=size * size).reshape(size, size)
    return float(_surprise(counts, smoothing)[test.inputs, test.targets].mean())


def _surprise(counts: np.ndarray, smoothing: float) -> np.ndarray:
    """-log of each count's share in its row, what has no count being impossible."""
    smoothed = counts + number("smoothing", smoothing, least=0)
    totals = np.broadcast_to(smoothed.sum(axis=-1, keepdims=True), smoothed.shape)
    surprise = np.full(smoothed.shape, np.inf)
    np.log(totals / np.maximum(smoothed, 1e-300), out=surprise, where=smoothed > 0)
    return surprise


def _classes(train: Dataset, test: Dataset) -> int:
    if not train.classes or train.classes != test.classes:
        raise InputError(
            f"{train.name} and {test.name} must have the same characters as their classes"
        )
    return len(train.classes)
