"""The hinge loss for several classes (Weston and Watkins 1999): margins, not probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import kernels
from minidl.kernels.contracts.types import indices
from minidl.nn.labels import as_labels, check_labels
from minidl.nn.loss import (
    Loss,
    expect_outputs,
    expect_targets,
    mean_per_sample,
    share_per_sample,
)
from minidl.nn.parameters import Array, Shape


class Hinge(Loss):
    """Σ max(0, 1 - z_label + z_c) / C over the other classes c, for outputs z.

    Outputs have shape (N, ..., C), whole-number labels (N, ...). The sum is divided
    by the number C of classes, as in PyTorch's `MultiMarginLoss`. Its metric is
    ``"accuracy"``.
    """

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        expect_outputs(self, outputs, axes=2)
        xp = kernels.array_module(outputs)
        expect_targets(self, targets, outputs.shape[:-1])
        labels = indices("Hinge: labels", targets, outputs.shape[-1])[..., None]
        of_label = xp.take_along_axis(outputs, labels, axis=-1)
        others = xp.arange(outputs.shape[-1]) != labels
        level = xp.isinf(outputs) & (outputs == of_label)  # inf - inf; counts nothing in PyTorch
        margins = 1 - xp.where(level, 0, of_label) + xp.where(level, -1, outputs)
        margins = xp.where(others, xp.maximum(margins, 0), 0)
        return mean_per_sample(margins), (margins > 0, others)

    def backward(self, dlosses: Array, saved: Any) -> Array:
        short, others = saved
        share = share_per_sample(dlosses, short.shape)
        count = short.sum(axis=-1, keepdims=True)
        signs = kernels.array_module(short).where(others, short, -count)
        return signs.astype(share.dtype) * share

    def metrics(self, outputs: Array, targets: Array) -> dict[str, Array]:
        expect_outputs(self, outputs, axes=2)
        expect_targets(self, targets, outputs.shape[:-1])
        return {"accuracy": mean_per_sample(outputs.argmax(axis=-1) == targets)}

    def taken(self, outputs_shape: Shape, targets: np.ndarray) -> np.ndarray:
        return as_labels(outputs_shape, targets)

    def check(self, outputs_shape: Shape, targets: np.ndarray) -> None:
        check_labels(self, outputs_shape, targets)
