"""The cells of recurrent networks: all gates of a step in one pass.

Here are the functions between two products; `scans` joins them to layers.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from minidl.kernels.cpu.cache import njit
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


# Outside of a prange, Python's error model would look at every divisor for a zero, which keeps
# the loop that calls from being vector code: a cell took twelve times longer.
@numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _sigmoid(x: Any, one: Any) -> Any:
    e = _exp(-abs(x))
    return (e if x < 0 else one) / (one + e)


@numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def _tanh(x: Any, one: Any, border: Any) -> Any:
    size = abs(x)
    e = _exp(-(size + size))
    far = (one - e) / (one + e)
    far = -far if x < 0 else far
    # The bound is between numbers of one type, else float32 loops would compute in float64.
    return _tanh_near_zero(x) if size < border else far


@numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
def _lstm_row(z: Array, c: Array, h: Array, c_next: Array, gates: Array) -> None:
    size, one, border = len(c), z.dtype.type(1), z.dtype.type(0.625)
    for j in range(size):
        i, f = _sigmoid(z[j], one), _sigmoid(z[size + j], one)
        g, o = _tanh(z[2 * size + j], one, border), _sigmoid(z[3 * size + j], one)
        gates[j], gates[size + j], gates[2 * size + j], gates[3 * size + j] = i, f, g, o
        c_next[j] = f * c[j] + i * g
        h[j] = o * _tanh(c_next[j], one, border)


@numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
def _lstm_row_gradient(
    dh: Array, dc_next: Array, gates: Array, c: Array, c_next: Array, dz: Array, dc: Array
) -> None:
    size, one, border = len(c), gates.dtype.type(1), gates.dtype.type(0.625)
    for j in range(size):
        i, f = gates[j], gates[size + j]
        g, o = gates[2 * size + j], gates[3 * size + j]
        tanh_c = _tanh(c_next[j], one, border)
        through = dc_next[j] + dh[j] * o * (one - tanh_c * tanh_c)
        dz[j] = through * g * i * (one - i)
        dz[size + j] = through * c[j] * f * (one - f)
        dz[2 * size + j] = through * i * (one - g * g)
        dz[3 * size + j] = dh[j] * tanh_c * o * (one - o)
        dc[j] = through * f


@numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
def _gru_row(zx: Array, zh: Array, h: Array, h_next: Array, gates: Array) -> None:
    size, one, border = len(h), h.dtype.type(1), h.dtype.type(0.625)
    for j in range(size):
        r, kept = _sigmoid(zx[j] + zh[j], one), _sigmoid(zx[size + j] + zh[size + j], one)
        of_state = zh[2 * size + j]
        new = _tanh(zx[2 * size + j] + r * of_state, one, border)
        gates[j], gates[size + j], gates[2 * size + j], gates[3 * size + j] = r, kept, new, of_state
        h_next[j] = (one - kept) * new + kept * h[j]


@numba.njit(nogil=True)
def _gru_row_gradient(
    dh_next: Array, gates: Array, h: Array, dzx: Array, dzh: Array, dh: Array
) -> None:
    size, one = len(h), h.dtype.type(1)
    for j in range(size):
        r, u = gates[j], gates[size + j]
        new, of_state = gates[2 * size + j], gates[3 * size + j]
        dnew = dh_next[j] * (one - u) * (one - new * new)
        du = dh_next[j] * (h[j] - new) * u * (one - u)
        dr = dnew * of_state * r * (one - r)
        dzx[j], dzx[size + j], dzx[2 * size + j] = dr, du, dnew
        dzh[j], dzh[size + j], dzh[2 * size + j] = dr, du, dnew * r
        dh[j] = dh_next[j] * u


@njit(parallel=True, nogil=True)
def _lstm_cell(z: Array, c: Array, h: Array, c_next: Array, gates: Array) -> None:
    for n in numba.prange(len(c)):
        _lstm_row(z[n], c[n], h[n], c_next[n], gates[n])


@njit(parallel=True, nogil=True)
def _lstm_cell_gradient(
    dh: Array, dc_next: Array, gates: Array, c: Array, c_next: Array, dz: Array, dc: Array
) -> None:
    for n in numba.prange(len(c)):
        _lstm_row_gradient(dh[n], dc_next[n], gates[n], c[n], c_next[n], dz[n], dc[n])


@njit(parallel=True, nogil=True)
def _gru_cell(zx: Array, zh: Array, h: Array, h_next: Array, gates: Array) -> None:
    for n in numba.prange(len(h)):
        _gru_row(zx[n], zh[n], h[n], h_next[n], gates[n])


@njit(parallel=True, nogil=True)
def _gru_cell_gradient(
    dh_next: Array, gates: Array, h: Array, dzx: Array, dzh: Array, dh: Array
) -> None:
    for n in numba.prange(len(h)):
        _gru_row_gradient(dh_next[n], gates[n], h[n], dzx[n], dzh[n], dh[n])
