"""Matrix products, and how the core under them wants its second factor laid out."""

from __future__ import annotations

import numba
import numpy as np

from minidl.kernels.cpu.cache import njit
from minidl.kernels.cpu.calls import flat, share
from minidl.kernels.cpu.products import BYTES, ROWS, Product, panel_width, run, slack, wide_tile

Array = np.ndarray

BLOCK = 256
"""Summands taken at a time, so that their panel of b stays in the nearest cache."""

FEW_ROWS = 512
"""Rows below which b is read only so often that it is not worth rearranging."""

STRIP = 64
"""Rows of b rearranged at a time. What they hold of all panels stays in a cache."""


def matmul(a: Array, b: Array) -> Array:
    """The product of two matrices; see `reference.matmul`."""
    (m, k), n = a.shape, b.shape[1]
    if _by_columns(b) and m * (n + k) < n * k:
        # To turn a small a and a small result costs less than to turn a large b.
        return np.ascontiguousarray(matmul(b.T, a.T).T)
    width = panel_width(a.dtype)
    turned = _by_columns(a)
    row, step = (1, m) if turned else (k, 1)
    if m < FEW_ROWS and n % width == 0 and not _by_columns(b):
        panels, b_step, panel = flat(b), n, width
    else:
        panels, b_step, panel = pack(b), width, k * width
    blocks = max(-(-k // BLOCK), 1)
    inner = k if blocks == 1 else BLOCK
    c = slack(m * n, a.dtype)
    run(
        Product(
            rows=(1, 1, m),
            a_rows=(0, 0, row),
            c_rows=(0, 0, n),
            sums=(blocks, 1, inner),
            a_sums=(inner * step, 0, step),
            b_sums=(inner * b_step, 0, b_step),
            columns=n,
            panel=panel,
            block=(1, 0),
            last=k - (blocks - 1) * inner,
            shared=True,
        ),
        flat(a.T if turned else a),
        panels,
        c,
    )
    return c.reshape(m, n)


def pack(b: Array) -> Array:
    """The panels of b (K, N), one after the other, the last filled up with zeros."""
    k, n = b.shape
    width = panel_width(b.dtype)
    panels = -(-n // width)
    packed = np.empty(panels * k * width, b.dtype)
    if _by_columns(b):
        share(_pack, b.size, flat(b.T), packed, k, n, True, width)
    else:
        share(_pack, b.size, flat(b), packed, k, n, False, width)
    return packed


def _by_columns(x: Array) -> bool:
    """Whether x is a transposed view; everything else is used, or copied, by rows."""
    return bool(x.flags.f_contiguous and not x.flags.c_contiguous)


@njit(parallel=True, nogil=True)
def _pack(b: Array, packed: Array, k: int, n: int, by_columns: bool, width: int) -> None:
    for strip in numba.prange(-(-k // STRIP)):
        first, end = strip * STRIP, min((strip + 1) * STRIP, k)
        for panel in range(-(-n // width)):
            column, start = panel * width, panel * k * width
            filled = min(n - column, width)
            if filled < width:
                packed[start + first * width : start + end * width] = 0
            if by_columns:
                for j in range(filled):
                    source = b[(column + j) * k + first : (column + j) * k + end]
                    for row in range(end - first):
                        packed[start + (first + row) * width + j] = source[row]
            else:
                for row in range(first, end):
                    source = b[row * n + column : row * n + column + filled]
                    for j in range(filled):
                        packed[start + row * width + j] = source[j]


@numba.njit(nogil=True)
def multiply(
    a: Array, first: int, b: Array, start: Array, c: Array, m: int, k: int, n: int
) -> None:
    """For compiled code: c (M, N) = start + a (M, K) @ b, on one thread.

    All are flat. a begins at `first`; b is packed; `start` fills whole panels; c has `slack`.
    """
    width = 2 * BYTES // a.itemsize
    starts = np.empty(2 * ROWS, np.int64)
    for panel in range(-(-n // width)):
        column = panel * width
        for taken in range(0, max(k, 1), BLOCK):
            for row in range(0, m, ROWS):
                for i in range(ROWS):
                    # Rows that a tile has too many compute the last row once more.
                    place = min(row + i, m - 1)
                    starts[i], starts[ROWS + i] = place * k, place * n + column
                wide_tile(
                    a, b, c, start, first + taken, column * k + taken * width, column, starts,
                    min(n - column, width), taken, (1, 1, min(k - taken, BLOCK)), (0, 0, 1),
                    (0, 0, width),
                )  # fmt: skip
