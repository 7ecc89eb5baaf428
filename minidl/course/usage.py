"""How much of the machine a student's processes take together."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

from minidl.course.warden import descendants

MOST_PROCESSES = 64
MOST_MEMORY = 4 << 30
"""Bytes of memory in use by all processes together."""
MOST_WRITTEN = 256 << 20
"""Bytes in files, what is printed among them."""
MOST_FILES = 10_000


def excess(ancestor: int, folder: str, printed: int) -> str:
    """What the descendants of a process take too much of; empty if they don't.

    Parameters
    ----------
    ancestor
        The process's id.
    folder
        What they may write to.
    printed
        The bytes that they have printed.
    """
    processes = descendants(ancestor)
    if len(processes) > MOST_PROCESSES:
        return f"more than {MOST_PROCESSES} processes were started"
    if sum(map(_memory, processes)) > MOST_MEMORY:
        return f"the processes use more than {MOST_MEMORY >> 20} MiB of memory"
    files, size = _content(folder)
    if size + printed > MOST_WRITTEN:
        return f"more than {MOST_WRITTEN >> 20} MiB were written to files or printed"
    if files > MOST_FILES:
        return f"more than {MOST_FILES} files were written"
    return ""


def _memory(pid: int) -> int:
    with contextlib.suppress(OSError):  # it has ended
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    return 0


def _content(folder: str) -> tuple[int, int]:
    """How many files and folders are in a folder, and their bytes, as far as the limits."""
    files, size, todo = 0, 0, [folder]
    while todo and files <= MOST_FILES and size <= MOST_WRITTEN:
        # What vanishes meanwhile, or is hidden by its permissions, is not counted.
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                files += 1
                size += 512 * entry.stat(follow_symlinks=False).st_blocks
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                if files > MOST_FILES:
                    break
    return files, size
