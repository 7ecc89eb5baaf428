"""What losses with whole-number labels ask of them."""

from __future__ import annotations

import numpy as np

from minidl.errors import InputError, ShapeError
from minidl.nn.loss import Loss
from minidl.nn.parameters import Shape


def as_labels(outputs_shape: Shape, targets: np.ndarray) -> np.ndarray:
    """Labels that are whole as floats, or True and False, as integers; a column as (N,)."""
    if targets.dtype.kind == "b" or (
        targets.dtype.kind == "f" and np.all(targets == np.round(targets))
    ):
        targets = targets.astype(np.int64)
    column = len(outputs_shape) == 1 and targets.shape[1:] == (1,)
    return targets[:, 0] if column else targets


def check_labels(
    loss: Loss, outputs_shape: Shape, targets: np.ndarray, ignored: int | None = None
) -> None:
    """Check that there is one label for each row of outputs, and an output for each label.

    Parameters
    ----------
    loss
        Whose labels they are, for the message.
    outputs_shape
        The shape of the network's output for one sample, (..., C).
    targets
        All labels, (N, ...).
    ignored
        A label that is allowed though there is no output for it.
    """
    name = type(loss).__name__
    if not outputs_shape or targets.shape[1:] != tuple(outputs_shape[:-1]):
        raise ShapeError(
            f"{name}: for outputs of shape {tuple(outputs_shape)} for each sample the "
            f"labels must have shape {tuple(outputs_shape[:-1])}, not {targets.shape[1:]}"
        )
    if targets.dtype.kind not in "iu":
        raise InputError(f"{name}: labels must be whole numbers, not of type {targets.dtype}")
    classes = outputs_shape[-1]
    labels = targets if ignored is None else targets[targets != ignored]
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        beside = "" if ignored is None else f" (or {ignored}, which is ignored)"
        raise InputError(
            f"{name}: labels must be from 0 to {classes - 1}{beside} as the network has "
            f"{classes} outputs; they run from {labels.min()} to {labels.max()}"
        )
