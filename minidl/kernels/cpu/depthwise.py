"""Convolution where each channel is a group of its own ("depthwise", Howard et al. 2017).

There is nothing to sum over that could fill a tile of products. So vectors run along the
channels, and with a horizontal stride of 1 on over neighbouring columns, where the same
weights stand next to each other as often as a block is wide.
"""

from __future__ import annotations

import numba
import numpy as np

from minidl.kernels.cpu.cache import njit
from minidl.kernels.cpu.calls import ready, share

Array = np.ndarray
Pair = tuple[int, int]

BLOCK = 512
"""About how many numbers of a line are taken at a time; what they need stays cached."""


def conv2d(x: Array, w: Array, y_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Convolution of x (N, H, W, C) with w (KH, KW, 1, M · C), without a bias."""
    kh, kw, _, o = w.shape
    y = np.zeros((len(x), y_size[0], y_size[1] * o), x.dtype)
    x, w = _lines(_repeated(x, o)), _repeated_in_blocks(w, y_size[1], stride)
    share(_forward, y.size * kh * kw, x, w, y, o, *stride, *padding, *dilation)
    return y.reshape(len(x), *y_size, o)


def conv2d_input_gradient(
    dy: Array, w: Array, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """The gradient of `conv2d` by x."""
    kh, kw, _, o = w.shape
    n, height, width, c = x_shape
    dx = np.zeros((n, height, width * o), dy.dtype)
    blocks = _repeated_in_blocks(w, dy.shape[2], stride)
    share(
        _input_gradient, dy.size * kh * kw, _lines(dy), blocks, dx, o, *stride, *padding, *dilation
    )
    return dx.reshape(x_shape) if o == c else dx.reshape(*x_shape, o // c).sum(axis=-1)


def conv2d_weight_gradient(
    dy: Array, x: Array, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """The gradient of `conv2d` by w."""
    kh, kw, _, o = w_shape
    width = _positions(dy.shape[2], o, stride)
    # Sums for each image, so that no two threads write to one place.
    sums = np.zeros((len(x), kh, kw, width * o), x.dtype)
    x, work = _lines(_repeated(x, o)), dy.size * kh * kw
    share(_weight_gradient, work, _lines(dy), x, sums, o, *stride, *padding, *dilation)
    return sums.reshape(len(x), kh, kw, width, o).sum(axis=(0, 3)).reshape(w_shape)


def _lines(x: Array) -> Array:
    """(N, H, W, C) as lines (N, H, W · C)."""
    n, height, width, c = x.shape
    return ready(x).reshape(n, height, width * c)


def _repeated(x: Array, filters: int) -> Array:
    """x with each channel as often as there are filters that see it."""
    times = filters // x.shape[3]
    return x if times == 1 else x.repeat(times, axis=3)


def _positions(y_width: int, channels: int, stride: Pair) -> int:
    """How many columns of a line a block holds."""
    return min(y_width, max(1, BLOCK // channels)) if stride[1] == 1 else 1


def _repeated_in_blocks(w: Array, y_width: int, stride: Pair) -> Array:
    """The weights of a block: (KH, KW, columns · C)."""
    return ready(np.tile(w[:, :, 0], _positions(y_width, w.shape[3], stride)))


@numba.njit(nogil=True, fastmath={"contract"})
def _add_products(a: Array, b: Array, out: Array) -> None:
    for k in range(len(out)):
        out[k] += a[k] * b[k]


@numba.njit(nogil=True)
def _columns(
    block: int, count: int, end: int, step: int, offset: int, width: int
) -> tuple[int, int]:
    """Of a block of outputs, the first and the end of those with ``j * step + offset`` inside."""
    first = max(block, -(offset // step))
    return first, min(min(block + count, end), (width - 1 - offset) // step + 1)


@njit(parallel=True, nogil=True, fastmath={"contract"})
def _forward(
    x: Array, w: Array, y: Array, c: int,
    sh: int, sw: int, ph: int, pw: int, dh: int, dw: int,
) -> None:  # fmt: skip
    kh, kw, count = w.shape[0], w.shape[1], w.shape[2] // c
    for line in numba.prange(y.shape[0] * y.shape[1]):
        n, i = divmod(np.int64(line), y.shape[1])
        for block in range(0, y.shape[2] // c, count):
            for p in range(kh):
                row = i * sh + p * dh - ph
                if row < 0 or row >= x.shape[1]:
                    continue
                for q in range(kw):
                    left = q * dw - pw
                    first, end = _columns(block, count, y.shape[2] // c, sw, left, x.shape[2] // c)
                    at_y, at_x = first * c, (first * sw + left) * c
                    run = max(0, (end - first) * c)
                    _add_products(x[n, row, at_x : at_x + run], w[p, q], y[n, i, at_y : at_y + run])


@njit(parallel=True, nogil=True, fastmath={"contract"})
def _input_gradient(
    dy: Array, w: Array, dx: Array, c: int,
    sh: int, sw: int, ph: int, pw: int, dh: int, dw: int,
) -> None:  # fmt: skip
    """Each line of dx gathers what the lines of dy give to it, so no two threads write to one."""
    kh, kw, count = w.shape[0], w.shape[1], w.shape[2] // c
    for line in numba.prange(dx.shape[0] * dx.shape[1]):
        n, row = divmod(np.int64(line), dx.shape[1])
        for block in range(0, dy.shape[2] // c, count):
            for p in range(kh):
                i, between = divmod(row + ph - p * dh, sh)
                if between or i < 0 or i >= dy.shape[1]:
                    continue
                for q in range(kw):
                    left = q * dw - pw
                    first, end = _columns(
                        block, count, dy.shape[2] // c, sw, left, dx.shape[2] // c
                    )
                    at_y, at_x = first * c, (first * sw + left) * c
                    run = max(0, (end - first) * c)
                    _add_products(
                        dy[n, i, at_y : at_y + run], w[p, q], dx[n, row, at_x : at_x + run]
                    )


@njit(parallel=True, nogil=True, fastmath={"contract"})
def _weight_gradient(
    dy: Array, x: Array, sums: Array, c: int,
    sh: int, sw: int, ph: int, pw: int, dh: int, dw: int,
) -> None:  # fmt: skip
    images, kh, kw, count = *sums.shape[:3], sums.shape[3] // c
    for item in numba.prange(images * kh):
        n, p = divmod(np.int64(item), kh)
        for i in range(dy.shape[1]):
            row = i * sh + p * dh - ph
            if row < 0 or row >= x.shape[1]:
                continue
            for block in range(0, dy.shape[2] // c, count):
                for q in range(kw):
                    left = q * dw - pw
                    first, end = _columns(block, count, dy.shape[2] // c, sw, left, x.shape[2] // c)
                    at_y, at_x = first * c, (first * sw + left) * c
                    run = max(0, (end - first) * c)
                    _add_products(
                        dy[n, i, at_y : at_y + run],
                        x[n, row, at_x : at_x + run],
                        sums[n, p, q, :run],
                    )
