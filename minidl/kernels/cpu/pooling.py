"""Pooling: threads take lines of outputs, and vectors run along the channels."""

from __future__ import annotations

import numba
import numpy as np

from minidl.kernels.cpu.cache import njit
from minidl.kernels.cpu.calls import ready, share

Array = np.ndarray
Pair = tuple[int, int]


def max_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """See `reference.max_pool2d`."""
    y = np.empty(_pooled(x.shape, size, stride, padding), x.dtype)
    argmax = np.empty(y.shape, np.int32)
    share(_max_pool, size[0] * size[1] * y.size, ready(x), y, argmax, *size, *stride, *padding)
    return y, argmax


def max_pool2d_gradient(
    dy: Array, argmax: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """See `reference.max_pool2d_gradient`."""
    dx = np.zeros(x_shape, dy.dtype)
    dy, argmax = ready(dy), ready(argmax, np.int32)
    share(_max_pool_gradient, size[0] * size[1] * dy.size, dy, argmax, dx, *size, *stride, *padding)
    return dx


def avg_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """See `reference.avg_pool2d`."""
    y = np.empty(_pooled(x.shape, size, stride, padding), x.dtype)
    weight = x.dtype.type(1 / (size[0] * size[1]))
    share(_avg_pool, size[0] * size[1] * y.size, ready(x), y, weight, *size, *stride, *padding)
    return y


def avg_pool2d_gradient(
    dy: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """See `reference.avg_pool2d_gradient`."""
    dx = np.zeros(x_shape, dy.dtype)
    weight = dy.dtype.type(1 / (size[0] * size[1]))
    share(
        _avg_pool_gradient,
        size[0] * size[1] * dy.size,
        ready(dy),
        dx,
        weight,
        *size,
        *stride,
        *padding,
    )
    return dx


def _pooled(shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair) -> tuple[int, ...]:
    height, width = ((shape[1 + k] + 2 * padding[k] - size[k]) // stride[k] + 1 for k in range(2))
    return shape[0], height, width, shape[3]


@njit(parallel=True, nogil=True)
def _max_pool(
    x: Array, y: Array, argmax: Array, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int
) -> None:
    for line in numba.prange(y.shape[0] * y.shape[1]):
        n, i = divmod(np.int64(line), y.shape[1])
        top = i * sh - ph
        for j in range(y.shape[2]):
            left = j * sw - pw
            untouched = True
            for p in range(max(0, -top), min(kh, x.shape[1] - top)):
                for q in range(max(0, -left), min(kw, x.shape[2] - left)):
                    cell = np.int32(p * kw + q)
                    if untouched:
                        untouched = False
                        for c in range(x.shape[3]):
                            y[n, i, j, c] = x[n, top + p, left + q, c]
                            argmax[n, i, j, c] = cell
                        continue
                    for c in range(x.shape[3]):
                        value, best = x[n, top + p, left + q, c], y[n, i, j, c]
                        # A NaN wins, so that it is noticed further on.
                        wins = value > best or value != value
                        y[n, i, j, c] = value if wins else best
                        argmax[n, i, j, c] = cell if wins else argmax[n, i, j, c]


@njit(parallel=True, nogil=True)
def _max_pool_gradient(
    dy: Array, argmax: Array, dx: Array, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int
) -> None:
    for index in numba.prange(dx.shape[0]):
        n = np.int64(index)
        for i in range(dy.shape[1]):
            top = i * sh - ph
            for j in range(dy.shape[2]):
                left = j * sw - pw
                for p in range(max(0, -top), min(kh, dx.shape[1] - top)):
                    for q in range(max(0, -left), min(kw, dx.shape[2] - left)):
                        cell = np.int32(p * kw + q)
                        for c in range(dx.shape[3]):
                            before = dx[n, top + p, left + q, c]
                            after = before + dy[n, i, j, c]
                            won = argmax[n, i, j, c] == cell
                            dx[n, top + p, left + q, c] = after if won else before


@njit(parallel=True, nogil=True)
def _avg_pool(
    x: Array, y: Array, weight: float, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int
) -> None:
    for line in numba.prange(y.shape[0] * y.shape[1]):
        n, i = divmod(np.int64(line), y.shape[1])
        top = i * sh - ph
        for j in range(y.shape[2]):
            left = j * sw - pw
            for c in range(x.shape[3]):
                y[n, i, j, c] = 0
            for p in range(max(0, -top), min(kh, x.shape[1] - top)):
                for q in range(max(0, -left), min(kw, x.shape[2] - left)):
                    for c in range(x.shape[3]):
                        y[n, i, j, c] += weight * x[n, top + p, left + q, c]


@njit(parallel=True, nogil=True)
def _avg_pool_gradient(
    dy: Array, dx: Array, weight: float, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int
) -> None:
    for index in numba.prange(dx.shape[0]):
        n = np.int64(index)
        for i in range(dy.shape[1]):
            top = i * sh - ph
            for j in range(dy.shape[2]):
                left = j * sw - pw
                for p in range(max(0, -top), min(kh, dx.shape[1] - top)):
                    for q in range(max(0, -left), min(kw, dx.shape[2] - left)):
                        for c in range(dx.shape[3]):
                            dx[n, top + p, left + q, c] += weight * dy[n, i, j, c]
