"""What users may give as an array, made into one."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np

from minidl.checks import masked_in
from minidl.errors import InputError


def as_array(what: str, values: Any) -> np.ndarray:
    """An array of these values, if there is one way to read them.

    Parameters
    ----------
    what
        The values' name in messages.
    values
        An array, lists of arrays or of numbers, or a table of pandas, whose own types of
        numbers are taken as NumPy's.

    Raises
    ------
    InputError
        If they are ragged, or some are masked, missing or no numbers.
    """
    try:
        masked = masked_in(values)
        plain = values.to_numpy() if hasattr(values, "to_numpy") else values
        array = np.asarray(None if masked else plain)
    except Exception as error:  # also one from within an object that says it is an array
        raise InputError(f"{what} cannot be one array: {error}") from error
    if masked:
        raise InputError(
            f"{what} are a masked array with {masked} numbers masked: "
            "give filled(number), or leave out these samples"
        )
    if array.dtype != object:
        return array
    _require_numbers(what, array)
    try:
        return np.asarray(array.tolist())
    except ValueError as error:
        raise InputError(f"{what} cannot be one array: {error}") from error


def _require_numbers(what: str, array: np.ndarray) -> None:
    """Refuse an array of objects that holds anything but numbers, or arrays of these."""
    for place, value in np.ndenumerate(array):
        if not isinstance(value, Number | np.generic | np.ndarray | list | tuple):
            where = f" at {place}" if place else ""
            raise InputError(
                f"{what} hold {value!r}{where}, which is no number: missing values have to be "
                "filled, or their samples left out"
            )
