"""A sandbox for a student's process, where bubblewrap (bwrap) is installed and works.

In it the system can only be read, there is no network, no process outside can be seen or
ended, and all of them end together. Folders that hold answers are hidden.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Where minidl lies; in a clone, beside `solutions`."""
HIDDEN = ("solutions", "tests", ".git")
"""What of a clone a student's code is not to see."""
REPLACED = ("/tmp", "/run")
"""Folders in whose place the sandbox has something of its own."""
READ = "import sys; open(sys.argv[1], 'rb').close()"
"""What the sandbox is tried with. Can Python, in it, read the student's file?"""
START_SECONDS = 60.0


def wrapped(command: list[str], folder: str, path: Path) -> list[str]:
    """A command, to be run in a sandbox.

    Parameters
    ----------
    command
        What to run.
    folder
        What the command may write to; inside, it is ``/tmp``, and the working folder.
    path
        The student's file, whose folder it may read.
    """
    python = {ROOT, *map(Path, filter(None, [sys.prefix, sys.base_prefix, *sys.path]))}
    covered = sorted(
        str(part)
        for part in python
        if part.exists() and any(part.is_relative_to(one) for one in REPLACED)
    )
    clone = (ROOT / "pyproject.toml").is_file()
    hidden = [str(ROOT / name) for name in HIDDEN if clone and (ROOT / name).is_dir()]
    student = str(path.resolve().parent)
    options = [
        ("--unshare-all", "--die-with-parent", "--new-session"),
        ("--cap-drop", "ALL"),
        ("--ro-bind", "/", "/"),
        ("--proc", "/proc"),
        ("--dev", "/dev"),
        ("--bind", folder, "/dev/shm"),
        ("--remount-ro", "/dev"),
        ("--bind", folder, "/tmp"),
        ("--tmpfs", "/run"),
        *(("--ro-bind", part, part) for part in covered),
        *(("--tmpfs", part) for part in hidden),
        ("--ro-bind", student, student),
        *(("--remount-ro", part) for part in hidden),
        ("--chdir", "/tmp"),
        ("--setenv", "TMPDIR", "/tmp"),
        ("--setenv", "NUMBA_CACHE_DIR", "/tmp"),
    ]
    return ["bwrap", *(word for option in options for word in option), "--", *command]


@functools.cache
def trouble(path: Path) -> str:
    """Why the code of this file cannot run in a sandbox here; empty if it can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    read = [sys.executable, "-I", "-S", "-c", READ, str(path.resolve())]
    with tempfile.TemporaryDirectory(prefix="minidl-judge-") as folder:
        try:
            tried = subprocess.run(
                wrapped(read, folder, path),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=START_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"bubblewrap does not work here: {error}"
    if tried.returncode == 0:
        return ""
    words = tried.stderr.strip().splitlines() or [f"it ends with status {tried.returncode}"]
    return f"bubblewrap does not work here: {words[-1]}"
