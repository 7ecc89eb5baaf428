"""Values on their way between a student's process and ours: data only, so reading runs no code."""

from __future__ import annotations

import math
import re
from numbers import Integral, Real
from typing import Any

import numpy as np

from minidl.errors import ExerciseError

MOST_ENTRIES = 100_000
"""Numbers in an array, or entries of a list, above which it is taken for a mistake."""
MOST_AXES = 16
"""Axes of an array."""
MOST_CHARACTERS = 2000
"""How much of a text that a student's code gives is kept."""
LARGEST = 2**63
"""Whole numbers are smaller than this, whatever their sign; those of NumPy are."""
DTYPE = re.compile(r"[<>|][biuf][1248]")
"""How the types of number that an array may have are written."""


class ProtocolError(Exception):
    """What came from a student's process is not what minidl's own code in it writes."""


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
        whole = int(value)
        if abs(whole) >= LARGEST:
            raise ExerciseError(f"{where} is a whole number of more than 63 bits")
        return whole
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "buif":
        _limit(value.size, where)
        if not DTYPE.fullmatch(value.dtype.str):
            raise ExerciseError(f"{where} has the dtype {value.dtype}; at most 64 bits are allowed")
        if value.ndim > MOST_AXES:
            raise ExerciseError(f"{where} has {value.ndim} axes; at most {MOST_AXES} are allowed")
        content = {"shape": value.shape, "dtype": value.dtype.str}
        return content | {"numbers": value.ravel().tolist()}
    if isinstance(value, list | tuple):
        _limit(len(value), where)
        return [encode(entry, f"{where}[{place}]") for place, entry in enumerate(value)]
    raise ExerciseError(
        f"{where} should be a number, an array of numbers or a list of them, not {value!r:.200}"
    )


def decode(value: Any) -> Any:
    """The value that `encode` was given; a tuple has become a list.

    Raises
    ------
    ProtocolError
        If `encode` never gives this. Nothing large is made before it is known to be right.
    """
    if isinstance(value, str):
        return plain(value)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return _allowed(value, abs(value) < LARGEST)
    if isinstance(value, list):
        _allowed(value, len(value) <= MOST_ENTRIES)
        return [decode(entry) for entry in value]
    _allowed(value, isinstance(value, dict) and value.keys() == {"shape", "dtype", "numbers"})
    return _array(value["shape"], value["dtype"], value["numbers"])


def plain(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text as it may be shown: printable, of Unicode's characters, not too long.

    Terminals obey control characters, and half a surrogate pair cannot be written to a file.
    """
    cut = text[:most] + "…" * (len(text) > most)
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in cut)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _array(shape: Any, dtype: Any, numbers: Any) -> np.ndarray:
    _allowed(shape, isinstance(shape, list) and len(shape) <= MOST_AXES)
    _allowed(shape, all(type(size) is int and 0 <= size < LARGEST for size in shape))
    _allowed(dtype, isinstance(dtype, str) and DTYPE.fullmatch(dtype))
    _allowed(numbers, isinstance(numbers, list) and len(numbers) <= MOST_ENTRIES)
    _allowed(numbers, math.prod(shape) == len(numbers))
    kind = {"b": bool, "i": int, "u": int, "f": float}[dtype[1]]
    _allowed(numbers, all(type(number) is kind for number in numbers))
    try:
        return np.array(numbers, dtype).reshape(shape)
    except (TypeError, ValueError, OverflowError):  # a float of 1 byte, a number out of range
        raise ProtocolError(f"no array of {dtype}") from None


def _allowed(value: Any, yes: object) -> Any:
    if not yes:
        raise ProtocolError(f"{value!r:.100} is no such value")
    return value


def _limit(size: int, where: str) -> None:
    if size > MOST_ENTRIES:
        raise ExerciseError(f"{where} has {size} entries, which is more than {MOST_ENTRIES}")
