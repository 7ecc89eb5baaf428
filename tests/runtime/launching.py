"""Runtimes that must all do the same, and how a test launches programs on them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from minidl.runtime import Outcome, Processes, RankContext, Runtime, Virtual
from minidl.runtime.requests import Request

Program = Generator[Request, Any, Any]
SMALL_SLOTS = Processes(deadline=10, slots=2, slot_bytes=64)
RUNTIMES: dict[str, Runtime] = {
    "virtual": Virtual(),
    "buffered": Virtual("unlimited", seed=3),
    "processes": Processes(deadline=10),
    "small slots": SMALL_SLOTS,
}
each_runtime = pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=RUNTIMES)
LARGE_SLOTS = {name: runtime for name, runtime in RUNTIMES.items() if runtime is not SMALL_SLOTS}
without_small_slots = pytest.mark.parametrize("runtime", LARGE_SLOTS.values(), ids=LARGE_SLOTS)
"""Where no message passes, or one that fits into any slot."""


def launch(
    runtime: Runtime,
    *programs: Callable[[RankContext], Program],
    names: list[str] | None = None,
    listen: Callable[[int, Any], None] = lambda rank, event: None,
) -> Outcome:
    """Run programs whose ranks may all talk to each other."""
    size = len(programs)
    pairs = [(a, b) for a in range(size) for b in range(size) if a != b]
    return runtime.launch(programs, shared={}, channels=pairs, listen=listen, names=names)
