"""The arithmetic of windows that slide over an image (Dumoulin and Visin 2016)."""

from __future__ import annotations

from minidl.errors import ShapeError
from minidl.nn.layer import Layer
from minidl.nn.parameters import Shape
from minidl.nn.settings import Pair


def positions(
    layer: Layer, shape: Shape, size: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)
) -> Pair:
    """At how many places, down and across, a window fits on an image.

    Parameters
    ----------
    layer
        Whose window it is, for the message.
    shape
        The image's shape, (H, W, C).
    size, stride, padding, dilation
        The window's, each (vertical, horizontal).

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
    rooms = [length + 2 * p for length, p in zip(shape[:2], padding, strict=True)]
    if spans[0] > rooms[0] or spans[1] > rooms[1]:
        raise ShapeError(
            f"{layer.describe()} has a window of {spans[0]}×{spans[1]} and cannot take an image "
            f"of {rooms[0]}×{rooms[1]} (padding included)"
        )
    down, across = [
        (room - span) // step + 1 for room, span, step in zip(rooms, spans, stride, strict=True)
    ]
    return down, across
