"""What users may give as data, made into a `Dataset`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.data import Dataset
from minidl.errors import InputError

Data = Dataset | tuple[np.ndarray, np.ndarray]
"""A data set, or its inputs and targets."""


def dataset(data: Data | Any) -> Dataset:
    """The data set that was given.

    Raises
    ------
    InputError
        If it is none.
    """
    if isinstance(data, Dataset):
        return data
    if not isinstance(data, tuple) or len(data) != 2:
        raise InputError(f"data must be a Dataset or (inputs, targets), not {type(data).__name__}")
    if any(isinstance(part, Dataset) for part in data):
        raise InputError("data must be one Dataset, not a pair: give train and test one by one")
    return Dataset(_array("inputs", data[0]), _array("targets", data[1]))


def unlabelled(inputs: Dataset | Any) -> Dataset:
    """A data set of these inputs, whose targets mean nothing.

    Raises
    ------
    InputError
        If it is no array of numbers, or an empty one.
    """
    if isinstance(inputs, Dataset):
        return inputs
    array = _array("inputs", inputs)
    return Dataset(array, np.zeros(array.shape[:1]))


def _array(what: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{what} cannot be one array: {error}") from error
