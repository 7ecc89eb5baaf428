"""How arrays are handed to compiled code: always in one form, so that it compiles once."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray


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
