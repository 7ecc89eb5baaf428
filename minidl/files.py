"""Writing files so that a reader finds the old one or the whole new one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from reprlib import Repr
from typing import BinaryIO

from minidl.errors import FileError, InputError

short = Repr()
short.maxstring = 300


def replace(path: str | Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Let `path` hold this, or what it held before if anything goes wrong.

    Folders that are missing are made. Through a symbolic link, the file that it points to is
    replaced, and the link stays. A file that is replaced keeps its permissions.

    Parameters
    ----------
    path
        The file.
    content
        All of its new contents, or a function that writes them into a binary file.

    Raises
    ------
    InputError
        If the path is that of a folder.
    FileError
        If it cannot be written.
    """
    with writing(path):
        _replace(resolved(path), content)


def _replace(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    if path.is_dir():
        raise InputError(f"path must be that of a file, and {path} is a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            if path.exists():
                os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def append(path: str | Path, line: str) -> None:
    """Add a line to a text file; if its last line has no end, as after a crash, end that first.

    Folders that are missing are made.

    Parameters
    ----------
    path
        The file.
    line
        Without its end.

    Raises
    ------
    FileError
        If it cannot be written.
    """
    with writing(path):
        _append(Path(path), line)


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode() + b"\n")


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Let an OSError within the block be a FileError that names the path, and why."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        why = error.strerror or str(error)
        failed = FileError(f"the path {short.repr(str(path))} cannot be written: {why}")
        failed.errno = error.errno
        raise failed from error


def resolved(path: str | Path) -> Path:
    """The file itself, where `path` is a symbolic link or lies behind one."""
    return Path(os.path.realpath(path))
