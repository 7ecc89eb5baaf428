"""Softmax and cross entropy in one, for classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import kernels
from minidl.errors import InputError, ShapeError
from minidl.nn.loss import Loss, mean_per_sample, share_per_sample
from minidl.nn.parameters import Array, Shape


class CrossEntropy(Loss):
    """-Σ q log softmax(outputs), for outputs (N, ..., C) and whole-number labels (N, ...).

    Its metric is ``"accuracy"``.

    Parameters
    ----------
    label_smoothing
        The part of q that is spread evenly over all classes, the label having
        the rest (Szegedy et al. 2016). At least 0 and less than 1.

    Raises
    ------
    InputError
        If it is outside of that.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing < 1:
            raise InputError(
                "CrossEntropy: label_smoothing must be at least 0 and less than 1, "
                f"not {label_smoothing}"
            )
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        labels = targets.reshape(targets.size)
        logits = outputs.reshape(targets.size, outputs.shape[-1])
        losses, probabilities = kernels.of(outputs).softmax_cross_entropy(
            logits, labels, self.label_smoothing
        )
        saved = probabilities, labels, outputs.shape
        return mean_per_sample(losses.reshape(targets.shape)), saved

    def backward(self, dlosses: Array, saved: Any) -> Array:
        probabilities, labels, shape = saved
        xp = kernels.array_module(probabilities)
        each = xp.broadcast_to(share_per_sample(dlosses, shape[:-1]), shape[:-1])
        doutputs = kernels.of(probabilities).softmax_cross_entropy_gradient(
            each.reshape(labels.size), probabilities, labels, self.label_smoothing
        )
        return doutputs.reshape(shape)

    def metrics(self, outputs: Array, targets: Array) -> dict[str, Array]:
        return {"accuracy": mean_per_sample(outputs.argmax(axis=-1) == targets)}

    def check(self, outputs_shape: Shape, targets: np.ndarray) -> None:
        if not outputs_shape or targets.shape[1:] != tuple(outputs_shape[:-1]):
            raise ShapeError(
                f"CrossEntropy: for outputs of shape {tuple(outputs_shape)} for each sample the "
                f"labels must have shape {tuple(outputs_shape[:-1])}, not {targets.shape[1:]}"
            )
        if targets.dtype.kind not in "iu":
            raise InputError(
                f"CrossEntropy: labels must be whole numbers, not of type {targets.dtype}"
            )
        classes = outputs_shape[-1]
        if targets.size and not 0 <= targets.min() <= targets.max() < classes:
            raise InputError(
                f"CrossEntropy: labels must be from 0 to {classes - 1} as the network has "
                f"{classes} outputs; they run from {targets.min()} to {targets.max()}"
            )
