"""What the steps of optimizers take, which write to weights and slots."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from minidl.errors import InputError
from minidl.kernels import Array, array_module
from minidl.kernels.contracts.types import DOUBLE, SINGLE, floats, misfit, no_array

__all__: list[str] = []


def _in_place(kernel: str, w: Array, g: Array, *slots: Array) -> tuple[Array, ...]:
    """Weights, gradient and slots as vectors; all but the gradient are written to."""
    given = w, g, *slots
    for x in given:
        if type(x) is not np.ndarray or x.shape != w.shape or x.dtype is not w.dtype:
            return _vectors(kernel, *given)
    if w.ndim != 1 or (w.dtype is not SINGLE and w.dtype is not DOUBLE):
        return _vectors(kernel, *given)
    if not w.flags.writeable or not all(slot.flags.writeable for slot in slots):
        return _vectors(kernel, *given)
    if any(np.may_share_memory(a, b) for a, b in combinations(given, 2)):
        return _vectors(kernel, *given)
    return given


def _vectors(kernel: str, w: Array, g: Array, *slots: Array) -> tuple[Array, ...]:
    """As `_in_place`, where something is unusual: more axes, another type of g, or wrong."""
    for x in (w, g, *slots):
        if not hasattr(x, "dtype"):
            raise no_array(x)
    if any(x.shape != w.shape for x in (g, *slots)):
        raise misfit(kernel, "weights, gradient and slots of one shape", w, g, *slots)
    floats(w, g)
    if w.dtype not in (SINGLE, DOUBLE) or any(s.dtype != w.dtype for s in slots):
        types = ", ".join(str(x.dtype) for x in (w, *slots))
        raise InputError(
            f"{kernel} writes to weights and slots of one type, float32 or float64, not {types}"
        )
    if w.ndim != 1 and not all(x.flags.c_contiguous for x in (w, *slots)):
        raise InputError(f"{kernel} cannot write to weights {w.shape} that are not contiguous")
    if not all(getattr(x.flags, "writeable", True) for x in (w, *slots)):
        raise InputError(f"{kernel} writes to weights and slots, and one of them is read-only")
    if _overlap(w, g, *slots):
        raise InputError(f"{kernel}: weights, gradient and slots must not overlap in memory")
    flat = (x.reshape(-1) for x in slots)
    return w.reshape(-1), g.astype(w.dtype, copy=False).reshape(-1), *flat


def _overlap(*arrays: Array) -> bool:
    xp = array_module(arrays[0])
    pairs = combinations(arrays, 2)
    return any(xp.may_share_memory(a, b) and xp.shares_memory(a, b) for a, b in pairs)


def _with_momentum(
    kernel: str, momentum: float, w: Array, g: Array, *slots: Array
) -> tuple[Array, ...]:
    """The last slot is not looked at without momentum, and then is empty."""
    if momentum:
        return _in_place(kernel, w, g, *slots)
    given = _in_place(kernel, w, g, *slots[:-1])
    return *given, given[0][:0]


def sgd_step(w: Array, g: Array, velocity: Array, *settings: Any) -> tuple[Any, ...]:
    _, momentum, *_ = settings
    return *_with_momentum("sgd_step", momentum, w, g, velocity), *settings


def adam_step(w: Array, g: Array, m: Array, v: Array, *settings: Any) -> tuple[Any, ...]:
    return *_in_place("adam_step", w, g, m, v), *settings


def adamw_step(w: Array, g: Array, m: Array, v: Array, *settings: Any) -> tuple[Any, ...]:
    return *_in_place("adamw_step", w, g, m, v), *settings


def adagrad_step(w: Array, g: Array, v: Array, *settings: Any) -> tuple[Any, ...]:
    return *_in_place("adagrad_step", w, g, v), *settings


def rmsprop_step(w: Array, g: Array, v: Array, velocity: Array, *settings: Any) -> tuple[Any, ...]:
    _, _, momentum, *_ = settings
    return *_with_momentum("rmsprop_step", momentum, w, g, v, velocity), *settings


def lars_step(w: Array, g: Array, velocity: Array, *settings: Any) -> tuple[Any, ...]:
    return *_in_place("lars_step", w, g, velocity), *settings


def sum_of_squares(x: Array) -> tuple[Any, ...]:
    return floats(x)
