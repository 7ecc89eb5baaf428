"""What the system refuses, in words: which limit was met, and how to raise it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from minidl.errors import InputError, WorkerError

FILES = "use fewer workers, or raise the limit on open files (ulimit -n)"
REMEDIES = {
    errno.EAGAIN: "use fewer workers, or raise the limit on processes and threads "
    "(ulimit -u; in a container, docker run --pids-limit)",
    errno.ENOMEM: "use fewer workers or a smaller batch, or give the machine more memory",
    errno.EMFILE: FILES,
    errno.ENFILE: FILES,
}


def explanation(code: int | None) -> str:
    """What an error number means and what to do, if it stands for a limit; else nothing."""
    remedy = REMEDIES.get(code or 0)
    return f"{os.strerror(code or 0)}; {remedy}" if remedy else ""


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Within the block, a limit of the system that is met ends in one error that names it.

    Parameters
    ----------
    doing
        What could not be done, if so.

    Raises
    ------
    WorkerError
        If a limit was met.
    """
    try:
        yield
    except OSError as error:
        if not (cause := explanation(error.errno)):
            raise
        raise WorkerError(f"{doing}: {cause}") from error
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        raise WorkerError(f"{doing}: {explanation(errno.EAGAIN)}") from error


def require_working_folder() -> None:
    """Raise InputError if the folder in which this process works is gone."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise InputError(
            "the folder in which this process works has been deleted: change to another one (cd in "
            "a shell, os.chdir in Python) and run it again"
        ) from error
