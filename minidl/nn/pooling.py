"""Pooling: each window of an image, or all of it, is replaced by its largest value or its mean."""

from __future__ import annotations

from math import inf
from typing import Any

from minidl import kernels
from minidl.errors import InputError, ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape
from minidl.nn.settings import Pair, pair
from minidl.nn.windows import Padding, around, checked_padding, extended, positions


class Pool2d(Layer):
    """What both kinds of pooling have in common: the window.

    Parameters
    ----------
    size
        The window: a number for both axes, or (vertical, horizontal).
    stride
        From window to window; the window's own size if not given.
    padding
        On either side, at most half the window. "same" makes H' = ceil(H / stride),
        with the odd cell, if there is one, at the lower or right end.

    Raises
    ------
    InputError
        If size or stride is not positive, or the padding too large or negative.
    """

    def __init__(
        self, size: int | Pair, stride: int | Pair | None = None, padding: int | Padding = 0
    ) -> None:
        kind = type(self).__name__
        self.size = pair(f"{kind}: size", size)
        self.stride = self.size if stride is None else pair(f"{kind}: stride", stride)
        self.padding = checked_padding(f"{kind}: padding", padding)
        if self.padding != "same" and any(
            2 * p > k for p, k in zip(self.padding, self.size, strict=True)
        ):
            raise InputError(
                f"{kind}: padding may be at most half the window {self.size}, not {self.padding}"
            )

    def build(self, shape: Shape) -> Shape:
        return (*positions(self, shape, self.size, self.stride, self.padding), shape[-1])

    def _window(self, x_shape: Shape) -> tuple[Pair, tuple[Pair, Pair, Pair]]:
        """What `extended` adds to x, and the size, stride and padding for the result."""
        sides, further = around(self.padding, x_shape[1:], self.size, self.stride)
        return further, (self.size, self.stride, sides)


class MaxPool2d(Pool2d):
    """The largest value of each window, (N, H, W, C) to (N, H', W', C); padding never wins.

    The gradient goes to where the largest value was (to the first of equal
    ones). Parameters as for `Pool2d`.
    """

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        further, window = self._window(x.shape)
        y, argmax = kernels.of(x).max_pool2d(extended(x, further, -inf), *window)
        return y, (argmax, x.shape) if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        argmax, x_shape = saved
        further, window = self._window(x_shape)
        n, h, w, c = x_shape
        whole = (n, h + further[0], w + further[1], c)
        return kernels.of(dy).max_pool2d_gradient(dy, argmax, whole, *window)[:, :h, :w]


class AvgPool2d(Pool2d):
    """The mean of each window, (N, H, W, C) to (N, H', W', C); padding counts as zeros.

    Parameters as for `Pool2d`.
    """

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        further, window = self._window(x.shape)
        y = kernels.of(x).avg_pool2d(extended(x, further), *window)
        return y, x.shape if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        further, window = self._window(saved)
        n, h, w, c = saved
        whole = (n, h + further[0], w + further[1], c)
        return kernels.of(dy).avg_pool2d_gradient(dy, whole, *window)[:, :h, :w]


class GlobalAvgPool2d(Layer):
    """The mean of each channel over the whole image, (N, H, W, C) to (N, C) (Lin et al. 2014)."""

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 3 or min(shape) < 1:
            raise ShapeError(
                f"{self.describe()} needs images of shape (height, width, channels), not {shape}"
            )
        return shape[2:]

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        return x.mean(axis=(1, 2)), x.shape if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        _, h, w, _ = saved
        return (dy / (h * w))[:, None, None].repeat(h, axis=1).repeat(w, axis=2)
