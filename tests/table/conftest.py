"""Lets the tests beside this file import their rows and the helpers of other tests; one thread.

Where the environment variable MINIDL_TABLE names a file, the marks of the run are written there
as a page of the documentation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from minidl import kernels

sys.path.insert(0, str(Path(__file__).parents[1] / "strategy"))
sys.path.insert(0, str(Path(__file__).parents[1] / "nn"))
sys.path.insert(0, str(Path(__file__).parent))

from coverage_page import PASSED, SKIPPED, cells, page


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Arrays here are too small to share out, and on a busy machine waiting for threads is slow."""
    kernels.set_threads(1)
    yield
    kernels.set_threads(os.cpu_count() or 1)


marks: dict[tuple[str, str], str] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember how the test of a cell went: setting up, running and clearing away."""
    report = yield
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if isinstance(item, pytest.Function) and "row" in parameters:
        column = parameters.get("name") or item.originalname[len("test_") :].replace("_", " ")
        cell = parameters["row"].title, column
        if report.failed:
            marks[cell] = "failed"
        elif report.skipped:
            marks[cell] = SKIPPED[column]
        elif report.when == "call":
            marks[cell] = PASSED
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page, if one is wanted."""
    wanted = os.environ.get("MINIDL_TABLE")
    if not wanted:
        return
    if missing := set(cells()) - set(marks):
        raise pytest.UsageError(f"no page was written: {len(missing)} cells were not run")
    Path(wanted).write_text(page(marks))
