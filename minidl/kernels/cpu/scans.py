"""Recurrent layers over all steps at once: threads share the batch, not the step.

No row of a batch needs another one. So each thread takes its rows through all steps, with
the recurrent weight laid out once, and threads never wait for each other.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from minidl.kernels.cpu.cache import njit
from minidl.kernels.cpu.calls import ready, share
from minidl.kernels.cpu.dense import multiply, pack
from minidl.kernels.cpu.products import ROWS, panel_width
from minidl.kernels.cpu.recurrent import _gru_row, _gru_row_gradient, _lstm_row, _lstm_row_gradient

Array = np.ndarray


def lstm_scan(z: Array, u: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
    """See `reference.lstm_scan`."""
    hs, cs = (np.empty((len(z) + 1, *h.shape), z.dtype) for _ in range(2))
    gates, start = np.empty(z.shape, z.dtype), _zeros(z.shape[2], z.dtype)
    hs[0], cs[0] = h, c
    rows, work = _rows_a_thread(len(h)), z.size * len(u)
    share(_lstm_scan, work, rows, ready(z), pack(u), start, hs, cs, gates)
    return hs, cs, gates


def lstm_scan_gradient(
    dhs: Array, dh: Array, dc: Array, u: Array, gates: Array, cs: Array
) -> tuple[Array, Array, Array]:
    """See `reference.lstm_scan_gradient`."""
    dz, start = np.empty(gates.shape, gates.dtype), _zeros(len(u), gates.dtype)
    dh, dc = (np.array(x, order="C") for x in (dh, dc))
    rows, work = _rows_a_thread(len(dh)), dz.size * len(u)
    given = ready(dhs), pack(u.T), start, ready(gates), ready(cs)
    share(_lstm_scan_gradient, work, rows, *given, dz, dh, dc)
    return dz, dh, dc


def gru_scan(zx: Array, u: Array, b: Array, h: Array) -> tuple[Array, Array]:
    """See `reference.gru_scan`."""
    (steps, n, columns), size = zx.shape, h.shape[1]
    hs = np.empty((steps + 1, n, size), zx.dtype)
    gates = np.empty((steps, n, 4 * size), zx.dtype)
    hs[0], start = h, _zeros(columns, zx.dtype)
    start[2 * size : columns] = b
    rows, work = _rows_a_thread(n), zx.size * size
    share(_gru_scan, work, rows, ready(zx), pack(u), start, hs, gates)
    return hs, gates


def gru_scan_gradient(
    dhs: Array, dh: Array, u: Array, gates: Array, hs: Array
) -> tuple[Array, Array, Array]:
    """See `reference.gru_scan_gradient`."""
    steps, n, size = dhs.shape
    dzx, dzh = (np.empty((steps, n, 3 * size), gates.dtype) for _ in range(2))
    dh, start = np.array(dh, order="C"), _zeros(size, gates.dtype)
    rows, work = _rows_a_thread(n), dzx.size * size
    given = ready(dhs), pack(u.T), start, ready(gates), ready(hs)
    share(_gru_scan_gradient, work, rows, *given, dzx, dzh, dh)
    return dzx, dzh, dh


def _zeros(columns: int, dtype: Any) -> Array:
    """What sums start from, to the end of the last panel."""
    width = panel_width(np.dtype(dtype))
    return np.zeros(-(-columns // width) * width, dtype)


def _rows_a_thread(n: int) -> int:
    """How many rows each thread takes: whole tiles."""
    return max(1, -(-n // (ROWS * numba.get_num_threads()))) * ROWS


@njit(parallel=True, nogil=True)
def _lstm_scan(
    rows: int, z: Array, u: Array, start: Array, hs: Array, cs: Array, gates: Array
) -> None:
    for piece in numba.prange(-(-z.shape[1] // rows)):
        first = np.int64(piece) * rows
        _lstm_rows(first, min(first + rows, z.shape[1]), z, u, start, hs, cs, gates)


@njit(nogil=True)
def _lstm_rows(
    first: int, end: int, z: Array, u: Array, start: Array, hs: Array, cs: Array, gates: Array
) -> None:
    count, (steps, batch, columns), size = end - first, z.shape, hs.shape[2]
    zh = np.empty(count * columns + len(start), z.dtype)
    for t in range(steps):
        multiply(hs.reshape(-1), (t * batch + first) * size, u, start, zh, count, size, columns)
        for n in range(first, end):
            given = zh[(n - first) * columns : (n - first + 1) * columns]
            given += z[t, n]
            _lstm_row(given, cs[t, n], hs[t + 1, n], cs[t + 1, n], gates[t, n])


@njit(parallel=True, nogil=True)
def _lstm_scan_gradient(
    rows: int,
    dhs: Array,
    back: Array,
    start: Array,
    gates: Array,
    cs: Array,
    dz: Array,
    dh: Array,
    dc: Array,
) -> None:
    for piece in numba.prange(-(-len(dh) // rows)):
        first = np.int64(piece) * rows
        end = min(first + rows, len(dh))
        _lstm_rows_gradient(first, end, dhs, back, start, gates, cs, dz, dh, dc)


@njit(nogil=True)
def _lstm_rows_gradient(
    first: int, end: int, dhs: Array, back: Array, start: Array,
    gates: Array, cs: Array, dz: Array, dh: Array, dc: Array,
) -> None:  # fmt: skip
    count, (steps, batch, columns), size = end - first, gates.shape, dh.shape[1]
    through = np.empty(count * size + len(start), dz.dtype)
    of_h, of_c = np.empty(size, dz.dtype), np.empty(size, dz.dtype)
    for t in range(steps - 1, -1, -1):
        for n in range(first, end):
            for j in range(size):
                of_h[j], of_c[j] = dhs[t, n, j] + dh[n, j], dc[n, j]
            _lstm_row_gradient(of_h, of_c, gates[t, n], cs[t, n], cs[t + 1, n], dz[t, n], dc[n])
        row = (t * batch + first) * columns
        multiply(dz.reshape(-1), row, back, start, through, count, columns, size)
        dh[first:end] = through[: count * size].reshape(count, size)


@njit(parallel=True, nogil=True)
def _gru_scan(rows: int, zx: Array, u: Array, start: Array, hs: Array, gates: Array) -> None:
    for piece in numba.prange(-(-zx.shape[1] // rows)):
        first = np.int64(piece) * rows
        _gru_rows(first, min(first + rows, zx.shape[1]), zx, u, start, hs, gates)


@njit(nogil=True)
def _gru_rows(
    first: int, end: int, zx: Array, u: Array, start: Array, hs: Array, gates: Array
) -> None:
    count, (steps, batch, columns), size = end - first, zx.shape, hs.shape[2]
    zh = np.empty(count * columns + len(start), zx.dtype)
    for t in range(steps):
        multiply(hs.reshape(-1), (t * batch + first) * size, u, start, zh, count, size, columns)
        for n in range(first, end):
            of_row = zh[(n - first) * columns : (n - first + 1) * columns]
            _gru_row(zx[t, n], of_row, hs[t, n], hs[t + 1, n], gates[t, n])


@njit(parallel=True, nogil=True)
def _gru_scan_gradient(
    rows: int,
    dhs: Array,
    back: Array,
    start: Array,
    gates: Array,
    hs: Array,
    dzx: Array,
    dzh: Array,
    dh: Array,
) -> None:
    for piece in numba.prange(-(-len(dh) // rows)):
        first = np.int64(piece) * rows
        end = min(first + rows, len(dh))
        _gru_rows_gradient(first, end, dhs, back, start, gates, hs, dzx, dzh, dh)


@njit(nogil=True)
def _gru_rows_gradient(
    first: int, end: int, dhs: Array, back: Array, start: Array,
    gates: Array, hs: Array, dzx: Array, dzh: Array, dh: Array,
) -> None:  # fmt: skip
    count, (steps, batch, columns), size = end - first, dzx.shape, dh.shape[1]
    through = np.empty(count * size + len(start), dzx.dtype)
    of_h = np.empty(size, dzx.dtype)
    for t in range(steps - 1, -1, -1):
        for n in range(first, end):
            for j in range(size):
                of_h[j] = dhs[t, n, j] + dh[n, j]
            _gru_row_gradient(of_h, gates[t, n], hs[t, n], dzx[t, n], dzh[t, n], dh[n])
        row = (t * batch + first) * columns
        multiply(dzh.reshape(-1), row, back, start, through, count, columns, size)
        dh[first:end] += through[: count * size].reshape(count, size)
