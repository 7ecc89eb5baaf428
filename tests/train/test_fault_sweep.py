"""Faults drawn by kind, rank and moment under every strategy: always the culprit's name, in time,
and nothing left. More of them: ``python -m benchmarks.faults``."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from benchmarks.faults import BESIDE, FAULTS, Result, Sweep, cases
from minidl.runtime.trace import KINDS

SOME = ("server KAsync", "continue KBatchSync", "all-reduce torus", "pipeline gpipe")


def struck(names: Collection[str], runs: int, seed: int) -> list[Result]:
    """The runs that were struck; most are, as a test of faults that never strike would be green."""
    results = list(Sweep(seed, {name: cases()[name] for name in names}).run(runs))
    assert len(results) == runs
    bad = [each for each in results if each.hung or each.wrong or each.segments or each.orphans]
    assert not bad
    found = [each for each in results if each.struck]
    # Ranks take their turns as they may, so that now and then the drawn moment never comes.
    assert len(found) >= 0.5 * runs
    return found


@pytest.mark.timeout(60)
def test_a_few_runs_end_as_they_should_and_leave_nothing() -> None:
    struck(SOME, 6, 4)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_kind_of_run_ends_as_it_should_and_leaves_nothing() -> None:
    found = struck(cases(), 46, 1)
    assert {each.fault.what for each in found} == set(FAULTS)
    assert any(each.recorded for each in found)
    # At every kind of instruction; a moment that is drawn twice may not come in either run.
    moments = {*KINDS, BESIDE, "report", "heard"} - {"cancelled"}
    assert len(moments - {each.fault.moment for each in found}) <= 2
