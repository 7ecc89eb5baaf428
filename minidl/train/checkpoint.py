"""Saving and loading a trainer: safetensors, which hold arrays and never code.

A checkpoint holds every parameter and optimizer slot by name, and in its header
the seed and the epochs and steps done: all random numbers follow from these. The
history lies beside it, see `minidl.train.history_file`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from math import inf, prod
from pathlib import Path
from reprlib import repr
from typing import Any

import numpy as np

from minidl import files
from minidl.checks import is_number
from minidl.errors import CheckpointError, InputError, NonFiniteError
from minidl.nn import Shape
from minidl.tensor_file import LARGEST_HEADER, TensorFile, opened, parse_json
from minidl.train.callback_states import PREFIX, States, joined, largest
from minidl.train.history_file import Extent

FORMAT = "minidl-2"


@dataclass(frozen=True)
class Facts:
    """What a trainer was, and how far it had come.

    Parameters
    ----------
    seed
        What the trainer was made with.
    dtype
        Of the weights, as text.
    optimizer
        What it was made with; see `minidl.train.described`.
    input_shape
        Of one sample.
    epoch
        Epochs done.
    step
        Steps done.
    rate
        What learning rates are multiplied with.
    history
        Where the record of all fits is.
    callbacks
        What callbacks remember, but for arrays.
    frozen
        The names of the parameters that were frozen.
    unseen
        The keys of the callbacks that have not seen the last epoch.
    """

    seed: int
    dtype: str
    optimizer: Any
    input_shape: Shape
    epoch: int
    step: int
    rate: float
    history: Extent
    callbacks: States
    frozen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def to_json(self) -> str:
        """All of it as text."""
        return json.dumps(vars(self) | {"history": asdict(self.history)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """The inverse of `to_json`; a ValueError for any other text, which says what is wrong."""
        data = parse_json(text)
        if not isinstance(data, dict):
            raise ValueError(f"the facts must be an object, not {repr(data)}")
        known = {"frozen", "unseen", *data}  # older files do not have these two
        if missing := [each.name for each in fields(cls) if each.name not in known]:
            raise ValueError(f"{', '.join(missing)} must be among the facts")
        history, lengths = _of(data, "history", dict), _of(data, "input_shape", list)
        if missing := [each.name for each in fields(Extent) if each.name not in history]:
            raise ValueError(f"the history must have {', '.join(missing)}")
        callbacks = _of(data, "callbacks", dict)
        if not all(isinstance(state, dict) for state in callbacks.values()):
            raise ValueError("callbacks must be states by name")
        frozen = _of({"frozen": [], **data}, "frozen", list)
        unseen = _of({"unseen": [], **data}, "unseen", list)
        if not is_number(rate := data["rate"]) or rate <= 0:
            raise ValueError(f"rate must be above 0 and finite, not {repr(rate)}")
        return cls(
            seed=_count(data, "seed", below=inf),
            dtype=str(data["dtype"]),
            optimizer=data["optimizer"],
            input_shape=tuple(_count({"input_shape": n}, "input_shape", 1) for n in lengths),
            epoch=_count(data, "epoch"),
            step=_count(data, "step"),
            rate=float(rate),
            history=Extent(
                str(history["name"]), _count(history, "size"), _count(history, "checksum")
            ),
            callbacks=callbacks,
            frozen=tuple(map(str, frozen)),
            unseen=tuple(map(str, unseen)),
        )


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint.

    Parameters
    ----------
    tensors
        Arrays by name: ``"model." + parameter``, ``"optimizer.<slot>." + parameter``.
    facts
        All else.
    """

    tensors: Mapping[str, np.ndarray]
    facts: Facts


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that `path` holds either the old file or the whole new one.

    Raises
    ------
    NonFiniteError
        If a weight is NaN or infinite, or a number that the optimizer keeps is NaN: nobody could
        go on from there.
    InputError
        If callbacks remember more than `read` would take.
    """
    from safetensors.numpy import save

    for name, array in checkpoint.tensors.items():
        if _diverged(name, array):
            raise NonFiniteError(
                f"{name} is not finite, so nothing was saved, and {path} is as it was"
            )
    tensors = {name: np.ascontiguousarray(array) for name, array in checkpoint.tensors.items()}
    data = save(tensors, {"format": FORMAT, "facts": checkpoint.facts.to_json()})
    theirs = [array.nbytes for name, array in tensors.items() if name.startswith(PREFIX)]
    size = sum(array.nbytes for array in tensors.values()) - sum(theirs)
    if int.from_bytes(data[:8], "little") > LARGEST_HEADER or sum(theirs) > largest(size):
        raise InputError(
            f"the callbacks' states are too large to be saved: {sum(theirs):,} bytes of arrays, "
            f"and the header is one of {int.from_bytes(data[:8], 'little'):,} bytes; arrays may "
            f"have {largest(size):,} bytes, and the header {LARGEST_HEADER:,}"
        )
    files.replace(path, data)


class Reader:
    """An open checkpoint: its facts, and its tensors, which are read when they are wanted.

    Parameters
    ----------
    path
        Its path, for messages.
    file
        Its tensors.

    Raises
    ------
    CheckpointError
        If the header is not as `write` writes it.
    """

    def __init__(self, path: Path, file: TensorFile) -> None:
        self.path, self._file = path, file
        if file.metadata.get("format") != FORMAT:
            raise CheckpointError(
                f"{path} holds tensors but was not saved by this version of minidl: "
                f"its format is {repr(file.metadata.get('format'))}, not {FORMAT!r}"
            )
        try:
            self.facts = Facts.from_json(file.metadata["facts"])
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f"the header of {path} is not as minidl writes it: {type(error).__name__}: {error}"
            ) from error

    def require(self, wanted: Mapping[str, Shape], dtype: np.dtype) -> None:
        """Refuse tensors whose names, shapes or dtype are not those wanted, before reading any.

        Raises
        ------
        CheckpointError
            If they differ in any of these.
        """
        entries = self._file.entries
        callbacks = {name for name in entries if name.startswith(PREFIX)}
        missing = sorted(set(wanted) - set(entries))
        extra = sorted(set(entries) - set(wanted) - callbacks)
        if missing or extra:
            raise CheckpointError(
                f"{self.path} was saved for another model: missing {missing[:5]}, "
                f"not known here {extra[:5]}"
            )
        for name, shape in wanted.items():
            if entries[name].shape != shape or entries[name].dtype != dtype:
                raise CheckpointError(
                    f"{self.path} was saved for another model: {name} is {entries[name]}, "
                    f"not {dtype} of shape {shape}"
                )
        size = sum(map(prod, wanted.values())) * dtype.itemsize
        theirs = sum(entries[name].stop - entries[name].start for name in callbacks)
        if theirs > largest(size):
            raise CheckpointError(
                f"{self.path}: {theirs:,} bytes of callbacks beside a model of {size:,}"
            )

    def tensor(self, name: str) -> np.ndarray:
        """A tensor that was required.

        Raises
        ------
        CheckpointError
            If it cannot be read, or is a parameter that holds NaN or infinities, or an
            optimizer's array that holds NaN.
        """
        array = self._file.read(name)
        if _diverged(name, array):
            raise CheckpointError(f"{self.path}: {name} holds NaN or infinities")
        return array

    def callbacks(self) -> dict[str, dict[str, Any]]:
        """The states of the callbacks.

        Raises
        ------
        CheckpointError
            If they cannot be read.
        """
        names = [name for name in self._file.entries if name.startswith(PREFIX)]
        try:
            return joined(self.facts.callbacks, {name: self._file.read(name) for name in names})
        except ValueError as error:
            raise CheckpointError(f"{self.path}: {error}") from error


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Within the block, a checkpoint to read.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, or was not written by `write`.
    """
    with opened(path) as file:
        yield Reader(path, file)


def _diverged(name: str, array: np.ndarray) -> bool:
    if name.startswith("optimizer."):  # a mean of squares may have become infinite
        return bool(np.isnan(array).any())
    return name.startswith("model.") and not np.isfinite(array).all()


def _of(data: Mapping[str, Any], name: str, kind: type) -> Any:
    if not isinstance(data[name], kind):
        raise ValueError(f"{name} must be a {kind.__name__}, not {repr(data[name])}")
    return data[name]


def _count(data: Mapping[str, Any], name: str, least: int = 0, below: float = 1 << 62) -> int:
    number = data[name]
    if type(number) is not int or not least <= number < below:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {repr(number)}")
    return number
