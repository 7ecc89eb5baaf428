"""Images with a margin, and their windows."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray
Pair = tuple[int, int]


def pad(x: Array, padding: Pair, value: float = 0) -> Array:
    """Images (N, H, W, C) with so many rows and columns of a value on either side."""
    (top, left) = padding
    return np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)), constant_values=value)


def crop(x: Array, padding: Pair) -> Array:
    """The inverse of `pad`."""
    (top, left), (_, height, width, _) = padding, x.shape
    return x[:, top : height - top, left : width - left]


def windows_of(x: Array, size: Pair, stride: Pair, dilation: Pair) -> Array:
    """All windows of x (N, H, W, C), as a view (N, H', W', C, KH, KW)."""
    spans = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    every = sliding_window_view(x, spans, axis=(1, 2))
    return every[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]


def at(x: Array, p: int, q: int, y_shape: tuple[int, ...], stride: Pair, dilation: Pair) -> Array:
    """What stands at (p, q) of every window of x, as a view of the output's shape."""
    rows, columns = (
        slice(k * d, k * d + s * (count - 1) + 1, s)
        for k, d, s, count in zip((p, q), dilation, stride, y_shape[1:3], strict=True)
    )
    return x[:, rows, columns]
