"""What recurrent cells and scans take."""

from __future__ import annotations

from typing import Any

from minidl.kernels import Array
from minidl.kernels.contracts.types import floats, misfit

__all__: list[str] = []


def lstm_cell(z: Array, c: Array) -> tuple[Any, ...]:
    z, c = floats(z, c)
    if c.ndim != 2 or z.shape != (c.shape[0], 4 * c.shape[1]):
        raise misfit("lstm_cell", "z (N, 4 H) and c (N, H)", z, c)
    return z, c


def lstm_cell_gradient(
    dh: Array, dc_next: Array, gates: Array, c: Array, c_next: Array
) -> tuple[Any, ...]:
    given = dh, dc_next, gates, c, c_next = floats(dh, dc_next, gates, c, c_next)
    if (
        c.ndim != 2
        or not dh.shape == dc_next.shape == c_next.shape == c.shape
        or gates.shape != (c.shape[0], 4 * c.shape[1])
    ):
        raise misfit("lstm_cell_gradient", "gates (N, 4 H), all others (N, H)", *given)
    return given


def lstm_scan(z: Array, u: Array, h: Array, c: Array) -> tuple[Any, ...]:
    given = z, u, h, c = floats(z, u, h, c)
    if z.ndim != 3 or h.ndim != 2 or c.shape != h.shape:
        raise misfit("lstm_scan", "z (T, N, 4 H), u (H, 4 H), h and c (N, H)", *given)
    n, size = h.shape
    if z.shape[1:] != (n, 4 * size) or u.shape != (size, 4 * size):
        raise misfit("lstm_scan", "z (T, N, 4 H), u (H, 4 H), h and c (N, H)", *given)
    return given


def lstm_scan_gradient(
    dhs: Array, dh: Array, dc: Array, u: Array, gates: Array, cs: Array
) -> tuple[Any, ...]:
    given = dhs, dh, dc, u, gates, cs = floats(dhs, dh, dc, u, gates, cs)
    wanted = "dhs (T, N, H), dh and dc (N, H), u (H, 4 H), gates (T, N, 4 H), cs (T + 1, N, H)"
    if dhs.ndim != 3:
        raise misfit("lstm_scan_gradient", wanted, *given)
    steps, n, size = dhs.shape
    if (
        not dh.shape == dc.shape == (n, size)
        or u.shape != (size, 4 * size)
        or gates.shape != (steps, n, 4 * size)
        or cs.shape != (steps + 1, n, size)
    ):
        raise misfit("lstm_scan_gradient", wanted, *given)
    return given


def gru_cell(zx: Array, zh: Array, h: Array) -> tuple[Any, ...]:
    given = zx, zh, h = floats(zx, zh, h)
    if h.ndim != 2 or not zx.shape == zh.shape == (h.shape[0], 3 * h.shape[1]):
        raise misfit("gru_cell", "zx and zh (N, 3 H), h (N, H)", *given)
    return given


def gru_cell_gradient(dh_next: Array, gates: Array, h: Array) -> tuple[Any, ...]:
    given = dh_next, gates, h = floats(dh_next, gates, h)
    if h.ndim != 2 or dh_next.shape != h.shape or gates.shape != (h.shape[0], 4 * h.shape[1]):
        raise misfit("gru_cell_gradient", "dh_next and h (N, H), gates (N, 4 H)", *given)
    return given


def gru_scan(zx: Array, u: Array, b: Array, h: Array) -> tuple[Any, ...]:
    given = zx, u, b, h = floats(zx, u, b, h)
    wanted = "zx (T, N, 3 H), u (H, 3 H), b (H,), h (N, H)"
    if zx.ndim != 3 or h.ndim != 2:
        raise misfit("gru_scan", wanted, *given)
    n, size = h.shape
    if zx.shape[1:] != (n, 3 * size) or u.shape != (size, 3 * size) or b.shape != (size,):
        raise misfit("gru_scan", wanted, *given)
    return given


def gru_scan_gradient(dhs: Array, dh: Array, u: Array, gates: Array, hs: Array) -> tuple[Any, ...]:
    given = dhs, dh, u, gates, hs = floats(dhs, dh, u, gates, hs)
    wanted = "dhs (T, N, H), dh (N, H), u (H, 3 H), gates (T, N, 4 H), hs (T + 1, N, H)"
    if dhs.ndim != 3:
        raise misfit("gru_scan_gradient", wanted, *given)
    steps, n, size = dhs.shape
    if (
        dh.shape != (n, size)
        or u.shape != (size, 3 * size)
        or gates.shape != (steps, n, 4 * size)
        or hs.shape != (steps + 1, n, size)
    ):
        raise misfit("gru_scan_gradient", wanted, *given)
    return given
