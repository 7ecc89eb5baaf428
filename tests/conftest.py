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
    max_examples=30 if os.environ.get("CI") else 20,  # new ones in every run
    # The fixtures here guard what lies around a test; they give no example anything to share.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    print_blob=True,
)
settings.load_profile("minidl")

GRACE = 5.0
"""Seconds a worker may take to end after its run."""

BEFORE = frozenset(name for name in os.listdir("/proc") if name.isdigit())
"""Processes older than the tests, which are nobody's workers; looking at each takes a while."""


def workers() -> dict[int, str]:
    """Living processes below this one, by id, except those kept for the next launch.

    These are `multiprocess`'s forkserver and its resource tracker; they hold no rank.
    """
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # this process has no child at all
        return {}
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and name not in BEFORE:
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state not in "ZX":
                parents.setdefault(int(parent), []).append(int(name))
    found: dict[int, str] = {}
    pending = [(child, os.getpid()) for child in parents.get(os.getpid(), [])]
    while pending:
        process, parent = pending.pop()
        pending.extend((child, process) for child in parents.get(process, []))
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # A forkserver's children are workers with the command line of the forkserver itself.
        forkserver = "multiprocess.forkserver" in command and parent == os.getpid()
        if not forkserver and "resource_tracker" not in command:
            found[process] = command
    return found


def segments() -> set[str]:
    """The names of minidl's shared memory segments, but for those of living strangers' runs."""
    found = list(Path("/dev/shm").glob("minidl-[0-9]*-*"))
    own = {os.getpid(), *workers()} if found else set()
    return {
        path.name
        for path in found
        if (owner := int(path.name.split("-")[1])) in own or not Path(f"/proc/{owner}").exists()
    }


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
