"""Reading safetensors files that may be damaged or forged.

Everything that the header says is checked before memory is reserved for a tensor, and tensors
are read with ordinary reads: a mapped file that another process truncates would end this one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from minidl.errors import CheckpointError

LARGEST_HEADER = 1 << 24
"""Bytes; a network of ten thousand tensors needs about one megabyte."""
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
"""The types of safetensors that NumPy has."""


@dataclass(frozen=True)
class Entry:
    """What the header says of a tensor.

    Parameters
    ----------
    kind
        Its type, as safetensors writes it: ``"F32"``.
    shape
        Its shape.
    start
        Its first byte, counted from the header's end.
    stop
        The byte behind its last one, counted likewise.
    """

    kind: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def dtype(self) -> np.dtype | None:
        """Its type; None if NumPy has none like it."""
        return np.dtype(DTYPES[self.kind]) if self.kind in DTYPES else None

    def __str__(self) -> str:
        return f"{self.dtype or self.kind} of shape {self.shape}"


class TensorFile:
    """An open safetensors file whose header is whole and fits the file's size.

    Parameters
    ----------
    file
        The file, at its beginning.
    size
        Its bytes.

    Attributes
    ----------
    metadata
        The header's texts by name.
    entries
        The tensors by name; `read` reads one.

    Raises
    ------
    ValueError
        If the header is damaged.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        length = int.from_bytes(_exactly(file, 8), "little")
        if length > min(size - 8, LARGEST_HEADER):
            raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
        header = parse_json(_exactly(file, length).decode())
        if not isinstance(header, dict):
            raise ValueError("the header is no JSON object")
        self.metadata = _texts(header.pop("__metadata__", {}))
        self.entries = {name: _entry(name, given) for name, given in header.items()}
        self._start, end = 8 + length, 0
        for name, entry in sorted(self.entries.items(), key=lambda item: item[1].start):
            if entry.start != end:
                raise ValueError(f"{name} begins at byte {entry.start}, not at {end}")
            end = entry.stop
        if self._start + end != size:
            raise ValueError(f"{size:,} bytes, where the header tells of {self._start + end:,}")

    def read(self, name: str) -> np.ndarray:
        """One tensor; its memory is reserved only now.

        Raises
        ------
        CheckpointError
            If NumPy has no such type, or the file cannot be read or has become shorter.
        """
        entry = self.entries[name]
        if entry.dtype is None:
            raise CheckpointError(
                f"{self._file.name}: {name} is of type {entry.kind}, unknown here"
            )
        try:
            array = np.empty(entry.shape, entry.dtype)
            self._file.seek(self._start + entry.start)
            if array.size:
                _fill(self._file, array.reshape(-1).view(np.uint8).data)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{name} cannot be read from {self._file.name}: {error}"
            ) from error
        return array


@contextmanager
def opened(path: Path, hint: str = "") -> Iterator[TensorFile]:
    """Within the block, a safetensors file to read.

    Parameters
    ----------
    path
        The file.
    hint
        What to do if it is none; ends the message.

    Raises
    ------
    CheckpointError
        If it is missing, cannot be read, or is damaged.
    """
    with ExitStack() as stack:
        try:
            if not path.is_file():
                raise CheckpointError(f"there is no checkpoint at {path}: no file of that name")
            file = stack.enter_context(open(path, "rb"))
            tensors = TensorFile(file, os.fstat(file.fileno()).st_size)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{path} is no whole safetensors file (truncated, or of another kind): "
                f"{error}{hint}"
            ) from error
        yield tensors


def parse_json(text: str) -> Any:
    """JSON as its standard has it: without NaN and infinities (1e999 is one), each name once.

    Raises
    ------
    ValueError
        If it is none, or is too deep to be read.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite
        )
    except RecursionError:
        raise ValueError("JSON that is too deep") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"twice the name {next(n for n in names if names.count(n) > 1)!r}")
    return found


def _finite(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text}, which is no finite number")


def _exactly(file: BinaryIO, count: int) -> bytes:
    read = bytearray(count)
    _fill(file, memoryview(read))
    return bytes(read)


def _fill(file: BinaryIO, memory: memoryview) -> None:
    done = file.readinto(memory)  # type: ignore[attr-defined]
    if done < len(memory):
        raise ValueError(f"{done:,} bytes, where {len(memory):,} belong")


def _texts(given: Any) -> Mapping[str, str]:
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
        raise ValueError("metadata that are no texts by name")
    return given


def _entry(name: str, given: Any) -> Entry:
    """An entry of the header, if its parts are what they should be and fit each other."""
    match given:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [start, stop]}:
            pass
        case _:
            raise ValueError(f"{name} has no dtype, shape and data_offsets")
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in (*shape, start, stop)):
        raise ValueError(f"{name}: shape and offsets must be whole numbers of at least 0")
    entry = Entry(kind, tuple(shape), start, stop)
    if len(shape) > 32:
        raise ValueError(f"{name} has {len(shape)} axes")
    if entry.dtype and stop - start != prod(shape) * entry.dtype.itemsize:
        raise ValueError(f"{name} has {stop - start:,} bytes, which is not the size of {entry}")
    return entry
