"""Softmax and cross entropy in one, for classification."""

from __future__ import annotations

from math import prod
from numbers import Integral
from typing import Any

import numpy as np

from minidl import kernels
from minidl.errors import InputError
from minidl.nn.labels import check_labels
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
    ignore_index
        A label that marks positions that do not count, such as the padding of a
        sequence. Loss and accuracy of a sample are means over its other
        positions, so that padding changes nothing; of a sample without any they
        are 0. (PyTorch takes the mean over all positions of a batch instead,
        whichever sample they belong to.)

    Raises
    ------
    InputError
        If either is something else.
    """

    def __init__(self, label_smoothing: float = 0.0, ignore_index: int | None = None) -> None:
        if not 0 <= label_smoothing < 1:
            raise InputError(
                "CrossEntropy: label_smoothing must be at least 0 and less than 1, "
                f"not {label_smoothing}"
            )
        if not (ignore_index is None or isinstance(ignore_index, Integral)):
            raise InputError(
                f"CrossEntropy: ignore_index must be a whole number or None, not {ignore_index!r}"
            )
        self.label_smoothing = label_smoothing
        self.ignore_index = ignore_index

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        labels = targets.reshape(targets.size)
        if self.ignore_index is not None:
            labels = kernels.array_module(labels).where(labels == self.ignore_index, 0, labels)
        logits = outputs.reshape(targets.size, outputs.shape[-1])
        losses, probabilities = kernels.of(outputs).softmax_cross_entropy(
            logits, labels, self.label_smoothing
        )
        saved = probabilities, labels, targets
        return self._mean(losses.reshape(targets.shape), targets), saved

    def backward(self, dlosses: Array, saved: Any) -> Array:
        probabilities, labels, targets = saved
        xp = kernels.array_module(probabilities)
        each = xp.broadcast_to(share_per_sample(dlosses, targets.shape), targets.shape)
        if self.ignore_index is not None:
            each = each * self._weights(targets, each.dtype)
        doutputs = kernels.of(probabilities).softmax_cross_entropy_gradient(
            each.reshape(labels.size), probabilities, labels, self.label_smoothing
        )
        return doutputs.reshape(*targets.shape, probabilities.shape[-1])

    def metrics(self, outputs: Array, targets: Array) -> dict[str, Array]:
        return {"accuracy": self._mean(outputs.argmax(axis=-1) == targets, targets)}

    def check(self, outputs_shape: Shape, targets: np.ndarray) -> None:
        check_labels(self, outputs_shape, targets, self.ignore_index)

    def _mean(self, values: Array, targets: Array) -> Array:
        """(N, ...) to (N,): the mean over what counts."""
        if self.ignore_index is None:
            return mean_per_sample(values)
        dtype = values.dtype if values.dtype.kind == "f" else np.float64
        return mean_per_sample(values * self._weights(targets, dtype))

    def _weights(self, targets: Array, dtype: Any) -> Array:
        """What turns a mean over all positions of a sample into one over those that count."""
        counts = (targets != self.ignore_index).reshape(len(targets), prod(targets.shape[1:]))
        share = counts.sum(axis=1, keepdims=True) / max(1, counts.shape[1])
        weights = counts / kernels.array_module(counts).maximum(share, 1 / max(1, counts.shape[1]))
        return weights.reshape(targets.shape).astype(dtype)
