"""Pooling: each window of an image, or all of it, is replaced by its largest value or its mean."""

from __future__ import annotations

from math import inf
from typing import Any, Literal

import numpy as np

from minidl import kernels
from minidl.checks import Pair, checked, pair, whole
from minidl.errors import InputError, ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape
from minidl.nn.sequences import OverSequences
from minidl.nn.windows import Padding, around, checked_padding, extended, positions


class Pool2d(Layer):
    """What all kinds of pooling have in common: the window."""

    def __init__(
        self,
        size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Padding = 0,
        ceil_mode: bool = False,
    ) -> None:
        kind = type(self).__name__
        self.size = pair(f"{kind}: size", size)
        self.stride = self.size if stride is None else pair(f"{kind}: stride", stride)
        self.padding = checked_padding(f"{kind}: padding", padding)
        self.ceil_mode = ceil_mode
        if self.padding != "same" and any(
            2 * p > k for p, k in zip(self.padding, self.size, strict=True)
        ):
            raise InputError(
                f"{kind}: padding may be at most half the window {self.size}, not {self.padding}"
            )

    def build(self, shape: Shape) -> Shape:
        window = self.size, self.stride, self.padding
        return (*positions(self, shape, *window, ceil_mode=self.ceil_mode), shape[-1])

    def _window(self, x_shape: Shape) -> tuple[Pair, tuple[Pair, Pair, Pair]]:
        """What `extended` adds to x, and the size, stride and padding for the result."""
        window = self.size, self.stride
        sides, further = around(self.padding, x_shape[1:], *window, ceil_mode=self.ceil_mode)
        return further, (*window, sides)


@checked
class MaxPool2d(Pool2d):
    """The largest value of each window, (N, H, W, C) to (N, H', W', C); padding never wins.

    The gradient goes to where the largest value was (to the first of equal ones).

    Parameters
    ----------
    size
        The window: a number for both axes, or (vertical, horizontal).
    stride
        From window to window; the window's own size if not given.
    padding
        On either side, at most half the window. "same" makes H' = ceil(H / stride),
        with the odd cell, if there is one, at the lower or right end.
    ceil_mode
        Whether a last window counts that goes over the lower or right end of the image and
        its padding, but starts before that padding; "same" needs none such.

    Raises
    ------
    InputError
        If size or stride is not positive, or the padding too large or negative.
    """

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_axes(x, 4)
        further, window = self._window(x.shape)
        y, argmax = kernels.of(x).max_pool2d(extended(x, further, -inf), *window)
        return y, (argmax, x.shape) if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        argmax, x_shape = saved
        further, window = self._window(x_shape)
        n, h, w, c = x_shape
        larger = (n, h + further[0], w + further[1], c)
        return kernels.of(dy).max_pool2d_gradient(dy, argmax, larger, *window)[:, :h, :w]


@checked
class AvgPool2d(Pool2d):
    """The mean of each window, (N, H, W, C) to (N, H', W', C).

    Parameters
    ----------
    size
        As for `MaxPool2d`.
    stride
        As for `MaxPool2d`.
    padding
        As for `MaxPool2d`.
    ceil_mode
        As for `MaxPool2d`. What a window has beyond the padding never counts.
    count_include_pad
        Whether padding counts as zeros. If not, the mean is over what a window has of the
        image itself.

    Raises
    ------
    InputError
        As for `MaxPool2d`.
    """

    def __init__(
        self,
        size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_axes(x, 4)
        further, window = self._window(x.shape)
        y = kernels.of(x).avg_pool2d(extended(x, further), *window)
        return self._by_count(y, x.shape), (x.shape, y.shape) if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        x_shape, y_shape = saved
        self.expect_gradient(dy, y_shape)
        further, window = self._window(x_shape)
        n, h, w, c = x_shape
        larger = (n, h + further[0], w + further[1], c)
        dy = self._by_count(dy, x_shape)
        return kernels.of(dy).avg_pool2d_gradient(dy, larger, *window)[:, :h, :w]

    def _by_count(self, y: Array, x_shape: Shape) -> Array:
        """What was divided by the size of the window, divided by how much of it counts."""
        if self.count_include_pad and not self.ceil_mode:
            return y
        further, (size, stride, sides) = self._window(x_shape)
        ratios = []
        for axis in range(2):
            length, odd = x_shape[1 + axis], further[axis] if self.padding == "same" else 0
            before, behind = (sides[axis], sides[axis] + odd) if self.count_include_pad else (0, 0)
            starts = np.arange(y.shape[1 + axis]) * stride[axis] - sides[axis]
            ends = np.minimum(starts + size[axis], length + behind)
            ratios.append(size[axis] / (ends - np.maximum(starts, -before)))
        ratio = np.multiply.outer(*ratios)[:, :, np.newaxis]
        return y * kernels.array_module(y).asarray(ratio, dtype=y.dtype)


class Pool1d(OverSequences, Pool2d):
    """Pooling of sequences, (N, T, C) to (N, T', C): images of one row."""

    def __init__(
        self,
        size: int,
        stride: int | None = None,
        padding: int | Literal["same"] = 0,
        ceil_mode: bool = False,
        **settings: bool,
    ) -> None:
        kind = type(self).__name__
        super().__init__(
            (1, whole(f"{kind}: size", size)),
            None if stride is None else (1, whole(f"{kind}: stride", stride)),
            padding if isinstance(padding, str) else (0, whole(f"{kind}: padding", padding, 0)),
            ceil_mode,
            **settings,
        )


@checked
class MaxPool1d(Pool1d, MaxPool2d):
    """The largest value of each window of a sequence, (N, T, C) to (N, T', C).

    Parameters
    ----------
    size
        The window, in steps.
    stride
        From window to window; the window's own size if not given.
    padding
        At either end, at most half the window; or "same", which makes T' = ceil(T / stride).
    ceil_mode
        Whether a last window counts that goes over the end; see `MaxPool2d`.

    Raises
    ------
    InputError
        If size or stride is not positive, or the padding too large or negative.
    """


@checked
class AvgPool1d(Pool1d, AvgPool2d):
    """The mean of each window of a sequence, (N, T, C) to (N, T', C).

    Parameters
    ----------
    size
        As for `MaxPool1d`.
    stride
        As for `MaxPool1d`.
    padding
        As for `MaxPool1d`.
    ceil_mode
        As for `MaxPool1d`. What a window has beyond the padding never counts.
    count_include_pad
        Whether padding counts as zeros; see `AvgPool2d`.

    Raises
    ------
    InputError
        As for `MaxPool1d`.
    """

    def __init__(
        self,
        size: int,
        stride: int | None = None,
        padding: int | Literal["same"] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(size, stride, padding, ceil_mode, count_include_pad=count_include_pad)


class GlobalPool2d(Layer):
    """One number for each channel of an image, (N, H, W, C) to (N, C)."""

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 3 or min(shape) < 1:
            raise ShapeError(
                f"{self.describe()} needs images of shape (height, width, channels), not {shape}"
            )
        return shape[2:]


class GlobalMaxPool2d(GlobalPool2d):
    """The largest value of each channel, (N, H, W, C) to (N, C).

    The gradient goes to where it was (to the first of equal ones).
    """

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_axes(x, 4)
        size = x.shape[1:3]
        y, argmax = kernels.of(x).max_pool2d(x, size, size, (0, 0))
        return y[:, 0, 0], (argmax, x.shape) if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        argmax, x_shape = saved
        self.expect_gradient(dy, (x_shape[0], x_shape[3]))
        size, dy = x_shape[1:3], dy[:, None, None]
        return kernels.of(dy).max_pool2d_gradient(dy, argmax, x_shape, size, size, (0, 0))


class GlobalAvgPool2d(GlobalPool2d):
    """The mean of each channel, (N, H, W, C) to (N, C) (Lin et al. 2014)."""

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_axes(x, 4)
        self.expect_floats(x)
        return x.mean(axis=(1, 2)), x.shape if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        n, h, w, c = saved
        self.expect_gradient(dy, (n, c))
        return (dy / (h * w))[:, None, None].repeat(h, axis=1).repeat(w, axis=2)
