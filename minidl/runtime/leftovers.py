"""What a process has made outside of itself is named after it, so that it can be removed after it.

A segment's name is gone as soon as it is made, and the server that forks workers removes the folder
of its socket; only a process killed just in between, or a server killed too, leaves something.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
NAME = re.compile(r"minidl-(\d+)-[0-9a-f]{16}")


def new_name() -> str:
    """A name that nothing has, and that says which process it belongs to."""
    return f"minidl-{os.getpid()}-{secrets.token_hex(8)}"


def socket_places() -> list[Path]:
    """The folders in which a socket may lie, the best one first."""
    found = []
    with suppress(OSError):  # there is no place for temporary files at all
        found.append(Path(tempfile.gettempdir()))
    return list(dict.fromkeys([*found, Path("/tmp"), SHARED_MEMORY]))


@dataclass(frozen=True)
class Leftover:
    """A segment, or the folder of a socket, whose process ended before it could remove it."""

    path: Path
    bytes: int
    pid: int


def leftovers() -> list[Leftover]:
    """What no living process owns."""
    found = []
    for place in dict.fromkeys([SHARED_MEMORY, *socket_places()]):
        for path in sorted(place.glob("minidl-*")):
            match = NAME.fullmatch(path.name)
            if match and not _alive(int(match[1])):
                with suppress(FileNotFoundError):  # its server has just removed it
                    found.append(Leftover(path, path.lstat().st_size, int(match[1])))
    return found


def remove(leftover: Leftover) -> None:
    """Remove one that `leftovers` found."""
    if leftover.path.is_dir():
        shutil.rmtree(leftover.path)
    else:
        leftover.path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
