"""Checks of the whole numbers that layers are given."""

from __future__ import annotations

from numbers import Integral

from minidl.errors import InputError

Pair = tuple[int, int]


def whole(name: str, value: int, least: int = 1) -> int:
    """`value`, checked.

    Parameters
    ----------
    name
        What the value is, for the message: ``"Linear: out_features"``.
    value
        A whole number, of Python or NumPy.
    least
        The smallest one allowed.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if not isinstance(value, Integral) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return int(value)


def pair(name: str, value: int | Pair, least: int = 1) -> Pair:
    """`value` for both axes of an image, checked; it may also be (vertical, horizontal).

    Parameters as for `whole`.
    """
    both = value if isinstance(value, list | tuple) else (value, value)
    if len(both) != 2 or not all(isinstance(size, Integral) and size >= least for size in both):
        raise InputError(
            f"{name} must be a whole number of at least {least}, or a pair of such, not {value!r}"
        )
    down, across = both
    return int(down), int(across)
