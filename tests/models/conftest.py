"""Lets the tests beside this file import `finite_differences`; one thread for kernels."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minidl import kernels

sys.path.insert(0, str(Path(__file__).parents[1] / "nn"))


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Arrays here are too small to share out, and on a busy machine waiting for threads is slow."""
    kernels.set_threads(1)
    yield
    kernels.set_threads(os.cpu_count() or 1)
