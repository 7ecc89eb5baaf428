"""The data sets that come with the package; `minidl.data.embed` made their arrays."""

from __future__ import annotations

import zlib
from importlib.resources import files
from zipfile import BadZipFile

import numpy as np

from minidl.checks import checked
from minidl.data.characters import windows
from minidl.data.dataset import Dataset
from minidl.errors import InputError

DIGITS = tuple("0123456789")
GARMENTS = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def digits() -> tuple[Dataset, Dataset]:
    """Handwritten digits, 8×8 grey levels from 0 to 16, given as floats from 0 to 1.

    Returns
    -------
    tuple of Dataset
        1,437 training and 360 test samples, the classes in equal shares;
        inputs (N, 8, 8, 1), targets (N,).

    References
    ----------
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI
    Machine Learning Repository, 1998. CC BY 4.0.
    """
    return (
        Dataset(*_arrays("digits-train"), "digits", DIGITS, scale=1 / 16),
        Dataset(*_arrays("digits-test"), "digits (test)", DIGITS, scale=1 / 16),
    )


def fashion_mnist_small() -> tuple[Dataset, Dataset]:
    """A stratified part of Fashion-MNIST, 28×28 grey levels, given as floats from 0 to 1.

    Returns
    -------
    tuple of Dataset
        6,000 training samples from the original's training part and 1,000 test
        samples from its test part; inputs (N, 28, 28, 1), targets (N,).

    References
    ----------
    H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for
    Benchmarking Machine Learning Algorithms, 2017, arXiv:1708.07747. MIT licence.
    """
    halves = [_arrays(f"fashion-mnist-small-train-{half}") for half in (1, 2)]
    inputs, targets = (np.concatenate(parts) for parts in zip(*halves, strict=True))
    return (
        Dataset(inputs, targets, "fashion-mnist-small", GARMENTS, scale=1 / 255),
        Dataset(
            *_arrays("fashion-mnist-small-test"),
            "fashion-mnist-small (test)",
            GARMENTS,
            scale=1 / 255,
        ),
    )


@checked
def shakespeare(steps: int = 64) -> tuple[Dataset, Dataset]:
    """The play "As You Like It", to be continued character by character.

    Parameters
    ----------
    steps
        T, the characters in a window.

    Returns
    -------
    tuple of Dataset
        Windows of the first nine tenths of the play to learn, and of its end to test with, so
        that no character of the one is in the other: whole numbers (N, T), and as targets
        (N, T) the characters that follow. Their `classes` are the characters of the play.

    References
    ----------
    W. Shakespeare, As You Like It, about 1599; the text of the Canterbury corpus (R. Arnold
    and T. Bell, A corpus for the evaluation of lossless compression algorithms, 1997).
    Public domain.
    """
    text = _stored("as-you-like-it")["text"].tobytes().decode("ascii")
    classes, border = tuple(sorted(set(text))), len(text) * 9 // 10
    return (
        windows(text[:border], classes, steps, "shakespeare"),
        windows(text[border:], classes, steps, "shakespeare (test)"),
    )


def _arrays(name: str) -> tuple[np.ndarray, np.ndarray]:
    stored = _stored(name)
    return stored["inputs"][..., np.newaxis], stored["targets"].astype(np.int64)


def _stored(name: str) -> dict[str, np.ndarray]:
    place = files("minidl.data").joinpath("arrays", f"{name}.npz")
    try:
        with place.open("rb") as file:
            return dict(np.load(file, allow_pickle=False))
    except (OSError, EOFError, ValueError, BadZipFile, zlib.error) as error:
        raise InputError(f"{place} is damaged ({error}): install minidl again") from error
