"""Rectifiers and dropout: one pass over flat memory each."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from minidl.kernels.cpu.calls import flat, share

Array = np.ndarray


def relu(x: Array) -> Array:
    """See `reference.relu`."""
    y = np.empty(x.shape, x.dtype)
    share(_relu, x.size, flat(x), y.reshape(-1))
    return y


def relu_gradient(dy: Array, y: Array) -> Array:
    """See `reference.relu_gradient`."""
    return leaky_relu_gradient(dy, y, 0)


def leaky_relu(x: Array, slope: float) -> Array:
    """See `reference.leaky_relu`."""
    y = np.empty(x.shape, x.dtype)
    share(_leaky_relu, x.size, flat(x), x.dtype.type(slope), y.reshape(-1))
    return y


def leaky_relu_gradient(dy: Array, x: Array, slope: float) -> Array:
    """See `reference.leaky_relu_gradient`."""
    dx = np.empty(dy.shape, dy.dtype)
    share(_leaky_relu_gradient, x.size, flat(dy), flat(x), dy.dtype.type(slope), dx.reshape(-1))
    return dx


def dropout(x: Array, bits: Array, threshold: int, scale: float) -> Array:
    """See `reference.dropout`."""
    y = np.empty(x.shape, x.dtype)
    share(_dropout, x.size, flat(x), flat(bits), threshold, x.dtype.type(scale), y.reshape(-1))
    return y


@numba.njit(cache=True, parallel=True, nogil=True)
def _relu(x: Array, y: Array) -> None:
    zero = x.dtype.type(0)
    for i in numba.prange(x.size):
        y[i] = zero if x[i] <= zero else x[i]


@numba.njit(cache=True, parallel=True, nogil=True)
def _leaky_relu(x: Array, slope: Any, y: Array) -> None:
    for i in numba.prange(x.size):
        y[i] = x[i] if x[i] > 0 else x[i] * slope


@numba.njit(cache=True, parallel=True, nogil=True)
def _leaky_relu_gradient(dy: Array, x: Array, slope: Any, dx: Array) -> None:
    for i in numba.prange(x.size):
        dx[i] = dy[i] if x[i] > 0 else dy[i] * slope


@numba.njit(cache=True, parallel=True, nogil=True)
def _dropout(x: Array, bits: Array, threshold: int, scale: Any, y: Array) -> None:
    zero = x.dtype.type(0)
    for i in numba.prange(x.size):
        y[i] = x[i] * scale if bits[i] >= threshold else zero
