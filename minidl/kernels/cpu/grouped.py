"""Convolution in groups of channels: whole ones where they are wide, loops where each is one.

Groups see nothing of each other, so a convolution in groups is several smaller ones. Where a
group is a single channel ("depthwise", Howard et al. 2017) there is nothing to sum over that
could fill a tile of products; there vectors run along the channels instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np

from minidl.kernels.cpu import convolution
from minidl.kernels.cpu.calls import ready, share

Array = np.ndarray
Pair = tuple[int, int]


def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """See `reference.conv2d`."""
    if groups == 1:
        return convolution.conv2d(x, w, b, stride, padding, dilation)
    c, o = x.shape[3], w.shape[3]
    lengths = zip(x.shape[1:3], w.shape[:2], stride, padding, dilation, strict=True)
    size = tuple((length + 2 * p - d * (k - 1) - 1) // s + 1 for length, k, s, p, d in lengths)
    y = np.empty((len(x), *size, o), x.dtype)
    if c == groups:
        y[...] = 0 if b is None else b
        x = ready(_repeated(x, o // c))
        work = y.size * w.shape[0] * w.shape[1]
        share(_depthwise, work, x, ready(w[:, :, 0]), y, *stride, *padding, *dilation)
        return y
    for at_x, at_y in zip(_parts(c, groups), _parts(o, groups), strict=True):
        bias = None if b is None else b[at_y]
        y[..., at_y] = convolution.conv2d(
            x[..., at_x], w[..., at_y], bias, stride, padding, dilation
        )
    return y


def conv2d_input_gradient(
    dy: Array,
    w: Array,
    x_shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """See `reference.conv2d_input_gradient`."""
    if groups == 1:
        return convolution.conv2d_input_gradient(dy, w, x_shape, stride, padding, dilation)
    c, o = x_shape[3], w.shape[3]
    if c == groups:
        dx = np.zeros((*x_shape[:3], o), dy.dtype)
        work = dy.size * w.shape[0] * w.shape[1]
        share(
            _depthwise_input_gradient,
            work,
            ready(dy),
            ready(w[:, :, 0]),
            dx,
            *stride,
            *padding,
            *dilation,
        )
        return _summed(dx, o // c)
    dx = np.empty(x_shape, dy.dtype)
    for at_x, at_y in zip(_parts(c, groups), _parts(o, groups), strict=True):
        dx[..., at_x] = convolution.conv2d_input_gradient(
            dy[..., at_y], w[..., at_y], (*x_shape[:3], c // groups), stride, padding, dilation
        )
    return dx


def conv2d_weight_gradient(
    dy: Array,
    x: Array,
    w_shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """See `reference.conv2d_weight_gradient`."""
    if groups == 1:
        return convolution.conv2d_weight_gradient(dy, x, w_shape, stride, padding, dilation)
    kh, kw, each, o = w_shape
    if each == 1:
        # A sum for each image, so that threads share images and not places to write to.
        sums = np.zeros((len(x), kh, kw, o), x.dtype)
        x = ready(_repeated(x, o // groups))
        work = dy.size * kh * kw
        share(_depthwise_weight_gradient, work, ready(dy), x, sums, *stride, *padding, *dilation)
        return sums.sum(axis=0).reshape(w_shape)
    dw = np.empty(w_shape, x.dtype)
    for at_x, at_y in zip(_parts(each * groups, groups), _parts(o, groups), strict=True):
        dw[..., at_y] = convolution.conv2d_weight_gradient(
            dy[..., at_y], x[..., at_x], (kh, kw, each, o // groups), stride, padding, dilation
        )
    return dw


def _parts(channels: int, groups: int) -> Iterator[slice]:
    each = channels // groups
    return (slice(first, first + each) for first in range(0, channels, each))


def _repeated(x: Array, times: int) -> Array:
    """Each channel once for each filter that sees it."""
    return x if times == 1 else x.repeat(times, axis=-1)


def _summed(dx: Array, times: int) -> Array:
    """The gradient of `_repeated`."""
    if times == 1:
        return dx
    return dx.reshape(*dx.shape[:-1], dx.shape[-1] // times, times).sum(axis=-1)


@numba.njit(cache=True, parallel=True, nogil=True, fastmath={"contract"})
def _depthwise(
    x: Array, w: Array, y: Array, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int
) -> None:
    kh, kw, channels = w.shape
    for line in numba.prange(y.shape[0] * y.shape[1]):
        n, i = divmod(np.int64(line), y.shape[1])
        for p in range(kh):
            row = i * sh + p * dh - ph
            if row < 0 or row >= x.shape[1]:
                continue
            for j in range(y.shape[2]):
                for q in range(kw):
                    column = j * sw + q * dw - pw
                    if column < 0 or column >= x.shape[2]:
                        continue
                    for c in range(channels):
                        y[n, i, j, c] += x[n, row, column, c] * w[p, q, c]


@numba.njit(cache=True, parallel=True, nogil=True, fastmath={"contract"})
def _depthwise_input_gradient(
    dy: Array, w: Array, dx: Array, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int
) -> None:
    """Each line of dx gathers what the lines of dy give to it, so no two threads write to one."""
    kh, kw, channels = w.shape
    for line in numba.prange(dx.shape[0] * dx.shape[1]):
        n, row = divmod(np.int64(line), dx.shape[1])
        for p in range(kh):
            i, between = divmod(row + ph - p * dh, sh)
            if between or i < 0 or i >= dy.shape[1]:
                continue
            for j in range(dy.shape[2]):
                for q in range(kw):
                    column = j * sw + q * dw - pw
                    if column < 0 or column >= dx.shape[2]:
                        continue
                    for c in range(channels):
                        dx[n, row, column, c] += dy[n, i, j, c] * w[p, q, c]


@numba.njit(cache=True, parallel=True, nogil=True, fastmath={"contract"})
def _depthwise_weight_gradient(
    dy: Array, x: Array, sums: Array, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int
) -> None:
    _, kh, kw, channels = sums.shape
    for item in numba.prange(len(sums) * kh):
        n, p = divmod(np.int64(item), kh)
        for i in range(dy.shape[1]):
            row = i * sh + p * dh - ph
            if row < 0 or row >= x.shape[1]:
                continue
            for j in range(dy.shape[2]):
                for q in range(kw):
                    column = j * sw + q * dw - pw
                    if column < 0 or column >= x.shape[2]:
                        continue
                    for c in range(channels):
                        sums[n, p, q, c] += dy[n, i, j, c] * x[n, row, column, c]
