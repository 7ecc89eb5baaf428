"""The history beside a checkpoint: a file that only grows.

Each save appends a line of JSON with the records since the one before, and the checkpoint names
the file, how many of its bytes are its own, and their checksum. So a save costs as much after a
million steps as after ten; a crash between the two files leaves at most bytes that no checkpoint
names; and the checkpoints of one run in one folder share one history, through hard links.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from minidl.errors import CheckpointError
from minidl.train.history import Counts, History

BLOCK = 1 << 20
"""Bytes that are read at once."""


@dataclass(frozen=True)
class Extent:
    """Which part of which file holds a checkpoint's history.

    Parameters
    ----------
    name
        Of the file, which lies in the checkpoint's folder: ``<checkpoint>.<run>.history``, where
        the run is 8 hexadecimal digits.
    size
        How many bytes from its start.
    checksum
        Their CRC-32.
    """

    name: str
    size: int
    checksum: int

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^/\0]+\.[0-9a-f]{8}\.history", self.name) or self.size < 0:
            raise ValueError(f"{self.name!r} with {self.size} bytes is no history")

    @property
    def run(self) -> str:
        """The part of the name that tells runs apart."""
        return self.name.split(".")[-2]


@dataclass(frozen=True)
class _Part:
    """The part of a history file that is written, how many records it holds, and if it is new."""

    path: Path
    extent: Extent
    counts: Counts
    new: bool = False

    @classmethod
    def begun(cls, checkpoint: Path) -> _Part:
        """The empty part of a file that is not there yet."""
        name = f"{checkpoint.name}.{secrets.token_hex(4)}.history"
        return cls(checkpoint.with_name(name), Extent(name, 0, 0), Counts(), new=True)

    def beside(self, checkpoint: Path) -> _Part | None:
        """The same part under the checkpoint's name; None if the file cannot be continued there."""
        name = f"{checkpoint.name}.{self.extent.run}.history"
        path = checkpoint.with_name(name)
        try:
            if self.path.stat().st_size != self.extent.size:
                return None
            if new := not path.exists():
                os.link(self.path, path)
            if not path.samefile(self.path):
                return None
        except OSError:  # the file is gone, or no second name can be given to it in that folder
            return None
        return _Part(path, replace(self.extent, name=name), self.counts, new)

    def appended(self, new: History) -> _Part | None:
        """What there is after more records; None if another process has appended first."""
        line = (json.dumps(new.to_json()) + "\n").encode() if new.counts != Counts() else b""
        size, checksum = self.extent.size + len(line), zlib.crc32(line, self.extent.checksum)
        part = _Part(
            self.path,
            Extent(self.extent.name, size, checksum),
            self.counts.plus(new.counts),
            self.new,
        )
        with open(self.path, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
            return part if file.tell() == size else None

    def undo(self) -> None:
        """Take back what was appended to it, and its name if that is new."""
        if self.path.exists():
            os.truncate(self.path, self.extent.size)
            if self.new:
                self.path.unlink()


class HistoryFile:
    """The history file of a trainer, and what is in it, so that only the rest is written.

    Parameters
    ----------
    path
        The file that a history was read from; None if it was not read from one.
    extent
        Which part of that file it is; None likewise.
    history
        That history.
    """

    def __init__(
        self,
        path: Path | None = None,
        extent: Extent | None = None,
        history: History | None = None,
    ) -> None:
        self._history, self._part = history, None
        if path is not None and extent is not None and history is not None:
            self._part = _Part(path, extent, history.counts)

    @contextmanager
    def written(
        self, checkpoint: Path, history: History, since: Callable[[Counts], History]
    ) -> Iterator[Extent]:
        """Within the block, write the checkpoint; if that fails, the history is as it was before.

        Parameters
        ----------
        checkpoint
            Its path, not a symbolic link. Its folder is made.
        history
            Of the trainer; the file is continued for the same one only.
        since
            What is to be saved beyond so many records of that history.
        """
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        replaced = checkpoint.exists()
        before = None
        if self._part is not None and history is self._history:
            before = self._part.beside(checkpoint)
        before = before or _Part.begun(checkpoint)
        try:
            after = before.appended(since(before.counts))
            if after is None:
                if before.new:
                    before.path.unlink()
                before = _Part.begun(checkpoint)
                after = before.appended(since(before.counts))
            assert after is not None, "nobody else knows the new file's name"
            yield after.extent
        except BaseException:
            before.undo()
            raise
        self._history, self._part = history, after
        if replaced and after.new:
            _remove_others(checkpoint, after.path)


def read(checkpoint: Path, extent: Extent) -> tuple[Path, History] | None:
    """The history of a checkpoint, and the file that holds it; None if there is no such file.

    Raises
    ------
    CheckpointError
        If the file does not hold what the checkpoint says.
    """
    # A checkpoint may have been renamed with its history, or without.
    for name in (f"{checkpoint.name}.{extent.run}.history", extent.name):
        path = checkpoint.with_name(name)
        if path.is_file():
            try:
                return path, _parsed(_content(path, extent))
            except (
                OSError,
                KeyError,
                TypeError,
                ValueError,
                OverflowError,
                RecursionError,
            ) as error:
                raise CheckpointError(
                    f"{path} is not the history that {checkpoint} was saved with ({error}); "
                    "without that file the checkpoint can be loaded, and its history begins anew"
                ) from error
    return None


def _remove_others(checkpoint: Path, kept: Path) -> None:
    """Remove histories of a checkpoint that has been replaced by one of another run."""
    for path in beside(checkpoint):
        if path != kept:
            path.unlink()


def beside(checkpoint: Path) -> list[Path]:
    """The history files that lie beside a checkpoint under its name, the newest one last."""
    pattern = re.compile(re.escape(checkpoint.name) + r"\.[0-9a-f]{8}\.history")
    found = [path for path in checkpoint.parent.iterdir() if pattern.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def _content(path: Path, extent: Extent) -> bytes:
    """The part of a file, block by block, so that no more is read than there is JSON."""
    blocks, left, checksum = [], extent.size, 0
    with open(path, "rb") as file:
        while left:
            block = file.read(min(BLOCK, left))
            if not block or b"\0" in block:
                raise ValueError(f"{extent.size - left:,} of {extent.size:,} bytes can be read")
            blocks.append(block)
            left -= len(block)
            checksum = zlib.crc32(block, checksum)
    if checksum != extent.checksum:
        raise ValueError(f"checksum {checksum:08x}, not {extent.checksum:08x}")
    return b"".join(blocks)


def _parsed(content: bytes) -> History:
    history = History()
    for line in content.splitlines():
        history.extend(History.from_json(json.loads(line)))
    return history
