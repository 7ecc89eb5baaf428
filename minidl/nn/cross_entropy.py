"""Softmax and cross entropy in one, for classification."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from numbers import Integral
from typing import Any

import numpy as np

from minidl import kernels
from minidl.checks import checked, is_number
from minidl.errors import InputError, ShapeError
from minidl.nn.labels import as_labels, check_labels
from minidl.nn.loss import (
    Loss,
    expect_outputs,
    expect_targets,
    mean_per_sample,
    share_per_sample,
)
from minidl.nn.parameters import Array, Shape


@checked
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
    weight
        One number from 0 on for each class, with which its term of the sum is
        multiplied, for classes of unequal size. The loss of a batch stays the mean
        over its samples, so that slices of it add up. (PyTorch divides by the sum of
        the labels' weights instead. Dividing the weights by their mean over the labels
        of the data, ``w / w[labels].mean()``, gives about the same.) Accuracy is not
        weighted.

    Raises
    ------
    InputError
        If one is something else.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        ignore_index: int | None = None,
        weight: Sequence[float] | None = None,
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise InputError(
                "CrossEntropy: label_smoothing must be at least 0 and less than 1, "
                f"not {label_smoothing}"
            )
        if not (ignore_index is None or isinstance(ignore_index, Integral)):
            raise InputError(
                f"CrossEntropy: ignore_index must be a whole number or None, not {ignore_index!r}"
            )
        self.weight = None if weight is None else _checked_weight(weight)
        self.label_smoothing = label_smoothing
        self.ignore_index = ignore_index

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        expect_outputs(self, outputs, axes=2)
        expect_targets(self, targets, outputs.shape[:-1])
        labels = targets.reshape(targets.size)
        if self.ignore_index is not None:
            if labels.dtype.kind not in "iu":
                raise InputError(f"labels must be whole numbers, not {labels.dtype}")
            labels = kernels.array_module(labels).where(labels == self.ignore_index, 0, labels)
        logits = outputs.reshape(targets.size, outputs.shape[-1])
        if self.weight is None:
            losses, probabilities = kernels.of(outputs).softmax_cross_entropy(
                logits, labels, self.label_smoothing
            )
        else:
            weight = self._class_weights(logits)
            losses, probabilities = _weighted(logits, labels, self.label_smoothing, weight)
        saved = probabilities, labels, targets
        return self._mean(losses.reshape(targets.shape), targets), saved

    def backward(self, dlosses: Array, saved: Any) -> Array:
        probabilities, labels, targets = saved
        xp = kernels.array_module(probabilities)
        each = xp.repeat(share_per_sample(dlosses, targets.shape), prod(targets.shape[1:]))
        if self.ignore_index is not None:
            each = each * self._position_weights(targets, each.dtype).reshape(labels.size)
        given = each, probabilities, labels, self.label_smoothing
        if self.weight is None:
            doutputs = kernels.of(probabilities).softmax_cross_entropy_gradient(*given)
        else:
            doutputs = _weighted_gradient(*given, self._class_weights(probabilities))
        return doutputs.reshape(*targets.shape, probabilities.shape[-1])

    def metrics(self, outputs: Array, targets: Array) -> dict[str, Array]:
        expect_outputs(self, outputs, axes=2)
        expect_targets(self, targets, outputs.shape[:-1])
        return {"accuracy": self._mean(outputs.argmax(axis=-1) == targets, targets)}

    def taken(self, outputs_shape: Shape, targets: np.ndarray) -> np.ndarray:
        return as_labels(outputs_shape, targets)

    def check(self, outputs_shape: Shape, targets: np.ndarray) -> None:
        check_labels(self, outputs_shape, targets, self.ignore_index)
        if self.weight is not None:
            self._class_weights(np.empty((0, outputs_shape[-1])))

    def _class_weights(self, like: Array) -> Array:
        """The weights as an array of the kind of (M, C) numbers, one for each of their columns."""
        assert self.weight is not None
        if len(self.weight) != like.shape[1]:
            raise ShapeError(
                f"CrossEntropy: weight has {len(self.weight)} numbers; the network has "
                f"{like.shape[1]} outputs, and each needs one"
            )
        return kernels.array_module(like).asarray(self.weight, dtype=like.dtype)

    def _mean(self, values: Array, targets: Array) -> Array:
        """(N, ...) to (N,): the mean over what counts."""
        if self.ignore_index is None:
            return mean_per_sample(values)
        dtype = values.dtype if values.dtype.kind == "f" else np.float64
        return mean_per_sample(_times(values, self._position_weights(targets, dtype)))

    def _position_weights(self, targets: Array, dtype: Any) -> Array:
        """What turns a mean over all positions of a sample into one over those that count."""
        counts = (targets != self.ignore_index).reshape(len(targets), prod(targets.shape[1:]))
        share = counts.sum(axis=1, keepdims=True) / max(1, counts.shape[1])
        weights = counts / kernels.array_module(counts).maximum(share, 1 / max(1, counts.shape[1]))
        return weights.reshape(targets.shape).astype(dtype)


def _checked_weight(weight: Sequence[float]) -> tuple[float, ...]:
    try:
        checked = tuple(map(float, weight))
    except (TypeError, ValueError, OverflowError):
        checked = ()
    if not (any(checked) and all(is_number(w) and w >= 0 for w in checked)):
        raise InputError(
            "CrossEntropy: weight must be a sequence of finite numbers from 0 on, one for each "
            f"class and not all 0, not {weight!r}"
        )
    return checked


def _weighted(logits: Array, labels: Array, smoothing: float, weight: Array) -> tuple[Array, Array]:
    """The kernel `softmax_cross_entropy`, the term of each class multiplied by its weight."""
    losses, probabilities = kernels.of(logits).softmax_cross_entropy(logits, labels, 0.0)
    losses = _times(losses, (1 - smoothing) * weight[labels])
    if smoothing:
        xp, z = kernels.array_module(logits), logits - logits.max(axis=1, keepdims=True)
        of_each = xp.log(xp.exp(z).sum(axis=1, keepdims=True)) - z
        losses += _times(of_each, weight * (smoothing / len(weight))).sum(axis=1)
    return losses, probabilities


def _weighted_gradient(
    dlosses: Array, probabilities: Array, labels: Array, smoothing: float, weight: Array
) -> Array:
    """The gradient of `_weighted` by the logits."""
    of_label = dlosses * (1 - smoothing) * weight[labels]
    dlogits = kernels.of(probabilities).softmax_cross_entropy_gradient(
        of_label, probabilities, labels, 0.0
    )
    if smoothing:
        of_each = dlosses[:, None] * (smoothing / len(weight))
        dlogits += of_each * (probabilities * weight.sum() - weight)
    return dlogits


def _times(values: Array, weights: Array) -> Array:
    """The product, 0 where the weight is, even of what is infinite."""
    return kernels.array_module(values).where(weights != 0, values, 0) * weights
