"""Checks of the numbers that update rules and schedules are given."""

from __future__ import annotations

from minidl.checks import number


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
    title = f"{type(settings).__name__}: {name}"
    number(title, getattr(settings, name), least, below, strict=strict)
