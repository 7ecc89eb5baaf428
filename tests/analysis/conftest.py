"""One thread for kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from minidl import kernels


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Arrays here are too small to share out, and on a busy machine waiting for threads is slow."""
    kernels.set_threads(1)
    yield
    kernels.set_threads(os.cpu_count() or 1)
