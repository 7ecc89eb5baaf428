"""Checks of the numbers that update rules and schedules are given."""

from __future__ import annotations

from math import isfinite
from numbers import Real

from minidl.errors import InputError


def require(
    settings: object, name: str, least: float, below: float = float("inf"), *, strict: bool = False
) -> None:
    """Check that an attribute is a finite number in a range.

    Parameters
    ----------
    settings
        The object whose attribute it is; its class's name begins the message.
    name
        Of the attribute.
    least
        The smallest value allowed; if `strict`, the value must be greater.
    below
        The value must be less than this.

    Raises
    ------
    InputError
        If it is not.
    """
    value = getattr(settings, name)
    number = float(value) if isinstance(value, Real) else float("nan")
    fits = isfinite(number) and least <= number < below
    if not fits or (strict and number == least):
        low = f"greater than {least}" if strict else f"at least {least}"
        high = f" and less than {below}" if isfinite(below) else " and finite"
        raise InputError(f"{type(settings).__name__}: {name} must be {low}{high}, not {value!r}")
