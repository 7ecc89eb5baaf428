"""The mean squared error, for regression."""

from __future__ import annotations

from typing import Any

from minidl.nn.loss import ElementwiseLoss, mean_per_sample, share_per_sample
from minidl.nn.parameters import Array


class MSE(ElementwiseLoss):
    """(outputs - targets)², for outputs and targets of one shape (N, ...)."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        error = outputs - self.alike(outputs, targets)
        return mean_per_sample(error**2), error

    def backward(self, dlosses: Array, saved: Any) -> Array:
        return 2 * saved * share_per_sample(dlosses, saved.shape)
