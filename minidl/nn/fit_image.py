"""Small images brought to the size that a network was drawn for."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.checks import whole
from minidl.errors import ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


class FitImage(Layer):
    """Enlarges images and frames them with zeros: (N, H, W, C) to (N, size, size, C).

    Every pixel is repeated by the largest whole factor that fits, and the result
    is centred. An 8×8 digit becomes 32×32; one of 28×28 gets a border of two, as
    in LeCun et al. 1998.

    Parameters
    ----------
    size
        Height and width of the output.

    Raises
    ------
    InputError
        If the size is not positive.
    """

    def __init__(self, size: int) -> None:
        self.size = whole("FitImage: size", size)

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 3 or min(shape) < 1 or max(shape[:2]) > self.size:
            raise ShapeError(
                f"{self.describe()} needs images of shape (height, width, channels), at most "
                f"{self.size}×{self.size} in size, not {shape}"
            )
        return self.size, self.size, shape[2]

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_axes(x, 4)
        if not 1 <= max(x.shape[1:3]) <= self.size:
            raise ShapeError(
                f"{self.describe()} takes images of at most {self.size}×{self.size}, "
                f"not of shape {x.shape[1:]}"
            )
        factor, top, left = self.placement(x.shape[1:])
        y = kernels.array_module(x).zeros((len(x), self.size, self.size, x.shape[3]), x.dtype)
        inside = y[:, top : top + factor * x.shape[1], left : left + factor * x.shape[2]]
        inside[...] = x.repeat(factor, axis=1).repeat(factor, axis=2)
        return y, x.shape if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        n, h, w, c = saved
        self.expect_gradient(dy, (n, self.size, self.size, c))
        factor, top, left = self.placement(saved[1:])
        inside = dy[:, top : top + factor * h, left : left + factor * w]
        return inside.reshape(n, h, factor, w, factor, c).sum(axis=(2, 4))

    def placement(self, shape: Shape) -> tuple[int, int, int]:
        """The factor, and the first row and column of an enlarged image of this shape."""
        h, w, _ = shape
        factor = self.size // max(h, w)
        return factor, (self.size - factor * h) // 2, (self.size - factor * w) // 2
