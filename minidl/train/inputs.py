"""What users may give as data, made into a `Dataset`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.data import Dataset
from minidl.data.conversion import as_array
from minidl.errors import InputError

Data = Dataset | tuple[np.ndarray, np.ndarray] | list[np.ndarray]
"""A data set, or its inputs and targets."""


def dataset(argument: str, data: Data | Any, targets: Any = None) -> Dataset:
    """The data set that was given, as such, as a pair, or as inputs with targets.

    Parameters
    ----------
    argument
        What `data` is called, for messages.
    data
        What was given.
    targets
        What was given beside it.

    Raises
    ------
    InputError
        If it is none.
    """
    if targets is not None:
        if isinstance(data, Dataset):
            raise InputError(
                f"{argument} must be one Dataset, not a pair, and has targets of its own: "
                "none are given beside it"
            )
        data = (data, targets)
    if isinstance(data, Dataset):
        return data
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise InputError(
            f"{argument}: data must be a Dataset or (inputs, targets), not {type(data).__name__}"
        )
    if any(isinstance(part, Dataset) for part in data):
        raise InputError(
            f"{argument} must be one Dataset, not a pair: give train and test one by one"
        )
    inputs, targets = data
    return Dataset(inputs, targets, argument)


def unlabelled(inputs: Dataset | Any) -> Dataset:
    """A data set of these inputs, whose targets mean nothing.

    Raises
    ------
    InputError
        If it is no array of numbers, or an empty one.
    """
    if isinstance(inputs, Dataset):
        return inputs
    array = as_array("inputs", inputs)
    return Dataset(array, np.zeros(array.shape[:1]), name="inputs")
