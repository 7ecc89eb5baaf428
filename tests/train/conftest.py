"""Lets the tests beside this file import `cases`, and runs them on the kernels' definitions.

What a trainer does is the same whatever the kernels, and these start at once. A test that
wants the fast ones says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def reference_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIDL_KERNELS", "reference")


@pytest.fixture
def fast_kernels(reference_kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIDL_KERNELS", "cpu")
