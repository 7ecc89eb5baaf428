"""Values on their way between a student's process and ours: data only, so reading runs no code."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from minidl.errors import ExerciseError

MOST_ENTRIES = 100_000
"""Numbers in an array, or entries of a list, above which it is taken for a mistake."""


def encode(value: Any, where: str) -> Any:
    """A value as plain JSON.

    Parameters
    ----------
    value
        None, a truth value, a number, a string, an array, or a list or tuple of these.
    where
        What it is called in errors.

    Raises
    ------
    ExerciseError
        If it is anything else, or too large.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "buif":
        _limit(value.size, where)
        content = {"shape": value.shape, "dtype": value.dtype.str}
        return content | {"numbers": value.ravel().tolist()}
    if isinstance(value, list | tuple):
        _limit(len(value), where)
        return [encode(entry, f"{where}[{place}]") for place, entry in enumerate(value)]
    raise ExerciseError(
        f"{where} should be a number, an array of numbers or a list of them, not {value!r:.200}"
    )


def decode(value: Any) -> Any:
    """The value that `encode` was given; a tuple has become a list."""
    if isinstance(value, list):
        return [decode(entry) for entry in value]
    if isinstance(value, dict):
        return np.array(value["numbers"], value["dtype"]).reshape(value["shape"])
    return value


def _limit(size: int, where: str) -> None:
    if size > MOST_ENTRIES:
        raise ExerciseError(f"{where} has {size} entries, which is more than {MOST_ENTRIES}")
