"""Processes that a test starts in a session of their own, and whether they have ended."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

SCRIPT = """
    import os, signal, sys, time
    import numpy as np
    from minidl.runtime import Exchange, Incoming, Outgoing, Processes, Report

    def swap(context):
        yield Report(os.getpid())
        peer, x, y = 1 - context.rank, np.zeros(999), np.zeros(999)
        while True:
            yield Exchange((Outgoing(peer, x, "swap"), Incoming(peer, y, "swap")))

    def listen(rank, event):
        print(event, flush=True)

    def once(programs):
        with Processes().share({"x": np.zeros(1000)}) as shared:
            return Processes().launch(
                programs, shared=shared, channels=[(0, 1), (1, 0)], listen=listen
            )
"""


def start(script: str) -> subprocess.Popen[str]:
    """Run a script in a session of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT) + textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "MINIDL_KERNELS": "reference"},
    )


def gone(pids: list[int], seconds: float) -> bool:
    """Whether all these processes end within that time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(_lives(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def session(leader: int) -> list[int]:
    """All living processes of a session: the caller, its workers and its helpers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _lives(int(entry.name)):
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == leader:
                found.append(int(entry.name))
    return found
