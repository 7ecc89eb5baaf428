"""The kernels for GPUs: the definitions, on CuPy's arrays, but for those that suit no GPU.

Products are left to cuBLAS, and all groups of a convolution go into one; its windows are
copied for it. Nothing is added up by threads that race for one place, so results repeat.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.errors import InputError
from minidl.kernels import Array, Pair, reference
from minidl.kernels.contracts import under_contract
from minidl.kernels.reference.windows import at, crop, pad, windows_of

try:
    import cupy as cp
except ImportError as error:
    raise InputError(
        "arrays on a GPU need CuPy, which is not installed: pip install minidl[gpu]"
    ) from error

ONE_HOT = 1 << 24
"""Elements of the largest table of zeros and ones that may be made at once."""


def __getattr__(name: str) -> Any:
    return getattr(reference, name)


@under_contract
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
    kh, kw, c, o = w.shape
    windows = _windows(x, (kh, kw), stride, padding, dilation)
    rows = _parts(windows, groups).reshape(groups, -1, kh * kw * c)
    y = _whole(rows @ _parts(w, groups).reshape(groups, kh * kw * c, o // groups))
    if b is not None:
        y += b
    return y.reshape(*windows.shape[:3], o)


@under_contract
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
    dx = pad(cp.zeros(x_shape, dy.dtype), padding)
    flat = _parts(dy.reshape(-1, dy.shape[3]), groups)
    for p, q in np.ndindex(w.shape[:2]):
        given = _whole(flat @ _parts(w[p, q], groups).swapaxes(1, 2))
        place = at(dx, p, q, dy.shape, stride, dilation)
        place += given.reshape(place.shape)
    return crop(dx, padding)


@under_contract
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
    kh, kw, c, o = w_shape
    windows = _windows(x, (kh, kw), stride, padding, dilation)
    rows = _parts(windows, groups).reshape(groups, -1, kh * kw * c)
    return _whole(rows.swapaxes(1, 2) @ _parts(dy.reshape(-1, o), groups)).reshape(w_shape)


@under_contract
def max_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """See `reference.max_pool2d`; windows are not written out."""
    inside = windows_of(pad(cp.ones(x.shape, bool), padding), size, stride, (1, 1))
    windows = windows_of(pad(x, padding), size, stride, (1, 1))
    shape = windows.shape[:4]
    y, argmax = cp.zeros(shape, x.dtype), cp.zeros(shape, np.int32)
    touched = cp.zeros(shape, bool)
    for p, q in np.ndindex(size):
        value, here = windows[..., p, q], inside[..., p, q]
        wins = here & ((value > y) | (value != value) | ~touched)
        y = cp.where(wins, value, y)
        argmax = cp.where(wins, np.int32(p * size[1] + q), argmax)
        touched |= here
    return y, argmax


@under_contract
def embedding_gradient(dy: Array, indices: Array, vocabulary: int) -> Array:
    """See `reference.embedding_gradient`."""
    dw = cp.zeros((vocabulary, dy.shape[1]), dy.dtype)
    rows = cp.arange(vocabulary)[:, None]
    part = max(1, ONE_HOT // vocabulary)
    for start in range(0, len(dy), part):
        looked_up = rows == indices[start : start + part]
        dw += looked_up.astype(dy.dtype) @ dy[start : start + part]
    return dw


@under_contract
def lars_step(
    w: Array,
    g: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    weight_decay: float,
    trust: float,
) -> None:
    """See `reference.lars_step`; here the ratio stays on the device, which is not waited for."""
    w_norm, g_norm = (cp.sqrt(reference.sum_of_squares(x)) for x in (w, g))
    against = g_norm + weight_decay * w_norm
    ratio = cp.where(w_norm * against > 0, trust * w_norm / cp.where(against > 0, against, 1), 1)
    velocity *= momentum
    velocity += (lr * ratio).astype(w.dtype) * (g + weight_decay * w)
    w -= velocity


def _windows(x: Array, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """All windows of x with its padding, as a view (N, H', W', KH, KW, C)."""
    return cp.moveaxis(windows_of(pad(x, padding), size, stride, dilation), 3, -1)


def _parts(x: Array, groups: int) -> Array:
    """x (..., C) by groups of its channels: (groups, ..., C / groups)."""
    parts = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    return cp.ascontiguousarray(cp.moveaxis(parts, -2, 0))


def _whole(parts: Array) -> Array:
    """Matrices (groups, M, C / groups), side by side: (M, C)."""
    groups, rows, each = parts.shape
    return cp.moveaxis(parts, 0, 1).reshape(rows, groups * each)
