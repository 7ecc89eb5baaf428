"""Saving and loading a trainer: safetensors, which hold arrays and never code.

A checkpoint holds every parameter and optimizer slot by name, and in its header
the seed and the epochs and steps done: all random numbers follow from these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl import files
from minidl.errors import CheckpointError
from minidl.nn import Shape
from minidl.train.history import History

FORMAT = "minidl-1"


@dataclass(frozen=True)
class Facts:
    """What a trainer was, and how far it had come.

    Parameters
    ----------
    seed, dtype, optimizer
        What it was made with, the last two as text.
    input_shape
        Of one sample.
    epoch, step
        Epochs and steps done.
    rate
        What learning rates are multiplied with.
    history
        The record of all fits.
    frozen
        The names of the parameters that were frozen.
    """

    seed: int
    dtype: str
    optimizer: str
    input_shape: Shape
    epoch: int
    step: int
    rate: float
    history: History
    frozen: tuple[str, ...] = ()

    def to_json(self) -> str:
        """All of it as text."""
        return json.dumps(vars(self) | {"history": self.history.to_json()})

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """The inverse of `to_json`; KeyError, TypeError or ValueError for any other text."""
        data = json.loads(text)
        return cls(
            seed=int(data["seed"]),
            dtype=str(data["dtype"]),
            optimizer=str(data["optimizer"]),
            input_shape=tuple(map(int, data["input_shape"])),
            epoch=int(data["epoch"]),
            step=int(data["step"]),
            rate=float(data["rate"]),
            history=History.from_json(data["history"]),
            frozen=tuple(map(str, data.get("frozen", ()))),
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
    """Write a checkpoint so that `path` holds either the old file or the whole new one."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(array) for name, array in checkpoint.tensors.items()}
    data = save(tensors, {"format": FORMAT, "facts": checkpoint.facts.to_json()})
    files.replace(path, data)


def read(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, or was not written by `write`.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path} holds tensors but was not saved by this version of minidl: "
                    f"its format is {header.get('format')!r}, not {FORMAT!r}"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is no whole safetensors file (truncated, or of another kind): {error}"
        ) from error
    try:
        return Checkpoint(tensors, Facts.from_json(header["facts"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the header of {path} is not as minidl writes it: {type(error).__name__}: {error}"
        ) from error


def require_same(
    path: Path, found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]
) -> None:
    """Refuse tensors whose names, shapes or dtypes are not those wanted.

    Raises
    ------
    CheckpointError
        If they differ in any of these.
    """
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or extra:
        raise CheckpointError(
            f"{path} was saved for another model: missing {missing[:5]}, not known here {extra[:5]}"
        )
    for name, target in wanted.items():
        array = found[name]
        if array.shape != target.shape or array.dtype != target.dtype:
            raise CheckpointError(
                f"{path} was saved for another model: {name} is {array.dtype} of shape "
                f"{array.shape}, not {target.dtype} of shape {target.shape}"
            )
