"""Sums of products: the one core under convolution, its gradients and matrix products.

All of them are ``c[row, column] = sum over r of a[row + r] * b[r + column]``, where a row
and a summand r are each found by three nested steps through flat memory. What differs is
only the steps. A tile of c, some rows by a few vectors of columns, stays in vector
registers while the sum runs: each summand loads vectors of b and multiplies them by one
number of a for each row. Numba has no vector types, so that loop is written as LLVM code.

Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.kernels.cpu import forks
from minidl.kernels.cpu.cache import njit

Array = np.ndarray
Steps = tuple[int, int, int]


def _vector_bytes() -> int:
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16


BYTES = _vector_bytes()
"""The width of this CPU's vectors."""

ROWS = 6 if BYTES == 32 or (BYTES == 16 and "86" in llvm.get_process_triple()) else 12
"""Rows of a tile two vectors wide. These CPUs have 16 vector registers, the others 32."""


def _make_tile(rows: int, vectors: int) -> Callable[..., None]:
    """The code that computes a tile of some rows by some vectors of columns.

    It is called as ``tile(a, b, c, bias, a_start, b_start, bias_start, starts, columns,
    accumulate, extents, a_steps, b_steps)``. `starts` holds where each row begins in a, then
    where each begins in c. The sums start from c if `accumulate`, else from `bias`. Vectors
    are read whole, but only `columns` of them are written.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        dtype = signature.args[0].dtype
        size = dtype.bitwidth // 8
        lanes = BYTES // size
        long, short = ir.IntType(64), ir.IntType(32)
        vector = ir.VectorType(context.get_value_type(dtype), lanes)

        def data(position: int) -> Any:
            kind = signature.args[position]
            return context.make_array(kind)(context, builder, args[position]).data

        def at(base: Any, offset: Any, j: int = 0) -> Any:
            place = builder.gep(builder.gep(base, [offset]), [long(j * lanes)])
            return builder.bitcast(place, vector.as_pointer())

        def spread(value: Any, kind: Any) -> Any:
            first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, short(0))
            zeros = ir.Constant(ir.VectorType(short, lanes), None)
            return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

        a, b, c, bias, starts = data(0), data(1), data(2), data(3), data(7)
        a_start, b_start, bias_start, columns, accumulate = (args[k] for k in (4, 5, 6, 8, 9))
        extents, a_steps, b_steps = (
            [builder.extract_value(args[k], axis) for axis in range(3)] for k in (10, 11, 12)
        )
        a_rows, c_rows = (
            [builder.load(builder.gep(starts, [long(k + i)])) for i in range(rows)]
            for k in (0, rows)
        )
        a_rows = [builder.gep(a, [builder.add(a_start, row)]) for row in a_rows]
        block = [(i, j) for i in range(rows) for j in range(vectors)]

        sums = {cell: cgutils.alloca_once(builder, vector) for cell in block}
        again = builder.icmp_signed("!=", accumulate, accumulate.type(0))
        for i, j in block:
            first = builder.select(again, at(c, c_rows[i], j), at(bias, bias_start, j))
            builder.store(builder.load(first, align=size), sums[i, j])

        def walk(axis: int, a_offset: Any, b_offset: Any) -> None:
            if axis < 3:
                with cgutils.for_range(builder, extents[axis]) as loop:
                    walk(
                        axis + 1,
                        builder.add(a_offset, builder.mul(loop.index, a_steps[axis])),
                        builder.add(b_offset, builder.mul(loop.index, b_steps[axis])),
                    )
                return
            vb = [builder.load(at(b, b_offset, j), align=size) for j in range(vectors)]
            va = [builder.load(builder.gep(row, [a_offset])) for row in a_rows]
            for i, j in block:
                # "contract" lets a CPU that has it use one multiply-add instruction.
                product = builder.fmul(spread(va[i], vector), vb[j], flags=("contract",))
                total = builder.fadd(builder.load(sums[i, j]), product, flags=("contract",))
                builder.store(total, sums[i, j])

        walk(0, long(0), b_start)

        wide = ir.VectorType(long, lanes)
        masked_store = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(
                ir.VoidType(),
                [vector, vector.as_pointer(), short, ir.VectorType(ir.IntType(1), lanes)],
            ),
            f"llvm.masked.store.v{lanes}f{dtype.bitwidth}.p0",
        )
        full = builder.icmp_signed(">=", columns, long(lanes * vectors))
        with builder.if_else(full) as (whole, partial):
            with whole:
                for i, j in block:
                    builder.store(builder.load(sums[i, j]), at(c, c_rows[i], j), align=size)
            with partial:
                for i, j in block:
                    lane = ir.Constant(wide, [long(j * lanes + k) for k in range(lanes)])
                    mask = builder.icmp_signed("<", lane, spread(columns, wide))
                    value = builder.load(sums[i, j])
                    builder.call(masked_store, [value, at(c, c_rows[i], j), short(size), mask])
        return context.get_dummy_value()

    @intrinsic
    def tile(
        typingctx: Any,
        a: Any,
        b: Any,
        c: Any,
        bias: Any,
        a_start: Any,
        b_start: Any,
        bias_start: Any,
        starts: Any,
        columns: Any,
        accumulate: Any,
        extents: Any,
        a_steps: Any,
        b_steps: Any,
    ) -> Any:
        whole, triple = types.int64, types.UniTuple(types.int64, 3)
        signature = types.void(
            a, b, c, bias, whole, whole, whole, starts, whole, whole, triple, triple, triple
        )
        return signature, emit

    return tile


wide_tile = _make_tile(ROWS, 2)
narrow_tile = _make_tile(2 * ROWS, 1)


class Product(NamedTuple):
    """Where the rows, the summands and the columns of a sum of products stand in memory.

    Parameters
    ----------
    rows
        Three nested extents of the rows.
    a_rows
        The steps that each of these makes in a.
    c_rows
        The steps that each of these makes in c.
    sums
        Three nested extents of the summands.
    a_sums
        The steps that each of these makes in a.
    b_sums
        The steps that each of these makes in b.
    columns
        Columns of b and c, one after the other in memory.
    panel
        The step in b from one group of columns, `panel_width` of them, to the next.
    a_start
        Where the first row begins in a.
    c_start
        Where the first row begins in c.
    block
        How many steps of the two outer summands to take at a time, so that what they read
        stays in the cache while all rows use it; 0 for all. The second is only divided if
        the first is 1.
    last
        The innermost extent in the last step of the outermost summand, if it is another.
    shared
        Whether threads may share the summands. The rows of c must then follow each other
        without gaps.
    """

    rows: Steps
    a_rows: Steps
    c_rows: Steps
    sums: Steps
    a_sums: Steps
    b_sums: Steps
    columns: int
    panel: int
    a_start: int = 0
    c_start: int = 0
    block: tuple[int, int] = (0, 0)
    last: int = 0
    shared: bool = False


def panel_width(dtype: np.dtype) -> int:
    """The columns of a tile."""
    return 2 * BYTES // dtype.itemsize


def slack(size: int, dtype: np.dtype) -> Array:
    """An uninitialised vector that may be read one tile's width beyond its end."""
    return np.empty(size + panel_width(dtype), dtype)[:size]


SERIAL = 1 << 20
"""Multiplications below which starting threads costs more than it saves."""

CHUNK = 16 * 2 * ROWS
"""Rows that one thread takes at a time. What they read of a should fit into its cache."""


def run(p: Product, a: Array, b: Array, c: Array, bias: Array | None = None) -> None:
    """Compute c, all arrays being flat; c and b have `slack` unless columns fill panels."""
    count, columns = p.rows[0] * p.rows[1] * p.rows[2], p.columns
    if count == 0 or columns == 0:
        return
    width = panel_width(a.dtype)
    panels = -(-columns // width)
    start = np.zeros(panels * width, a.dtype)
    if bias is not None:
        start[:columns] = bias
    summands = p.sums[0] * p.sums[1] * p.sums[2]
    threads = 1 if count * columns * summands < SERIAL else forks.threads()
    splits = 1
    if p.shared and 1 < threads <= p.sums[0] and count * columns <= 8 * summands:
        splits = threads
    chunk = min(CHUNK, -(-count // (2 * ROWS)) * 2 * ROWS)
    while chunk > 2 * ROWS and -(-count // chunk) * panels * splits < 2 * threads:
        chunk = -(-chunk // (4 * ROWS)) * 2 * ROWS
    chunks = -(-count // chunk)
    out = c if splits == 1 else slack(splits * count * columns, c.dtype)
    items = splits * chunks * panels
    numbers = np.array(
        [
            *(p.rows + p.a_rows + p.c_rows + p.sums + p.a_sums + p.b_sums),
            *(p.a_start, p.c_start, columns, p.panel, p.last or p.sums[2]),
            *(p.block[0] or max(p.sums[0], 1), p.block[1] or p.sums[1]),
            *(splits, count * columns, chunk, chunks, panels),
        ]
    )
    if threads == 1 or items == 1:
        _some(0, items, a, b, out, start, numbers)
    else:
        _all(items, a, b, out, start, numbers)
    if splits > 1:
        np.sum(out.reshape(splits, -1), axis=0, out=c)


def load_parallel() -> None:
    """Compile or load, for the products computed so far, what larger ones are computed by."""
    if forks.threads() > 1:
        for signature in _some.signatures:
            _all.compile(signature[1:])


@njit(nogil=True)
def _some(first: int, end: int, a: Array, b: Array, c: Array, bias: Array, numbers: Array) -> None:
    """Some of the pieces of work: a range of summands, a chunk of rows, a panel of columns."""
    rows = (numbers[0], numbers[1], numbers[2])
    a_rows = (numbers[3], numbers[4], numbers[5])
    c_rows = (numbers[6], numbers[7], numbers[8])
    sums = (numbers[9], numbers[10], numbers[11])
    a_sums = (numbers[12], numbers[13], numbers[14])
    b_sums = (numbers[15], numbers[16], numbers[17])
    a_start, c_start, columns, panel_step = numbers[18], numbers[19], numbers[20], numbers[21]
    last, block, lines, splits, split_step = (
        numbers[22],
        numbers[23],
        numbers[24],
        numbers[25],
        numbers[26],
    )
    chunk, chunks, panels = numbers[27], numbers[28], numbers[29]
    count = rows[0] * rows[1] * rows[2]
    lanes = BYTES // a.itemsize
    starts = np.empty(4 * ROWS, np.int64)
    for item in range(first, end):
        split, rest = divmod(item, chunks * panels)
        piece, panel = divmod(rest, panels)
        width = min(columns - panel * 2 * lanes, 2 * lanes)
        height = 2 * ROWS if width <= lanes else ROWS
        bias_first = panel * 2 * lanes
        c_first = c_start + split * split_step + bias_first
        r_first, r_end = split * sums[0] // splits, (split + 1) * sums[0] // splits
        parts = -(-sums[1] // lines)
        for part in range(max(-(-(r_end - r_first) // block) * parts, 1)):
            r, line = r_first + part // parts * block, part % parts * lines
            taken = min(block, r_end - r)
            inner = last if r + taken == sums[0] else sums[2]
            extents = (taken, min(lines, sums[1] - line), inner)
            a_first = a_start + r * a_sums[0] + line * a_sums[1]
            b_first = panel * panel_step + r * b_sums[0] + line * b_sums[1]
            for row in range(piece * chunk, min((piece + 1) * chunk, count), height):
                i1, i2 = divmod(row, rows[1] * rows[2])
                i2, i3 = divmod(i2, rows[2])
                for i in range(height):
                    starts[i] = i1 * a_rows[0] + i2 * a_rows[1] + i3 * a_rows[2]
                    starts[height + i] = i1 * c_rows[0] + i2 * c_rows[1] + i3 * c_rows[2] + c_first
                    # Rows that a tile has too many compute the last row once more.
                    if row + i + 1 < count:
                        i3 += 1
                        if i3 == rows[2]:
                            i3 = 0
                            i2 += 1
                            if i2 == rows[1]:
                                i2 = 0
                                i1 += 1
                if height == ROWS:
                    wide_tile(
                        a, b, c, bias, a_first, b_first, bias_first, starts, width, part,
                        extents, a_sums, b_sums,
                    )  # fmt: skip
                else:
                    narrow_tile(
                        a, b, c, bias, a_first, b_first, bias_first, starts, width, part,
                        extents, a_sums, b_sums,
                    )  # fmt: skip


@njit(parallel=True, nogil=True)
def _all(items: int, a: Array, b: Array, c: Array, bias: Array, numbers: Array) -> None:
    for index in numba.prange(items):
        item = np.int64(index)
        _some(item, item + 1, a, b, c, bias, numbers)
