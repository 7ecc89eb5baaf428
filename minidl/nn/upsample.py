"""Images enlarged by repeating pixels."""

from __future__ import annotations

from typing import Any

from minidl.checks import Pair, pair
from minidl.errors import ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


class Upsample(Layer):
    """Every pixel repeated ("nearest"): (N, H, W, C) to (N, H · scale, W · scale, C).

    The gradient of a pixel is the sum over its copies.

    Parameters
    ----------
    scale
        A whole number for both axes, or (vertical, horizontal).

    Raises
    ------
    InputError
        If it is not positive.
    """

    def __init__(self, scale: int | Pair) -> None:
        self.scale = pair("Upsample: scale", scale)

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 3 or min(shape) < 1:
            raise ShapeError(
                f"{self.describe()} needs images of shape (height, width, channels), not {shape}"
            )
        return shape[0] * self.scale[0], shape[1] * self.scale[1], shape[2]

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_axes(x, 4)
        y = x.repeat(self.scale[0], axis=1).repeat(self.scale[1], axis=2)
        return y, x.shape if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        (n, h, w, c), (down, across) = saved, self.scale
        self.expect_gradient(dy, (n, h * down, w * across, c))
        return dy.reshape(n, h, down, w, across, c).sum(axis=(2, 4))
