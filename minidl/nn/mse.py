"""The mean squared error, for regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import kernels
from minidl.nn.loss import (
    Loss,
    as_column,
    expect_targets,
    mean_per_sample,
    same_shape,
    share_per_sample,
)
from minidl.nn.parameters import Array, Shape


class MSE(Loss):
    """(outputs - targets)², for outputs and targets of one shape (N, ...)."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        xp = kernels.array_module(outputs)
        expect_targets(self, targets, outputs.shape)
        error = outputs - xp.asarray(targets, dtype=outputs.dtype)
        return mean_per_sample(error**2), error

    def backward(self, dlosses: Array, saved: Any) -> Array:
        return 2 * saved * share_per_sample(dlosses, saved.shape)

    def taken(self, outputs_shape: Shape, targets: np.ndarray) -> np.ndarray:
        return as_column(outputs_shape, targets)

    def check(self, outputs_shape: Shape, targets: np.ndarray) -> None:
        same_shape(self, outputs_shape, targets)
