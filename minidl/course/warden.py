"""Starts a command, and ends it with everything that it has started.

Run by its path, as ``python -I -S warden.py lifeline folder command ...``, so that it is
there in an instant: it needs the standard library only. The caller holds the other end of
the pipe `lifeline`. When that closes, be it because the caller was killed, or when the
command has ended, no process of the command remains, and neither does the folder.

Orphans come to the warden, because it is a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER):
a program that detaches itself from its parent and its session stays its descendant.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SECONDS = 10.0
"""How long one may try to end processes that start new ones all the time."""


def main(arguments: list[str]) -> None:
    """Start the command, wait for its end or the caller's, tidy up."""
    lifeline, folder, *command = arguments
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, _stay)  # not SIG_IGN, which the command would inherit
    control(PR_SET_CHILD_SUBREAPER, 1)
    inherited = [int(name) for name in os.listdir("/proc/self/fd")]
    passed = [one for one in inherited if one > 2 and one != int(lifeline) and _is_open(one)]
    process = subprocess.Popen(command, pass_fds=passed, start_new_session=True)
    for one in passed:  # so that the caller sees it when the command closes them
        os.close(one)
    select.select([int(lifeline), os.pidfd_open(process.pid)], [], [])
    end_descendants()
    remove(folder)


def _stay(number: int, frame: object) -> None:
    """Do nothing about a signal: who is to end is the caller's decision."""


def control(option: int, value: int) -> None:
    """Call prctl(2)."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def end_descendants() -> None:
    """Kill all descendants of this process, and wait until none is left."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def descendants(ancestor: int) -> list[int]:
    """The processes that this one has started, and these, and so on; zombies too."""
    children: dict[int, list[int]] = {}
    for pid in processes():
        with contextlib.suppress(OSError):  # one that has ended meanwhile
            # The name, in parentheses, may hold spaces and parentheses itself.
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            children.setdefault(int(fields[1]), []).append(pid)
    found, todo = [], [ancestor]
    while todo:
        todo += (below := children.get(todo.pop(), []))
        found += below
    return found


def end_marked(mark: str) -> None:
    """Kill the processes in whose first environment this text is, until none is left."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        marked = [pid for pid in processes() if mark.encode() in _environment(pid)]
        for pid in marked:
            kill(pid)
        if not marked:
            return
        time.sleep(0.002)


def processes() -> Iterator[int]:
    """The ids of all processes that this one sees."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def kill(pid: int) -> None:
    """Kill a process, if it is still there and may be killed."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def remove(folder: str) -> None:
    """Remove a folder, be it however deep and its permissions whatever they are."""
    # Not by shutil.rmtree, which ends in a RecursionError in a thousand folders.
    if os.path.isdir(folder) and _quietly("rm", "-rf", "--", folder):
        _quietly("chmod", "-R", "u+rwx", "--", folder)
        _quietly("rm", "-rf", "--", folder)


def _quietly(*command: str) -> int:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def _environment(pid: int) -> bytes:
    with contextlib.suppress(OSError):  # another user's, or one that has ended
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def _is_open(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(descriptor)
        return True
    return False


if __name__ == "__main__":
    main(sys.argv[1:])
