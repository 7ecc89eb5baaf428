"""What all benchmarks share: the machine in a line, and interleaved medians."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping

from minidl.runtime.machine import Machine, cores

__all__ = ["TORCH", "cores", "interleaved", "machine"]

TORCH = importlib.util.find_spec("torch") is not None


def machine() -> str:
    """The machine, in a line."""
    line = str(Machine.here())
    if TORCH:
        import torch

        line += f"; PyTorch {torch.__version__}"
    return line


PAUSE = 0.04
"""Seconds after which the threads of whoever ran before have stopped spinning."""


def interleaved(ways: Mapping[str, Callable[[], object]], seconds: float = 2.0) -> dict[str, float]:
    """The median time of one call of each way, in seconds.

    The ways take turns, so that what slows the machine slows them alike. Each brings a
    pool of threads of its own, and those may wait for more work in a busy loop: so a turn
    begins with a pause and with a call that is not counted.

    Parameters
    ----------
    ways
        What to time, by name.
    seconds
        For all of them together, at least.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < 15:
        for name, way in ways.items():
            time.sleep(PAUSE)
            way()
            for _ in range(5):
                start = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in times.items()}
