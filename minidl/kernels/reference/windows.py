"""Images with a margin, and their windows."""

from __future__ import annotations

from minidl.kernels import Array, Pair, array_module


def pad(x: Array, padding: Pair, value: float = 0) -> Array:
    """Images (N, H, W, C) with so many rows and columns of a value on either side."""
    (top, left), (n, height, width, c) = padding, x.shape
    if top == left == 0:
        return x
    out = array_module(x).full((n, height + 2 * top, width + 2 * left, c), value, x.dtype)
    crop(out, padding)[...] = x
    return out


def crop(x: Array, padding: Pair) -> Array:
    """The inverse of `pad`."""
    (top, left), (_, height, width, _) = padding, x.shape
    return x[:, top : height - top, left : width - left]


def windows_of(x: Array, size: Pair, stride: Pair, dilation: Pair) -> Array:
    """All windows of x (N, H, W, C), as a view (N, H', W', C, KH, KW)."""
    (n, height, width, c), (image, row, pixel, number) = x.shape, x.strides
    (kh, kw), (sh, sw), (dh, dw) = size, stride, dilation
    rows, columns = (height - dh * (kh - 1) - 1) // sh + 1, (width - dw * (kw - 1) - 1) // sw + 1
    strides = (image, sh * row, sw * pixel, number, dh * row, dw * pixel)
    as_strided = array_module(x).lib.stride_tricks.as_strided
    return as_strided(x, (n, rows, columns, c, kh, kw), strides)


def at(x: Array, p: int, q: int, y_shape: tuple[int, ...], stride: Pair, dilation: Pair) -> Array:
    """What stands at (p, q) of every window of x, as a view of the output's shape."""
    rows, columns = (
        slice(k * d, k * d + s * (count - 1) + 1, s)
        for k, d, s, count in zip((p, q), dilation, stride, y_shape[1:3], strict=True)
    )
    return x[:, rows, columns]
