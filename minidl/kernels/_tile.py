"""The inner loop of every product: a block of outputs held in registers.

A tile of outputs, some rows by a few vectors of columns, stays in vector registers
while a sum runs: each step loads the vectors of B, and for each row multiplies them by
one number of A. Numba has no vector types, so the loop is written as LLVM code.

Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def vector_bytes() -> int:
    """The width of this CPU's vectors."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16


BYTES = vector_bytes()
REGISTERS = 16 if BYTES == 32 or "86" in llvm.get_process_triple() and BYTES == 16 else 32


def make_tile(rows: int, vectors: int) -> Callable[..., None]:
    """The code for tiles of some rows by some vectors."""

    @intrinsic
    def tile(
        typingctx: Any,
        a: Any,
        b: Any,
        c: Any,
        start: Any,
        starts: Any,
        columns: Any,
        accumulate: Any,
        extents: Any,
        a_steps: Any,
        b_steps: Any,
    ) -> Any:
        signature = types.void(
            a, b, c, start, starts, columns, accumulate, extents, a_steps, b_steps
        )
        return signature, generate

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, c, start, starts, columns, accumulate, extents, a_steps, b_steps = args
        scalar = context.get_value_type(signature.args[0].dtype)
        lanes = BYTES // (signature.args[0].dtype.bitwidth // 8)
        vector = ir.VectorType(scalar, lanes)
        align = signature.args[0].dtype.bitwidth // 8
        index = ir.IntType(64)

        def pointer(position: int, value: Any) -> Any:
            kind = signature.args[position]
            return context.make_array(kind)(context, builder, value).data

        def at(base: Any, *offsets: Any) -> Any:
            for offset in offsets:
                base = builder.gep(base, [offset])
            return base

        def load(base: Any, j: int) -> Any:
            place = builder.gep(base, [index(j * lanes)])
            place = builder.bitcast(place, vector.as_pointer())
            return builder.load(place, align=align)

        pa, pb, pc = pointer(0, a), at(pointer(1, b), start), pointer(2, c)
        table = pointer(4, starts)
        a_rows = [at(pa, builder.load(at(table, index(i)))) for i in range(rows)]
        c_rows = [at(pc, builder.load(at(table, index(rows + i)))) for i in range(rows)]
        sums = [
            [cgutils.alloca_once(builder, vector) for _ in range(vectors)] for _ in range(rows)
        ]
        with builder.if_else(builder.icmp_signed("!=", accumulate, accumulate.type(0))) as (
            then,
            otherwise,
        ):
            with then:
                for i in range(rows):
                    for j in range(vectors):
                        builder.store(load(c_rows[i], j), sums[i][j])
            with otherwise:
                for i in range(rows):
                    for j in range(vectors):
                        builder.store(ir.Constant(vector, None), sums[i][j])

        r = [builder.extract_value(extents, k) for k in range(3)]
        sa = [builder.extract_value(a_steps, k) for k in range(3)]
        sb = [builder.extract_value(b_steps, k) for k in range(3)]
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
        with cgutils.for_range(builder, r[0]) as l0:
            a0, b0 = builder.mul(l0.index, sa[0]), builder.mul(l0.index, sb[0])
            with cgutils.for_range(builder, r[1]) as l1:
                a1 = builder.add(a0, builder.mul(l1.index, sa[1]))
                b1 = builder.add(b0, builder.mul(l1.index, sb[1]))
                with cgutils.for_range(builder, r[2]) as l2:
                    a2 = builder.add(a1, builder.mul(l2.index, sa[2]))
                    b2 = at(pb, builder.add(b1, builder.mul(l2.index, sb[2])))
                    vb = [load(b2, j) for j in range(vectors)]
                    for i in range(rows):
                        number = builder.load(at(a_rows[i], a2))
                        spread = builder.insert_element(
                            ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0)
                        )
                        spread = builder.shuffle_vector(
                            spread, ir.Constant(vector, ir.Undefined), zeros
                        )
                        for j in range(vectors):
                            product = builder.fmul(spread, vb[j], flags=("contract",))
                            total = builder.fadd(
                                builder.load(sums[i][j]), product, flags=("contract",)
                            )
                            builder.store(total, sums[i][j])

        def store(i: int, j: int) -> None:
            place = builder.gep(c_rows[i], [index(j * lanes)])
            place = builder.bitcast(place, vector.as_pointer())
            builder.store(builder.load(sums[i][j]), place, align=align)

        full = builder.icmp_signed(">=", columns, columns.type(lanes * vectors))
        mask_type = ir.VectorType(ir.IntType(1), lanes)
        pointer_type = vector.as_pointer()
        suffix = f"v{lanes}f{align * 8}.p0"
        masked = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [vector, pointer_type, ir.IntType(32), mask_type]),
            f"llvm.masked.store.{suffix}",
        )
        with builder.if_else(full) as (then, otherwise):
            with then:
                for i in range(rows):
                    for j in range(vectors):
                        store(i, j)
            with otherwise:
                wide = ir.VectorType(index, lanes)
                count = builder.insert_element(ir.Constant(wide, ir.Undefined), columns, ir.IntType(32)(0))
                count = builder.shuffle_vector(count, ir.Constant(wide, ir.Undefined), zeros)
                for j in range(vectors):
                    lane = ir.Constant(wide, [index(j * lanes + k) for k in range(lanes)])
                    mask = builder.icmp_signed("<", lane, count)
                    for i in range(rows):
                        place = builder.gep(c_rows[i], [index(j * lanes)])
                        place = builder.bitcast(place, pointer_type)
                        builder.call(
                            masked,
                            [builder.load(sums[i][j]), place, ir.IntType(32)(align), mask],
                        )
        return context.get_dummy_value()

    return tile
