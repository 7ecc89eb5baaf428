"""What holds for every test: one Hypothesis profile, no windows, nothing left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

# Before anything imports pyplot.
os.environ["MPLBACKEND"] = "Agg"

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "minidl",
    deadline=None,  # kernels compile at first use, and workers take as long as they take
    derandomize=bool(os.environ.get("CI")),
    max_examples=30,
    # The fixtures here guard what lies around a test; they give no example anything to share.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    print_blob=True,
)
settings.load_profile("minidl")

HELPERS = ("forkserver", "resource_tracker", "semaphore_tracker")
"""Processes that `multiprocess` keeps for the next launch; they hold no rank."""
GRACE = 5.0
"""Seconds a worker may take to end after its run."""


def workers() -> dict[int, str]:
    """Living processes below this one that are neither helpers nor zombies, by id."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state not in "ZX":
                parents.setdefault(int(parent), []).append(int(entry.name))
    found: dict[int, str] = {}
    # Workers are children of the forkserver, which is a child of this process.
    pending = list(parents.get(os.getpid(), []))
    while pending:
        process = pending.pop()
        pending.extend(parents.get(process, []))
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[process] = command
    return {process: command for process, command in found.items() if not _is_helper(command)}


def _is_helper(command: str) -> bool:
    return any(name in command for name in HELPERS)


def segments() -> set[str]:
    """The names of minidl's shared memory segments of this machine."""
    return {path.name for path in Path("/dev/shm").glob("minidl-*")}


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test after which a worker process or a shared memory segment is left."""
    before, segments_before = set(workers()), segments()
    yield
    deadline = time.monotonic() + GRACE
    while True:
        left = {p: c for p, c in workers().items() if p not in before}
        kept = segments() - segments_before
        if not left and not kept:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    pytest.fail(f"left behind: processes {left}, segments {sorted(kept)}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none, and say why."""
    needy = [item for item in items if item.get_closest_marker("gpu")]
    if needy and (reason := _no_gpu()):
        for item in needy:
            item.add_marker(pytest.mark.skip(reason=reason))


def _no_gpu() -> str:
    try:
        import cupy
    except ImportError:
        return "no GPU: cupy is not installed (pip install minidl[gpu])"
    try:
        return "" if cupy.cuda.runtime.getDeviceCount() else "no GPU: cupy sees no CUDA device"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no GPU: {error}"
