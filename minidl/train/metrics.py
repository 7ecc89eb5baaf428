"""Figures of a classifier, from what it answers and what is right."""

from __future__ import annotations

import numpy as np

from minidl.checks import whole
from minidl.data.conversion import as_array
from minidl.errors import InputError, ShapeError


def top_k_accuracy(outputs: np.ndarray, labels: np.ndarray, k: int = 5) -> float:
    """How often the label is among the k largest outputs.

    Of equal outputs those of smaller classes come first, so k = 1 is the accuracy.

    Parameters
    ----------
    outputs
        (..., C), as from `Trainer.predict`: logits or probabilities.
    labels
        Whole numbers (...) from 0 to C - 1.
    k
        From 1 to C.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    InputError
        If there is no sample, a label is no class, k is outside of that, or an output
        is NaN.
    ShapeError
        If the shapes do not go together.
    """
    outputs = as_array("top_k_accuracy: outputs", outputs)
    labels = as_array("top_k_accuracy: labels", labels)
    if outputs.ndim < 1 or outputs.shape[:-1] != labels.shape:
        raise ShapeError(
            f"outputs of shape {outputs.shape} need labels of shape {outputs.shape[:-1]}, "
            f"not {labels.shape}"
        )
    classes = outputs.shape[-1]
    if whole("k", k) > classes:
        raise InputError(f"k must be at most {classes}, the number of classes, not {k}")
    if not labels.size:
        raise InputError("an accuracy needs at least one sample")
    _require_classes("labels", labels, classes)
    if np.isnan(outputs).any():
        raise InputError("outputs must not be NaN")
    own = np.take_along_axis(outputs, labels[..., None], axis=-1)
    earlier = np.arange(classes) < labels[..., None]
    ahead = (outputs > own) | ((outputs == own) & earlier)
    return float((ahead.sum(axis=-1) < k).mean())


def confusion_matrix(
    predicted: np.ndarray, labels: np.ndarray, classes: int | None = None
) -> np.ndarray:
    """How many samples of each class were taken for which class.

    Parameters
    ----------
    predicted
        Whole numbers from 0 on, of any shape: ``outputs.argmax(axis=-1)``.
    labels
        What is right, of the same shape.
    classes
        How many there are; by default, as many as the largest number given implies.

    Returns
    -------
    array
        (C, C) of whole numbers: row by the label, column by what was predicted.

    Raises
    ------
    InputError
        If a number is no class.
    ShapeError
        If the shapes differ.
    """
    predicted = as_array("confusion_matrix: predicted", predicted)
    labels = as_array("confusion_matrix: labels", labels)
    if predicted.shape != labels.shape:
        raise ShapeError(
            f"predicted and labels must be of one shape, not {predicted.shape} and {labels.shape}"
        )
    for what, part in (("confusion_matrix: predicted", predicted), ("labels", labels)):
        _require_whole(what, part)
    if classes is None:
        classes = max((1 + int(part.max()) for part in (predicted, labels) if part.size), default=0)
    else:
        whole("classes", classes)
    _require_classes("confusion_matrix: predicted", predicted, classes)
    _require_classes("labels", labels, classes)
    pairs = labels.reshape(-1).astype(np.int64) * classes + predicted.reshape(-1).astype(np.int64)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _require_whole(what: str, numbers: np.ndarray) -> None:
    if numbers.size and numbers.dtype.kind not in "iu":
        raise InputError(f"{what} must be whole numbers, not of type {numbers.dtype}")


def _require_classes(what: str, numbers: np.ndarray, classes: int) -> None:
    _require_whole(what, numbers)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < classes:
        raise InputError(
            f"{what} must be from 0 to {classes - 1}; they run from {numbers.min()} to "
            f"{numbers.max()}"
        )
