"""From sequences to vectors."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.errors import ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


class TakeLast(Layer):
    """The last step of each sequence: (N, T, H) to (N, H)."""

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 2 or shape[0] < 1:
            raise ShapeError(
                f"{self.describe()} needs sequences (steps, features) of at least one step, "
                f"not samples of shape {shape}"
            )
        return shape[1:]

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        return x[:, -1].copy(), x.shape if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        dx = kernels.array_module(dy).zeros(saved, dy.dtype)
        dx[:, -1] = dy
        return dx
