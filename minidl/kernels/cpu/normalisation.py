"""Batch normalisation, with sums over rows taken chunk by chunk in a fixed order."""

from __future__ import annotations

import numba
import numpy as np

from minidl.kernels.cpu.cache import njit
from minidl.kernels.cpu.calls import ready, share

Array = np.ndarray

CHUNK = 256
"""Rows summed one after the other; their sums are then summed, so rounding stays small."""


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
    """See `reference.batch_norm`."""
    x = ready(x)
    nothing = np.zeros(x.shape[1], x.dtype)
    near = x[0] if len(x) else nothing
    parts = np.empty((2, -(-len(x) // CHUNK), x.shape[1]), x.dtype)
    share(_moments, x.size, x, near, parts)
    sizes = np.full((parts.shape[1], 1), CHUNK, x.dtype)
    sizes[-1:] -= len(sizes) * CHUNK - len(x)
    count = max(x.dtype.type(len(x)), x.dtype.type(1))
    mean = (sizes * parts[0]).sum(axis=0) / count
    squares = (parts[1] + sizes * (parts[0] - mean) ** 2).sum(axis=0)
    mean = near + mean
    inv_std = 1 / np.sqrt(squares / count + x.dtype.type(eps))
    y = np.empty_like(x)
    share(_affine, x.size, x, x, mean, gamma * inv_std, nothing, ready(beta), y)
    return y, mean, inv_std


def batch_norm_gradient(
    dy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """See `reference.batch_norm_gradient`."""
    dy, x, mean = ready(dy), ready(x), ready(mean)
    count = x.dtype.type(max(len(x), 1))
    parts = np.empty((2, -(-len(x) // CHUNK), x.shape[1]), x.dtype)
    share(_sums, x.size, dy, x, mean, parts)
    dbeta, products = parts.sum(axis=1)
    dgamma = products * inv_std
    scale = gamma * inv_std
    dx = np.empty_like(x)
    share(
        _affine,
        x.size,
        x,
        dy,
        mean,
        -scale * inv_std * dgamma / count,
        scale,
        -scale * dbeta / count,
        dx,
    )
    return dx, dgamma, dbeta


@njit(parallel=True, nogil=True)
def _moments(x: Array, near: Array, parts: Array) -> None:
    """Of each chunk of rows: its mean, less `near`, and the squares around it, summed.

    Differences from some row are small even where the mean is large, so little is lost.
    """
    for index in numba.prange(parts.shape[1]):
        chunk = np.int64(index)
        first, end = chunk * CHUNK, min((chunk + 1) * CHUNK, x.shape[0])
        for c in range(x.shape[1]):
            parts[0, chunk, c] = 0
            parts[1, chunk, c] = 0
        for row in range(first, end):
            for c in range(x.shape[1]):
                parts[0, chunk, c] += x[row, c] - near[c]
        for c in range(x.shape[1]):
            parts[0, chunk, c] /= end - first
        for row in range(first, end):
            for c in range(x.shape[1]):
                off = x[row, c] - near[c] - parts[0, chunk, c]
                parts[1, chunk, c] += off * off


@njit(parallel=True, nogil=True)
def _sums(a: Array, x: Array, mean: Array, parts: Array) -> None:
    """Of each chunk of rows: the sums of a, and of a * (x - mean)."""
    for index in numba.prange(parts.shape[1]):
        chunk = np.int64(index)
        for c in range(x.shape[1]):
            parts[0, chunk, c] = 0
            parts[1, chunk, c] = 0
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, x.shape[0])):
            for c in range(x.shape[1]):
                parts[0, chunk, c] += a[row, c]
                parts[1, chunk, c] += a[row, c] * (x[row, c] - mean[c])


@njit(parallel=True, nogil=True)
def _affine(
    x: Array, a: Array, mean: Array, x_factor: Array, a_factor: Array, shift: Array, y: Array
) -> None:
    for row in numba.prange(x.shape[0]):
        for c in range(x.shape[1]):
            y[row, c] = (x[row, c] - mean[c]) * x_factor[c] + a[row, c] * a_factor[c] + shift[c]
