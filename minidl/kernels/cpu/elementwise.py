"""Rectifiers, dropout and the gradient of a bias: one pass over flat memory each."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from minidl.kernels.cpu.cache import njit
from minidl.kernels.cpu.calls import flat, share

Array = np.ndarray

PART = 1 << 14
"""Numbers that are summed one by one into a bias's gradient."""


def bias_gradient(dy: Array) -> Array:
    """See `reference.bias_gradient`. Few columns would leave vectors empty: rows lie side by side.

    Parts of one length are summed, then their sums: so rounding stays small, and the result
    does not depend on the number of threads.
    """
    columns = dy.shape[-1]
    rows, beside = dy.size // columns, -(-64 // columns)
    lines = rows // beside
    sums = np.zeros((max(1, -(-lines * beside * columns // PART)), beside * columns), dy.dtype)
    numbers = flat(dy)
    share(_sum_lines, dy.size, numbers, lines, sums)
    rest = numbers[lines * beside * columns :].reshape(-1, columns)
    return np.concatenate((sums.reshape(-1, columns), rest)).sum(axis=0)


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


@njit(parallel=True, nogil=True)
def _sum_lines(numbers: Array, lines: int, sums: Array) -> None:
    parts, width = sums.shape
    for part in numba.prange(parts):
        for line in range(part * lines // parts, (part + 1) * lines // parts):
            _add(numbers[line * width : (line + 1) * width], sums[part])


@numba.njit(nogil=True)
def _add(x: Array, total: Array) -> None:
    for j in range(len(total)):
        total[j] += x[j]


@njit(parallel=True, nogil=True)
def _relu(x: Array, y: Array) -> None:
    zero = x.dtype.type(0)
    for i in numba.prange(x.size):
        y[i] = zero if x[i] <= zero else x[i]


@njit(parallel=True, nogil=True)
def _leaky_relu(x: Array, slope: Any, y: Array) -> None:
    for i in numba.prange(x.size):
        y[i] = x[i] if x[i] > 0 else x[i] * slope


@njit(parallel=True, nogil=True)
def _leaky_relu_gradient(dy: Array, x: Array, slope: Any, dx: Array) -> None:
    for i in numba.prange(x.size):
        dx[i] = dy[i] if x[i] > 0 else dy[i] * slope


@njit(parallel=True, nogil=True)
def _dropout(x: Array, bits: Array, threshold: int, scale: Any, y: Array) -> None:
    zero = x.dtype.type(0)
    for i in numba.prange(x.size):
        y[i] = x[i] * scale if bits[i] >= threshold else zero
