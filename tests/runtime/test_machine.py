"""A machine describes itself, and ranks use as many threads as they are given."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import InputError
from minidl.runtime import Processes, RankContext, machine
from minidl.runtime.requests import Request


def test_this_machine_is_described_in_a_line() -> None:
    here = machine.Machine.here()
    assert 0 < here.usable <= here.cores == os.cpu_count()
    assert here.processor and here.load >= 0
    line = str(here)
    for part in (here.processor, here.system, *here.versions.values(), f"of {here.cores} cores"):
        assert part in line


@given(limit=st.none() | st.floats(0.1, 64))
def test_a_container_allows_no_more_than_its_limit(limit: float | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "container_cores", lambda: limit)
        usable = machine.usable_cores()
    assert usable <= machine.cores()
    assert usable == machine.cores() if limit is None else usable <= limit


def test_a_processor_without_a_name_is_called_by_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "PROCESSOR", tmp_path / "cpuinfo")
    assert machine._processor()
    (tmp_path / "cpuinfo").write_text("core : 0\nmodel name : A: B\nmodel name : C\n")
    assert machine._processor() == "A: B"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("threads", [1, 3])
def test_every_rank_is_given_its_threads(threads: int) -> None:
    def program(context: RankContext) -> Generator[Request, Any, int]:
        return context.threads
        yield

    outcome = Processes(threads=threads).launch(
        [program] * 2, shared={}, channels=[], listen=lambda rank, event: None
    )
    assert outcome.results == (threads, threads)


def test_no_threads_are_refused() -> None:
    with pytest.raises(InputError, match="a rank needs at least 1 thread, not 0"):
        Processes(threads=0)


@pytest.mark.timeout(30)
def test_ranks_share_what_the_container_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the cores that it shows."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(machine, "container_cores", lambda: 3.5)

    def program(context: RankContext) -> Generator[Request, Any, int]:
        return context.threads
        yield

    outcome = Processes().launch(
        [program, program], shared={}, channels=[], listen=lambda rank, event: None
    )
    assert outcome.results == (1, 1)
