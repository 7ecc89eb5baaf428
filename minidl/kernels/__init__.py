"""The hot loops, three times: as definitions, for CPUs, and for GPUs.

`reference` says in NumPy what each kernel is; `cpu` (numba) and `gpu` (CuPy) offer
the same functions, faster. Code above asks `of` for the ones that fit its array.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from minidl.errors import InputError, unknown_name

VARIABLE = "MINIDL_KERNELS"
"""Name of the environment variable that chooses the kernels for NumPy's arrays."""

CHOICES = ("cpu", "reference")

Array = Any
"""An array of NumPy or CuPy."""

Pair = tuple[int, int]
"""A number for the height and one for the width."""


def of(x: Any) -> ModuleType:
    """The kernels for an array.

    Parameters
    ----------
    x
        An array of NumPy or CuPy.

    Returns
    -------
    module
        `gpu` for CuPy's arrays. For NumPy's, `cpu`, or `reference` where the
        environment variable ``MINIDL_KERNELS`` says so; of float16, through these.

    Raises
    ------
    UnknownNameError
        If the variable names neither of these.
    InputError
        If `x` is no array.
    """
    if _is_cupy(x):
        return import_module(f"{__name__}.gpu")
    if not hasattr(x, "dtype"):
        raise InputError(f"kernels take arrays of NumPy or CuPy, not {type(x).__name__}")
    return import_module(f"{__name__}.half") if x.dtype.char == "e" else chosen()


def chosen() -> ModuleType:
    """The kernels for NumPy's arrays of float32 and float64."""
    return _for_cpus(_choice())


@cache  # every layer asks, both ways, in every step
def _for_cpus(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")


def wide(x: Any) -> Any:
    """An array of float16 as float32, in which sums and functions of it are safe; else `x`."""
    return x.astype("float32") if getattr(x, "dtype", None) == "float16" else x


def array_module(x: Any) -> ModuleType:
    """The module an array comes from: ``numpy`` or ``cupy``."""
    return sys.modules["cupy"] if _is_cupy(x) else np


def home_of(device: str) -> ModuleType:
    """The module whose arrays lie on a device: ``numpy`` for ``"cpu"``, ``cupy`` for ``"gpu"``.

    Raises
    ------
    InputError
        If there is no such device.
    """
    if device == "cpu":
        return np
    if device != "gpu":
        raise unknown_name("device", device, ("cpu", "gpu"))
    import_module(f"{__name__}.gpu")  # says what to install
    cupy = sys.modules["cupy"]
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise InputError(f"there is no GPU to train on: {error}") from error
    if count < 1:
        raise InputError("there is no GPU to train on")
    return cupy


def on_host(x: Any) -> Any:
    """An array as NumPy's; `x` itself if it is one."""
    return x.get() if _is_cupy(x) else x


@contextmanager
def using(name: str) -> Iterator[None]:
    """Within the block, NumPy's arrays get the kernels of this name.

    Worker processes started within the block use them too.

    Parameters
    ----------
    name
        ``"cpu"`` or ``"reference"``.

    Raises
    ------
    UnknownNameError
        If it is neither.
    """
    if name not in CHOICES:
        raise unknown_name("kernels", name, CHOICES)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def set_threads(count: int) -> None:
    """Let the kernels of this process use this many threads.

    Both pools obey: numba's, which the CPU kernels use, and that of NumPy's BLAS,
    which the definitions use. A count above the number of cores means all of them.

    Parameters
    ----------
    count
        At least 1.

    Raises
    ------
    InputError
        If it is less.
    """
    if count < 1:
        raise InputError(f"kernels need at least 1 thread, not {count}")
    import threadpoolctl

    threadpoolctl.threadpool_limits(count)
    if _choice() == "cpu":
        # Before numba, for it says how threads should wait.
        import_module(f"{__name__}.cpu.calls")
        import numba

        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


def none_loaded() -> bool:
    """Whether NumPy's arrays get compiled kernels, and this process has none of them yet."""
    if _choice() != "cpu":
        return False
    return not any(kernel.signatures for kernel in import_module(f"{__name__}.cpu.cache").made)


def load_parallel() -> None:
    """Have those compiled kernels ready that take over from the ones used where arrays are large.

    Which one a product takes depends on its size and on the number of threads.
    """
    if _choice() == "cpu":
        import_module(f"{__name__}.cpu.products").load_parallel()


def _is_cupy(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] == "cupy"


def _choice() -> str:
    name = os.environ.get(VARIABLE) or "cpu"
    if name not in CHOICES:
        raise unknown_name(f"kernels (from the environment variable {VARIABLE})", name, CHOICES)
    return name
