"""Parallel loops in a forked process: there the calling thread runs them, one part after the other.

`os.fork` copies no thread but the one that calls it. GNU's OpenMP, which runs numba's parallel
loops on Linux, ends a forked process that uses it again, and a pool of processes then waits for
its answer for ever. So compiled kernels do not call the threading layer directly, but a small
function that jumps to it, and in a forked process to a plain loop. The parts into which a kernel's
work is cut stay the same, and with them every bit of its result.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from importlib import import_module
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir

LOOP = "numba_parallel_for"
"""The name by which compiled code calls the threading layer."""
LAYERS = {"omp": "omppool", "tbb": "tbbpool", "workqueue": "workqueue"}
"""The module of each of numba's threading layers."""


class _ParallelFor:
    """What compiled kernels call for a parallel loop."""

    def __init__(self) -> None:
        self._goal = ctypes.c_uint64()
        self._engine = _compiled(ctypes.addressof(self._goal))
        self._installed = False
        os.register_at_fork(after_in_child=self._run_serially)

    def install(self) -> None:
        """Be called instead of numba's threading layer, which has been started."""
        if not self._installed:
            layer = import_module(f"numba.np.ufunc.{LAYERS[numba.threading_layer()]}")
            self._goal.value = self._goal.value or layer.parallel_for
            llvm.add_symbol(LOOP, self._engine.get_function_address("parallel_for"))
            self._installed = True

    def _run_serially(self) -> None:
        """In a forked process: run loops serially if anyone started threads before the fork."""
        with suppress(ValueError):  # raised if not: then this process may start its own
            numba.threading_layer()
            self._goal.value = self._engine.get_function_address("serial_for")


def threads() -> int:
    """How many threads numba gives a kernel; to be asked before a parallel kernel is called."""
    count: int = numba.get_num_threads()  # starts the threading layer
    _parallel_for.install()
    return count


def _compiled(goal: int) -> Any:
    """The function that jumps to the address stored at `goal`, and the plain loop, compiled."""
    word, nothing = ir.IntType(64), ir.VoidType()
    module = ir.Module()
    # The loop's body and its arguments, dimensions, steps and data; how many dimensions, arrays
    # and threads.
    kind = ir.FunctionType(nothing, [word] * 7 + [ir.IntType(32)])
    jump = ir.Function(module, kind, "parallel_for")
    code = ir.IRBuilder(jump.append_basic_block())
    stored = code.load(code.inttoptr(ir.Constant(word, goal), word.as_pointer()))
    code.call(code.inttoptr(stored, kind.as_pointer()), jump.args)
    code.ret_void()
    serial = ir.Function(module, kind, "serial_for")
    code = ir.IRBuilder(serial.append_basic_block())
    body = ir.FunctionType(nothing, [word] * 4).as_pointer()
    code.call(code.inttoptr(serial.args[0], body), serial.args[1:5])
    code.ret_void()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    parsed = llvm.parse_assembly(str(module))
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    return engine


_parallel_for = _ParallelFor()
