"""What contracts are made of: arrays of one float type, whole numbers in range, misfits told."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.errors import InputError, ShapeError
from minidl.kernels import Array, array_module

HALF, SINGLE, DOUBLE = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)


def floats(*arrays: Array) -> tuple[Array, ...]:
    """Arrays in the widest of their types, float32 or float64.

    On a GPU, which has arithmetic for it, float16 alone stays float16.

    Raises
    ------
    InputError
        If one is no array, or not of floats.
    """
    try:
        first = arrays[0].dtype
        if first is SINGLE or first is DOUBLE:
            for x in arrays:
                if x.dtype is not first:
                    break
            else:
                return arrays
        return _widened(arrays)
    except AttributeError:
        raise no_array(*arrays) from None


def _widened(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    for x in arrays:
        if x.dtype.kind != "f" or x.dtype.itemsize > 8:
            raise InputError(
                f"kernels compute with float32 and float64, not with {x.dtype}: "
                "convert the array with astype"
            )
    if all(x.dtype == HALF for x in arrays) and array_module(arrays[0]) is not np:
        return arrays
    wide = DOUBLE if any(x.dtype.itemsize == 8 for x in arrays) else SINGLE
    return tuple(x.astype(wide, copy=False) for x in arrays)


def no_array(*given: Any, taker: str = "") -> InputError:
    """The error for something among these that is no array, given to `taker` or to a kernel."""
    wrong = next((x for x in given if not hasattr(x, "dtype")), None)
    takes = f"{taker} takes" if taker else "kernels take"
    return InputError(f"{takes} arrays of NumPy or CuPy, not {type(wrong).__name__}")


def indices(what: str, given: Array, count: int) -> Array:
    """Whole numbers from 0 to `count` - 1, as int64; looked at in one pass.

    On a GPU they are not looked at, for that would wait for the device; there, kernels treat
    an index that is out of range as one of no class and write nowhere for it.

    Raises
    ------
    InputError
        If they are no whole numbers, or one is out of range.
    """
    if not hasattr(given, "dtype"):
        raise no_array(given)
    if given.dtype.kind not in "iu":
        raise InputError(f"{what} must be whole numbers, not {given.dtype}")
    found = given.astype(np.int64, copy=False)
    # Seen as numbers without sign, those below zero are above all others: one pass finds both.
    if isinstance(found, np.ndarray) and found.size and found.view(np.uint64).max() >= count:
        wrong = found.min() if found.min() < 0 else found.max()
        raise InputError(f"{what} must be from 0 to {count - 1}, not {wrong}")
    return found


def misfit(kernel: str, wanted: str, *given: Any) -> ShapeError:
    """The error for arrays whose shapes do not fit each other."""
    shapes = ", ".join(str(getattr(x, "shape", x)) for x in given)
    return ShapeError(f"{kernel} takes {wanted}, not {shapes}")
