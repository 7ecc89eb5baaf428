"""``minidl doctor``: looks at this machine and says what is wrong, and what to do about it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from minidl.runtime import machine

MIB = 1 << 20
PACKAGES = ("numpy", "numba", "multiprocess", "safetensors")
SHM = Path("/dev/shm")
SHM_NEEDED, SHM_COMFORTABLE = 32 * MIB, 256 * MIB
"""Room in bytes without which the demo fails, and with which larger models run too."""
CACHE_NEEDED = 16 * MIB
"""Room in bytes for compiled kernels of all kinds, with as much to spare."""
CHILD_SECONDS = 120
MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "bad": "[red]bad[/]"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    name
        What was looked at.
    status
        ``"bad"`` if minidl will not work as it is, ``"warn"`` if it will be slower
        or lack something, ``"ok"`` otherwise.
    found
        What is there.
    advice
        What to do, where there is something to do.
    """

    name: str
    status: Literal["ok", "warn", "bad"]
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at everything that minidl depends on."""
    return [
        _python(),
        _packages(),
        _cores(),
        *_blas(),
        _numba_layer(),
        _kernel_cache(),
        _shared_memory(),
        _leftovers(),
        _processes(),
        _gpu(),
    ]


def main(*, clear: bool = False, as_json: bool = False) -> int:
    """Print what `examine` finds; the exit status is 1 if something is bad.

    Parameters
    ----------
    clear
        First remove what killed runs have left: shared memory, folders of sockets.
    as_json
        Print a list of findings for a script to read, rather than a table.
    """
    cleared = clear_leftovers() if clear else 0
    findings = examine()
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        if clear:
            print(f"{cleared} leftovers removed")
        _print(findings)
    return int(any(finding.status == "bad" for finding in findings))


def clear_leftovers() -> int:
    """Remove every segment and socket folder whose process has ended; how many there were."""
    from minidl.runtime import leftovers

    found = leftovers.leftovers()
    for leftover in found:
        leftovers.remove(leftover)
    return len(found)


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("", "what", "found"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        advice = f"\n[dim]{escape(finding.advice)}[/]" if finding.advice else ""
        table.add_row(MARKS[finding.status], finding.name, escape(finding.found) + advice)
    Console().print(table)


def _python() -> Finding:
    found = f"{platform.python_implementation()} {platform.python_version()} on {sys.platform}"
    if sys.platform != "linux":
        return Finding("Python", "warn", found, "minidl is tested on Linux only.")
    return Finding("Python", "ok", found)


def _packages() -> Finding:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding(
            "packages",
            "bad",
            ", ".join(found) + "; not installed: " + ", ".join(missing),
            "pip install -c constraints.txt -e . in minidl's folder installs what it needs.",
        )
    return Finding("packages", "ok", ", ".join(found))


def _cores() -> Finding:
    usable = machine.cores()
    found = f"{usable} of {os.cpu_count()} may be used"
    limit = machine.container_cores()
    if limit is not None and limit < usable:
        return Finding(
            "cores",
            "warn",
            f"{found}, but this container gets the time of {limit:g}",
            f"More than {max(1, round(limit))} busy threads will wait for each other.",
        )
    if usable == 1:
        return Finding("cores", "warn", found, "Workers will take turns: equal weights, no gain.")
    return Finding("cores", "ok", found)


def _blas() -> Iterator[Finding]:
    import numpy  # noqa: F401 - its BLAS must be loaded to be seen
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if not pools:
        yield Finding(
            "BLAS",
            "warn",
            "no library that threadpoolctl knows",
            "Its threads cannot be held back and may compete with those of minidl's kernels.",
        )
    for pool in pools:
        named = f"{pool['internal_api']} {pool['version'] or ''}".strip()
        yield Finding("BLAS", "ok", f"{named}, {pool['num_threads']} threads")


def _numba_layer() -> Finding:
    import numba

    @numba.njit(parallel=True)
    def total(n: int) -> int:
        found = 0
        for i in numba.prange(n):
            found += i
        return found

    total(8)
    layer, threads = numba.threading_layer(), numba.get_num_threads()
    return Finding("numba", "ok", f"threading layer {layer}, {threads} threads")


def _kernel_cache() -> Finding:
    """Where compiled kernels are kept; one is compiled, kept and read back to see it."""
    from minidl.kernels.cpu import cache

    tried = _in_a_child("from minidl.kernels.cpu import trial; trial.main()")
    if isinstance(tried, str):
        return Finding(
            "kernel cache",
            "bad",
            f"compiling a kernel failed: {tried}",
            "MINIDL_KERNELS=reference trains without compiled kernels, slowly.",
        )
    own = "set NUMBA_CACHE_DIR to a folder of your own"
    if tried["kept"] is None:
        return Finding(
            "kernel cache",
            "warn",
            "no folder takes compiled kernels: " + "; ".join(tried["failures"]),
            f"Every process will compile them, for up to a minute; make room, or {own}.",
        )
    folder = Path(tried["kept"])
    room = os.statvfs(folder)
    kept = list(folder.glob(f"*{cache.SUFFIX}"))
    damaged = sum(cache.body(path) is None for path in kept)
    found = f"{folder}, {len(kept)} kernels, {room.f_bavail * room.f_frsize // MIB} MiB free"
    if not tried["read"]:
        advice = f"Every process will compile its kernels, for up to a minute; {own}."
        return Finding("kernel cache", "warn", f"{found}; none can be read back", advice)
    if damaged:
        found += f", {damaged} damaged, which are compiled anew when next used"
    taken = sum(path.stat().st_size for path in kept)
    if room.f_bavail * room.f_frsize + taken < CACHE_NEEDED:
        advice = f"All kernels together need {CACHE_NEEDED // MIB} MiB; make room, or {own}."
        return Finding("kernel cache", "warn", found, advice)
    named = os.environ.get("NUMBA_CACHE_DIR")
    if (named and tried["failures"]) or folder.parent == cache.private_folder():
        found += "; not in " + "; not in ".join(tried["failures"])
        return Finding("kernel cache", "warn", found, f"To choose where they are kept, {own}.")
    return Finding("kernel cache", "ok", found)


def _in_a_child(script: str) -> Any:
    """The JSON that a script prints in a process of its own, or what went wrong, as text."""
    home = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    try:
        ended = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CHILD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if ended.returncode < 0:
        return f"its process was ended by signal {-ended.returncode}"
    if ended.returncode:
        return (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
    return json.loads(ended.stdout)


def _shared_memory() -> Finding:
    if not SHM.is_dir():
        return Finding(
            "shared memory", "bad", f"there is no {SHM}", "Mount a tmpfs there; workers need it."
        )
    room = os.statvfs(SHM)
    size, free = room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize
    found = f"{SHM}: {free // MIB} of {size // MIB} MiB free"
    if free >= SHM_COMFORTABLE:
        return Finding("shared memory", "ok", found)
    return Finding(
        "shared memory",
        "bad" if free < SHM_NEEDED else "warn",
        found,
        f"Large models and data sets want {SHM_COMFORTABLE // MIB} MiB: docker run "
        f"--shm-size=1g, or as root mount -o remount,size=1g {SHM}.",
    )


def _leftovers() -> Finding:
    from minidl.runtime import leftovers

    found = leftovers.leftovers()
    if not found:
        return Finding("leftovers", "ok", "none")
    size = sum(leftover.bytes for leftover in found)
    return Finding(
        "leftovers",
        "warn",
        f"{len(found)}, {size / MIB:.1f} MiB: " + ", ".join(str(left.path) for left in found),
        "minidl doctor --clear removes them.",
    )


def _processes() -> Finding:
    import multiprocess

    methods = multiprocess.get_all_start_methods()
    if "forkserver" in methods:
        return Finding("worker processes", "ok", "started by a forkserver")
    if "spawn" in methods:
        return Finding(
            "worker processes",
            "warn",
            "started anew each time (spawn); there is no forkserver",
            "Every launch of workers will take a second or two longer.",
        )
    return Finding(
        "worker processes",
        "bad",
        f"can only be started by {', '.join(methods)}",
        "A forkserver or spawn is needed; only strategy.Serial() will work.",
    )


def _gpu() -> Finding:
    try:
        import cupy
    except ImportError:
        if Path("/dev/nvidia0").exists():
            return Finding(
                "GPU",
                "warn",
                "an NVIDIA device, but no cupy",
                "pip install 'minidl[gpu]' (or -e '.[gpu]') lets minidl use it.",
            )
        return Finding("GPU", "ok", "none; everything runs on the CPU")
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        names = [
            cupy.cuda.runtime.getDeviceProperties(device)["name"].decode()
            for device in range(count)
        ]
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return Finding(
            "GPU",
            "warn",
            f"cupy {cupy.__version__} cannot use a device: {error}",
            "nvidia-smi shows whether the driver sees one. The CPU will be used.",
        )
    return Finding("GPU", "ok", f"cupy {cupy.__version__}: {', '.join(names)}")
