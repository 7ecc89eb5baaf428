"""The arithmetic of windows that slide over an image (Dumoulin and Visin 2016)."""

from __future__ import annotations

from typing import Literal

from minidl import kernels
from minidl.checks import Pair, pair
from minidl.errors import InputError, ShapeError
from minidl.nn.layer import Layer
from minidl.nn.parameters import Array, Shape

Padding = Pair | Literal["same"]
"""Cells on either side of an image, or as many as make ceil(size / stride) windows fit."""


def checked_padding(name: str, value: int | Padding) -> Padding:
    """`value`, or an InputError; see `checks.pair`."""
    if value == "same":
        return "same"
    if isinstance(value, str):
        raise InputError(f'{name} must be "same", a whole number or a pair of such, not {value!r}')
    return pair(name, value, least=0)


def around(
    padding: Padding,
    shape: Shape,
    size: Pair,
    stride: Pair,
    dilation: Pair = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Pair, Pair]:
    """Cells on either side of an image, and those added at its lower and right end beyond them.

    The latter are 0 or 1 for "same", where an odd number of cells is needed, as TensorFlow
    has it, and as many as `ceil_mode` asks for. Parameters as for `positions`.
    """
    if len(shape) != 3 or not (padding == "same" or ceil_mode):
        return (0, 0) if padding == "same" else padding, (0, 0)
    if padding != "same":
        axes = zip(shape[:2], size, stride, padding, dilation, strict=True)
        more_down, more_across = (_to_last_window(*axis) for axis in axes)
        return padding, (more_down, more_across)
    down, across = [
        max(0, (-(-length // step) - 1) * step + d * (k - 1) + 1 - length)
        for length, k, step, d in zip(shape[:2], size, stride, dilation, strict=True)
    ]
    return (down // 2, across // 2), (down % 2, across % 2)


def _to_last_window(length: int, size: int, stride: int, padding: int, dilation: int) -> int:
    """Cells that a last window lacks behind the padding; 0 if there is none such.

    As PyTorch has it, it must start before the padding at the end, which is all it would see.
    """
    rest = length + 2 * padding - dilation * (size - 1) - 1
    start = -(-rest // stride) * stride
    return start - rest if 0 <= start < length + padding else 0


def extended(x: Array, further: Pair, value: float = 0) -> Array:
    """Images (N, H, W, C) with so many more rows and columns of `value` at their ends."""
    if further == (0, 0):
        return x
    n, h, w, c = x.shape
    y = kernels.array_module(x).full((n, h + further[0], w + further[1], c), value, x.dtype)
    y[:, :h, :w] = x
    return y


def positions(
    layer: Layer,
    shape: Shape,
    size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair = (1, 1),
    ceil_mode: bool = False,
) -> Pair:
    """At how many places, down and across, a window fits on an image.

    Parameters
    ----------
    layer
        Whose window it is, for the message.
    shape
        The image's shape, (H, W, C).
    size
        The window's, (vertical, horizontal).
    stride
        Step between windows, (vertical, horizontal).
    padding
        Zeros at the borders, (vertical, horizontal) or "same".
    dilation
        Step within a window, (vertical, horizontal).
    ceil_mode
        Whether a last window counts that goes over the end of the image and its padding, but
        starts before that padding.

    Raises
    ------
    ShapeError
        If the shape is no image's, or the window fits nowhere.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ShapeError(
            f"{layer.describe()} needs images of shape (height, width, channels), not {shape}"
        )
    spans = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    sides, further = around(padding, shape, size, stride, dilation, ceil_mode)
    rooms = [length + 2 * p + f for length, p, f in zip(shape[:2], sides, further, strict=True)]
    if spans[0] > rooms[0] or spans[1] > rooms[1]:
        raise ShapeError(
            f"{layer.describe()} has a window of {spans[0]}×{spans[1]} and cannot take an image "
            f"of {rooms[0]}×{rooms[1]} (padding included)"
        )
    down, across = [
        (room - span) // step + 1 for room, span, step in zip(rooms, spans, stride, strict=True)
    ]
    return down, across
