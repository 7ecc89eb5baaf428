"""What all benchmarks share: the machine in a line, and interleaved medians."""

from __future__ import annotations

import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

TORCH = importlib.util.find_spec("torch") is not None


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine() -> str:
    """The machine, in a line."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    versions = f"Python {platform.python_version()}"
    if TORCH:
        import torch

        versions += f", PyTorch {torch.__version__}"
    return f"{name}, {cores()} cores, {platform.system()}, {versions}"


def interleaved(
    ways: Mapping[str, Callable[[], object]], *, seconds: float = 2.0, rounds: int = 9
) -> dict[str, float]:
    """The median time of one call of each way, in seconds.

    The ways take turns, round after round, so that what slows the machine slows
    them alike. Each round repeats a way often enough to be timed well.
    """
    repeats = {}
    for name, way in ways.items():
        way()
        start = time.perf_counter()
        way()
        once = max(time.perf_counter() - start, 1e-6)
        repeats[name] = max(1, int(seconds / len(ways) / rounds / once))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                way()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return {name: statistics.median(each) for name, each in times.items()}
