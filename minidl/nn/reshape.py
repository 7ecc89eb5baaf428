"""Samples of one shape as samples of another."""

from __future__ import annotations

from math import prod
from typing import Any

from minidl.checks import whole
from minidl.errors import ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


class Reshape(Layer):
    """The same numbers in another shape: (N, ...) to (N, ...), in row-major order.

    Parameters
    ----------
    *shape
        Of a sample, with as many elements as before: ``Reshape(7, 7, 128)``.

    Raises
    ------
    InputError
        If a size is not positive.
    """

    given: Shape
    """The shape of a sample that it was built for."""

    def __init__(self, *shape: int) -> None:
        self.shape = tuple(whole("Reshape: shape: each size", size) for size in shape)

    def build(self, shape: Shape) -> Shape:
        if prod(shape) != prod(self.shape):
            raise ShapeError(
                f"{self.describe()}: samples of shape {shape} have {prod(shape)} elements and "
                f"cannot become {self.shape}, which needs {prod(self.shape)}"
            )
        self.given = tuple(shape)
        return self.shape

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_batch(x)
        if x.size != len(x) * prod(self.shape):
            raise ShapeError(
                f"{self.describe()}: samples of shape {x.shape[1:]} cannot become {self.shape}"
            )
        return x.reshape(len(x), *self.shape), x.shape if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        self.expect_gradient(dy, (saved[0], *self.shape))
        return dy.reshape(saved)
