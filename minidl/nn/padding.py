"""Borders around images: of one value, or of what the image has at its edge."""

from __future__ import annotations

from typing import Any, Literal

from minidl import kernels
from minidl.checks import Pair, is_number, pair
from minidl.errors import InputError, ShapeError, unknown_name
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape

MODES = ("constant", "reflect", "replicate")

Ends = tuple[Pair, Pair]
"""Cells ((above, below), (on the left, on the right))."""


class Pad2d(Layer):
    """Rows and columns around images, (N, H, W, C) to (N, H', W', C).

    Parameters
    ----------
    padding
        How many: on every side, or (vertical, horizontal), or ((top, bottom), (left, right)).
    mode
        What stands there: "constant" is one value; "reflect" is the image in a mirror, whose
        surface is its last row or column; "replicate" is that row or column, repeated.
        PyTorch calls these layers `ZeroPad2d` or `ConstantPad2d`, `ReflectionPad2d` and
        `ReplicationPad2d`.
    value
        The value of mode "constant"; finite.

    Raises
    ------
    InputError
        If the padding is negative, or `value` not finite.
    UnknownNameError
        If there is no such mode.
    """

    def __init__(
        self,
        padding: int | Pair | Ends,
        mode: Literal["constant", "reflect", "replicate"] = "constant",
        value: float = 0.0,
    ) -> None:
        if not isinstance(mode, str) or mode not in MODES:
            raise unknown_name("Pad2d: mode", mode, MODES)
        if not is_number(value):
            raise InputError(f"Pad2d: value must be finite, not {value}")
        self.padding = _ends(padding)
        self.mode = mode
        self.value = value

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 3 or min(shape) < 1:
            raise ShapeError(
                f"{self.describe()} needs images of shape (height, width, channels), not {shape}"
            )
        height, width, channels = shape
        vertical, horizontal = self.padding
        if self.mode == "reflect" and not (max(vertical) < height and max(horizontal) < width):
            raise ShapeError(
                f"{self.describe()} reflects {self.padding} rows and columns, which must be fewer "
                f"than those of an image of shape {shape}"
            )
        return height + sum(vertical), width + sum(horizontal), channels

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_axes(x, 4)
        (top, bottom), (left, right) = self.padding
        n, h, w, c = x.shape
        least_h, least_w = (
            1 + max(ends) if self.mode == "reflect" else self.mode != "constant"
            for ends in self.padding
        )
        if h < least_h or w < least_w:
            raise ShapeError(
                f"{self.describe()} cannot fill {self.padding} rows and columns from images of "
                f"shape {x.shape[1:]}"
            )
        if self.mode == "constant":
            size = (n, top + h + bottom, left + w + right, c)
            y = kernels.array_module(x).full(size, self.value, x.dtype)
            y[:, top : top + h, left : left + w] = x
        else:
            y = x[:, self._sources(h, 0)][:, :, self._sources(w, 1)]
        return y, x.shape if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        (top, bottom), (left, right) = self.padding
        n, h, w, c = saved
        self.expect_gradient(dy, (n, top + h + bottom, left + w + right, c))
        if self.mode == "constant":
            return dy[:, top : top + h, left : left + w]
        dx = self._folded(dy, h, 0)
        return self._folded(dx.swapaxes(1, 2), w, 1).swapaxes(1, 2)

    def _sources(self, length: int, axis: int) -> list[int]:
        """From which row, or column, each one of the output comes."""
        before, behind = self.padding[axis]
        places, last = range(-before, length + behind), length - 1
        if self.mode == "reflect":
            return [last - abs(last - abs(place)) for place in places]
        return [min(max(place, 0), last) for place in places]

    def _folded(self, dy: Array, length: int, axis: int) -> Array:
        """The gradient by axis 1 of what `_sources` were taken from."""
        before = self.padding[axis][0]
        dx = dy[:, before : before + length].copy()
        for place, source in enumerate(self._sources(length, axis)):
            if not before <= place < before + length:
                dx[:, source] += dy[:, place]
        return dx


def _ends(padding: int | Pair | Ends) -> Ends:
    """The padding, checked, on each of the four sides."""
    if not isinstance(padding, list | tuple):
        padding = (padding, padding)
    if len(padding) != 2:
        raise InputError(
            "Pad2d: padding must be a whole number, (vertical, horizontal) or "
            f"((top, bottom), (left, right)), not {padding!r}"
        )
    down, across = (pair("Pad2d: padding", side, least=0) for side in padding)
    return down, across
