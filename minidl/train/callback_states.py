"""What callbacks remember from fit to fit, and in checkpoints."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidl.errors import CheckpointError, InputError
from minidl.tensor_file import DTYPES
from minidl.train.callbacks import Callback

States = Mapping[str, Mapping[str, Any]]
"""By the callback's key, what its `state_dict` gave, plain data and arrays by name."""
PREFIX = "callback."
"""What the names of callbacks' tensors begin with."""
ARRAYS = frozenset(map(np.dtype, DTYPES.values()))


def keyed(callbacks: Sequence[Callback]) -> dict[str, Callback]:
    """Callbacks by their keys: the name of a callback's class, and its number in that class."""
    seen: Counter[str] = Counter()
    found = {}
    for callback in callbacks:
        name = f"{type(callback).__module__}.{type(callback).__qualname__}"
        seen[name] += 1
        found[f"{name} {seen[name]}"] = callback
    return found


def states_of(callbacks: Mapping[str, Callback]) -> dict[str, dict[str, Any]]:
    """Copies of the states of those callbacks, given by key, that have one.

    Raises
    ------
    InputError
        If one is no mapping of names to plain data and arrays.
    """
    states = {}
    for key, callback in callbacks.items():
        state = callback.state_dict()
        if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
            raise InputError(f"the state_dict of {key} must be a dict of values by name")
        if state:
            states[key] = {name: _copy(f"{key}: {name}", each) for name, each in state.items()}
    return states


def give_back(states: States, callbacks: Mapping[str, Callback]) -> None:
    """Let each callback take the state that is kept under its key.

    Raises
    ------
    CheckpointError
        If a callback does not understand what was saved for it.
    """
    for key, callback in callbacks.items():
        if key not in states:
            continue
        try:
            callback.load_state_dict(dict(states[key]))
        except Exception as error:
            raise CheckpointError(
                f"{key} cannot take up its saved state ({type(error).__name__}: {error}); "
                "Trainer.callback_states.clear() lets callbacks begin anew"
            ) from error


def split(states: States) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
    """The plain data of some states, and their arrays by the names that they have in a file."""
    plain: dict[str, dict[str, Any]] = {key: {} for key in states}
    arrays = {}
    for key, state in states.items():
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                arrays[f"{PREFIX}{key}.{name}"] = value
            else:
                plain[key][name] = value
    return plain, arrays


def joined(plain: States, arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """The inverse of `split`.

    Raises
    ------
    ValueError
        If an array belongs to none of the states.
    """
    states = {key: dict(state) for key, state in plain.items()}
    for name, array in arrays.items():
        key = next((key for key in states if name.startswith(f"{PREFIX}{key}.")), None)
        if key is None:
            raise ValueError(f"{name} belongs to no callback")
        states[key][name.removeprefix(f"{PREFIX}{key}.")] = array
    return states


def largest(size: int) -> int:
    """How many bytes callbacks' arrays may have beside weights and slots of so many bytes."""
    return 16 * size + (1 << 20)


def _copy(what: str, value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.newbyteorder("<") in ARRAYS:
        return np.array(value, value.dtype.newbyteorder("="), order="C")
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=_number))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{what} cannot be saved ({error}): a state holds arrays of numbers, and what JSON "
            "has: None, booleans, finite numbers, texts, and lists and dicts of them"
        ) from error


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r}")
