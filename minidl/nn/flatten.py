"""From images or sequences to vectors."""

from __future__ import annotations

from math import prod
from typing import Any

from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


class Flatten(Layer):
    """All axes but the batch's in one: (N, ...) to (N, D)."""

    given: Shape
    """The shape of a sample that it was built for."""

    def build(self, shape: Shape) -> Shape:
        self.given = tuple(shape)
        return (prod(shape),)

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_batch(x)
        return x.reshape(len(x), prod(x.shape[1:])), x.shape if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        self.expect_gradient(dy, (saved[0], prod(saved[1:])))
        return dy.reshape(saved)
