"""From sequences to vectors."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.errors import ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


class TakeLast(Layer):
    """What a recurrent layer has read at the end of each sequence: (N, T, H) to (N, H).

    Behind a layer with ``masked=True`` too, for it repeats its last output over padding.

    Parameters
    ----------
    bidirectional
        Whether the layer below is: its second half ends at the first step, and is taken there.
    """

    def __init__(self, bidirectional: bool = False) -> None:
        self.bidirectional = bidirectional

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 2 or shape[0] < 1:
            raise ShapeError(
                f"{self.describe()} needs sequences (steps, features) of at least one step, "
                f"not samples of shape {shape}"
            )
        if self.bidirectional and shape[1] % 2:
            raise ShapeError(
                f"{self.describe()} needs an even number of features, half from each direction, "
                f"not {shape[1]}"
            )
        return shape[1:]

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_axes(x, 3, "sequences (N, T, C)")
        y = x[:, -1].copy()
        if self.bidirectional:
            half = x.shape[2] // 2
            y[:, half:] = x[:, 0, half:]
        return y, x.shape if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        self.expect_gradient(dy, (saved[0], saved[2]))
        dx = kernels.array_module(dy).zeros(saved, dy.dtype)
        half = saved[2] // 2 if self.bidirectional else saved[2]
        dx[:, -1, :half] = dy[:, :half]
        dx[:, 0, half:] = dy[:, half:]
        return dx
