"""How compiled code is called: with arrays of one form, and on as many threads as pay.

numba compiles anew for every form of array, and threads that meet after a few
microseconds of work cost more than they save, above all where other processes want them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import numba
import numpy as np
from numba.core.errors import NumbaSystemWarning

from minidl.kernels.cpu.forks import threads

Array = np.ndarray


def _let_waiting_threads_sleep() -> None:
    """Load GNU's OpenMP, which gives numba its threads on Linux, set to sleep while waiting.

    By default a thread that waits for another one spins, and where processes share cores
    it keeps from running the one that it waits for: a step took up to eight times longer.
    """
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        return  # as the user wishes
    os.environ["GOMP_SPINCOUNT"] = "0"  # read once, when the library is loaded
    try:
        with suppress(ImportError):  # no OpenMP here: numba has other ways
            import_module("numba.np.ufunc.omppool")
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def _ignore_missing_lock() -> None:
    """Ignore numba's warning that it cannot guard its start-up against other processes.

    That is so where there is no shared memory. Workers, which need it, fail with a message that
    says what to do; a process that trains alone has no other one to be guarded against.
    """
    warnings.filterwarnings("ignore", "Could not obtain multiprocessing lock", NumbaSystemWarning)


_let_waiting_threads_sleep()
_ignore_missing_lock()

ENOUGH = 1 << 15
"""Numbers read from which on more than one thread pays."""


def share(kernel: Callable[..., None], work: int, *arguments: Any) -> None:
    """Call a kernel, on one thread if the work, in numbers read, is too little to share."""
    count = threads()
    if work >= ENOUGH or count == 1:
        kernel(*arguments)
        return
    numba.set_num_threads(1)
    try:
        kernel(*arguments)
    finally:
        numba.set_num_threads(count)


def ready(x: Array, dtype: Any = None) -> Array:
    """x, contiguous, aligned, of this type, and not marked read-only; a copy only if needed.

    numba compiles anew for arrays that are read-only, as slices of shared data may be. The
    kernels write to no argument that they take through here.
    """
    if dtype is not None and x.dtype != dtype:
        x = x.astype(dtype)
    if x.flags.carray:
        return x
    x = np.require(x, requirements=["C", "A"])
    return x if x.flags.writeable else np.asarray(_Writeable(x))


def flat(x: Array) -> Array:
    """As `ready`, with one axis."""
    return ready(x).reshape(-1)


class _Writeable:
    def __init__(self, x: Array) -> None:
        self.kept = x
        self.__array_interface__ = x.__array_interface__ | {"data": (x.ctypes.data, False)}
