"""What a process has made outside of itself is named after it, so that it can be removed after it.

A segment's name is gone as soon as it is made, and the server that forks workers removes the folder
of its socket; only a process killed just in between, or a server killed too, leaves something.
What multiprocess itself makes, as it did for earlier versions, bears the name of no process: it is
left over when no process has it open.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
SEMAPHORES, FOLDERS = "sem.mp-*", "pymp-*"
"""How multiprocess names semaphores in shared memory, and folders of sockets."""
PROC = Path("/proc")
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
    """A segment, semaphore or folder of sockets that its process ended before it could remove."""

    path: Path
    bytes: int


def leftovers() -> list[Leftover]:
    """What no living process owns."""
    found = []
    for path in [*_of_the_dead(), *_semaphores(), *_folders()]:
        with suppress(FileNotFoundError):  # its server has just removed it
            found.append(Leftover(path, path.lstat().st_size))
    return found


def _of_the_dead() -> Iterator[Path]:
    for place in dict.fromkeys([SHARED_MEMORY, *socket_places()]):
        for path in sorted(place.glob("minidl-*")):
            match = NAME.fullmatch(path.name)
            if match and not _alive(int(match[1])):
                yield path


def _semaphores() -> list[Path]:
    """Those that no process has in its memory."""
    found = [path for path in sorted(SHARED_MEMORY.glob(SEMAPHORES)) if _own(path)]
    used: set[str] = set()  # by their numbers, for the system made them under other names
    for maps in PROC.glob("[0-9]*/maps") if found else ():
        used.update(line.split()[4] for line in _read(maps).splitlines() if "/sem." in line)
    return [path for path in found if str(path.lstat().st_ino) not in used]


def _folders() -> list[Path]:
    """Those whose sockets are all closed."""
    used = _read(PROC / "net" / "unix")
    found = []
    for folder in (f for place in socket_places() for f in sorted(place.glob(FOLDERS)) if _own(f)):
        content = [*folder.iterdir()]
        closed = all(path.is_socket() and str(path) not in used for path in content)
        if used and content and closed:
            found.append(folder)
    return found


def _own(path: Path) -> bool:
    """Whether it belongs to this user, who can look into all processes that could have it open."""
    try:
        return path.lstat().st_uid == os.getuid()
    except FileNotFoundError:
        return False


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:  # another user's, or just gone
        return ""


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
