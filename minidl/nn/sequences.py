"""Sequences as images of one row, for layers that slide windows over both."""

from __future__ import annotations

from typing import Any

from minidl.errors import ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


class OverSequences(Layer):
    """Makes a layer of images one of sequences (N, T, C), which it is given as (N, 1, T, C).

    It stands first among the bases: ``class Conv1d(OverSequences, Conv2d)``.
    """

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 2 or min(shape) < 1:
            raise ShapeError(
                f"{self.describe()} needs sequences of shape (steps, channels), not {shape}"
            )
        return super().build((1, *shape))[1:]

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_axes(x, 3, "sequences (N, T, C)")
        y, saved = super().forward(x[:, None], mode)
        return y[:, 0], saved

    def backward(self, dy: Array, saved: Any) -> Array:
        self.expect_axes(dy, 3, "gradients (N, T, C)")
        return super().backward(dy[:, None], saved)[:, 0]
