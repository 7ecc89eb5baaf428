"""Saving and loading a trainer: safetensors, which hold arrays and never code.

A checkpoint holds every parameter and optimizer slot by name, and in its header
the seed and the epochs and steps done: all random numbers follow from these.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl.errors import CheckpointError

FORMAT = "minidl-1"


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint.

    Parameters
    ----------
    tensors
        Arrays by name: ``"model." + parameter``, ``"optimizer.<slot>." + parameter``.
    facts
        Plain data: what the trainer was, and how far it had come.
    """

    tensors: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that `path` holds either the old file or the whole new one."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(array) for name, array in checkpoint.tensors.items()}
    header = {"format": FORMAT, "facts": json.dumps(checkpoint.facts)}
    data = save(tensors, header)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


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
    return Checkpoint(tensors, json.loads(header["facts"]))
