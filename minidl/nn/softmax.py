"""The softmax as a layer of its own; behind a classifier, `CrossEntropy` has it already."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.errors import ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


class Softmax(Layer):
    """exp(x) / Σ exp(x) along the last axis: positive numbers that add up to 1.

    The largest x is subtracted first, which changes nothing but keeps exp from
    overflowing.
    """

    def build(self, shape: Shape) -> Shape:
        if not shape or shape[-1] < 1:
            raise ShapeError(
                f"{self.describe()} needs samples with at least one number on the last axis, "
                f"not of shape {shape}"
            )
        return shape

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_floats(x)
        if not x.ndim or not x.shape[-1]:
            raise ShapeError(
                f"{self.describe()} takes batches with at least one number on the last axis, "
                f"not of shape {x.shape}"
            )
        e = kernels.array_module(x).exp(kernels.wide(x - x.max(axis=-1, keepdims=True)))
        y = (e / e.sum(axis=-1, keepdims=True)).astype(x.dtype, copy=False)
        return y, y if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        self.expect_gradient(dy, saved.shape)
        y, d = kernels.wide(saved), kernels.wide(dy)
        dx = y * (d - (d * y).sum(axis=-1, keepdims=True))
        return dx.astype(dy.dtype, copy=False)
