"""After a test of the runtime, its process keeps no shared memory mapped."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def mapped() -> list[str]:
    """The segments of minidl that this process has in its memory, names removed or not."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if "/minidl-" in line]


@pytest.fixture(autouse=True)
def nothing_mapped() -> Iterator[None]:
    """Fail a test after which a segment is still mapped."""
    before = set(mapped())
    yield
    if set(mapped()) - before:
        gc.collect()
    assert not set(mapped()) - before
