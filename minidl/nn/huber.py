"""Huber's loss (1964): a square near the target, a straight line far from it."""

from __future__ import annotations

from typing import Any

from minidl.checks import checked, is_number
from minidl.errors import InputError
from minidl.nn.loss import ElementwiseLoss, mean_per_sample, share_per_sample
from minidl.nn.parameters import Array


@checked
class Huber(ElementwiseLoss):
    """e² / 2 where the error e is within ±delta, else ``delta (|e| - delta / 2)``.

    Outputs and targets have one shape (N, ...).

    Parameters
    ----------
    delta
        Where the line begins; positive.

    Raises
    ------
    InputError
        If it is not.
    """

    def __init__(self, delta: float = 1.0) -> None:
        if not (is_number(delta) and delta > 0):
            raise InputError(f"Huber: delta must be positive and finite, not {delta}")
        self.delta = delta

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        error = outputs - self.alike(outputs, targets)
        near = error.clip(-self.delta, self.delta)
        return mean_per_sample(near * (error - near / 2)), near

    def backward(self, dlosses: Array, saved: Any) -> Array:
        return saved * share_per_sample(dlosses, saved.shape)
