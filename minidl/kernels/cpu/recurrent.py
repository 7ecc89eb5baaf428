"""The cells of recurrent networks: all gates of a step in one pass.

What a step multiplies is `matmul`'s; here are the functions between two products.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from minidl.kernels.cpu.calls import ready, share
from minidl.kernels.cpu.exponentials import _exp, _tanh_near_zero

Array = np.ndarray

WORK = 8
"""An exponential costs as much as reading so many numbers."""


def lstm_cell(z: Array, c: Array) -> tuple[Array, Array, Array]:
    """See `reference.lstm_cell`."""
    h, c_next, gates = (np.empty(like.shape, z.dtype) for like in (c, c, z))
    share(_lstm_cell, WORK * z.size, ready(z), ready(c), h, c_next, gates)
    return h, c_next, gates


def lstm_cell_gradient(
    dh: Array, dc_next: Array, gates: Array, c: Array, c_next: Array
) -> tuple[Array, Array]:
    """See `reference.lstm_cell_gradient`."""
    dz, dc = np.empty(gates.shape, gates.dtype), np.empty(c.shape, c.dtype)
    given = (ready(x) for x in (dh, dc_next, gates, c, c_next))
    share(_lstm_cell_gradient, 3 * gates.size, *given, dz, dc)
    return dz, dc


def gru_cell(zx: Array, zh: Array, h: Array) -> tuple[Array, Array]:
    """See `reference.gru_cell`."""
    h_next, gates = np.empty(h.shape, h.dtype), np.empty((len(h), 4 * h.shape[1]), h.dtype)
    share(_gru_cell, WORK * zx.size, ready(zx), ready(zh), ready(h), h_next, gates)
    return h_next, gates


def gru_cell_gradient(dh_next: Array, gates: Array, h: Array) -> tuple[Array, Array, Array]:
    """See `reference.gru_cell_gradient`."""
    (n, size), dtype = h.shape, h.dtype
    dzx, dzh, dh = (np.empty((n, columns), dtype) for columns in (3 * size, 3 * size, size))
    given = (ready(x) for x in (dh_next, gates, h))
    share(_gru_cell_gradient, 2 * gates.size, *given, dzx, dzh, dh)
    return dzx, dzh, dh


# By numba's default a division checks for 0, and a loop that checks is not made vector code.
@numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
def _sigmoid(x: Any, one: Any) -> Any:
    e = _exp(-abs(x))
    return (e if x < 0 else one) / (one + e)


@numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
def _tanh(x: Any, one: Any, border: Any) -> Any:
    size = abs(x)
    e = _exp(-(size + size))
    far = (one - e) / (one + e)
    far = -far if x < 0 else far
    # The bound is between numbers of one type, else float32 loops would compute in float64.
    return _tanh_near_zero(x) if size < border else far


@numba.njit(cache=True, parallel=True, nogil=True, fastmath={"contract"})
def _lstm_cell(z: Array, c: Array, h: Array, c_next: Array, gates: Array) -> None:
    size, one, border = c.shape[1], z.dtype.type(1), z.dtype.type(0.625)
    for n in numba.prange(c.shape[0]):
        for j in range(size):
            gates[n, j] = _sigmoid(z[n, j], one)
            gates[n, size + j] = _sigmoid(z[n, size + j], one)
            gates[n, 2 * size + j] = _tanh(z[n, 2 * size + j], one, border)
            gates[n, 3 * size + j] = _sigmoid(z[n, 3 * size + j], one)
        for j in range(size):
            c_next[n, j] = gates[n, size + j] * c[n, j] + gates[n, j] * gates[n, 2 * size + j]
            h[n, j] = gates[n, 3 * size + j] * _tanh(c_next[n, j], one, border)


@numba.njit(cache=True, parallel=True, nogil=True, fastmath={"contract"})
def _lstm_cell_gradient(
    dh: Array, dc_next: Array, gates: Array, c: Array, c_next: Array, dz: Array, dc: Array
) -> None:
    size, one, border = c.shape[1], gates.dtype.type(1), gates.dtype.type(0.625)
    for n in numba.prange(c.shape[0]):
        for j in range(size):
            i, f = gates[n, j], gates[n, size + j]
            g, o = gates[n, 2 * size + j], gates[n, 3 * size + j]
            tanh_c = _tanh(c_next[n, j], one, border)
            through = dc_next[n, j] + dh[n, j] * o * (one - tanh_c * tanh_c)
            dz[n, j] = through * g * i * (one - i)
            dz[n, size + j] = through * c[n, j] * f * (one - f)
            dz[n, 2 * size + j] = through * i * (one - g * g)
            dz[n, 3 * size + j] = dh[n, j] * tanh_c * o * (one - o)
            dc[n, j] = through * f


@numba.njit(cache=True, parallel=True, nogil=True, fastmath={"contract"})
def _gru_cell(zx: Array, zh: Array, h: Array, h_next: Array, gates: Array) -> None:
    size, one, border = h.shape[1], h.dtype.type(1), h.dtype.type(0.625)
    for n in numba.prange(h.shape[0]):
        for j in range(2 * size):
            gates[n, j] = _sigmoid(zx[n, j] + zh[n, j], one)
        for j in range(size):
            of_state = zh[n, 2 * size + j]
            new = _tanh(zx[n, 2 * size + j] + gates[n, j] * of_state, one, border)
            gates[n, 2 * size + j], gates[n, 3 * size + j] = new, of_state
            kept = gates[n, size + j]
            h_next[n, j] = (one - kept) * new + kept * h[n, j]


@numba.njit(cache=True, parallel=True, nogil=True)
def _gru_cell_gradient(
    dh_next: Array, gates: Array, h: Array, dzx: Array, dzh: Array, dh: Array
) -> None:
    size, one = h.shape[1], h.dtype.type(1)
    for n in numba.prange(h.shape[0]):
        for j in range(size):
            r, u = gates[n, j], gates[n, size + j]
            new, of_state = gates[n, 2 * size + j], gates[n, 3 * size + j]
            dnew = dh_next[n, j] * (one - u) * (one - new * new)
            du = dh_next[n, j] * (h[n, j] - new) * u * (one - u)
            dr = dnew * of_state * r * (one - r)
            dzx[n, j], dzx[n, size + j], dzx[n, 2 * size + j] = dr, du, dnew
            dzh[n, j], dzh[n, size + j], dzh[n, 2 * size + j] = dr, du, dnew * r
            dh[n, j] = dh_next[n, j] * u
