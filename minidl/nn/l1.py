"""The mean absolute error, for regression that is not to be led by outliers."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.nn.loss import ElementwiseLoss, mean_per_sample, share_per_sample
from minidl.nn.parameters import Array


class L1(ElementwiseLoss):
    """``|outputs - targets|``, for outputs and targets of one shape (N, ...).

    Where they are equal the gradient is taken to be 0.
    """

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        error = outputs - self.alike(outputs, targets)
        return mean_per_sample(abs(error)), error

    def backward(self, dlosses: Array, saved: Any) -> Array:
        xp = kernels.array_module(saved)
        return xp.sign(saved) * share_per_sample(dlosses, saved.shape)
