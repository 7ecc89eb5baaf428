"""After a test of the runtime, this process keeps no shared memory mapped and no file open."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


def mapped() -> list[str]:
    """The segments of minidl that this process has in its memory, names removed or not."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if "/minidl-" in line]


@pytest.fixture(autouse=True)
def nothing_mapped() -> Iterator[None]:
    """Fail a test after which a segment is still mapped, or which opened files for good."""
    before = mapped()
    yield
    if mapped() != before:
        gc.collect()
    assert mapped() == before


def open_files() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
