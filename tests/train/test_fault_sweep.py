"""Faults drawn by kind, rank and moment under every strategy: always the culprit's name, in time,
and nothing left. More of them: ``python -m benchmarks.faults``."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from benchmarks.faults import Sweep, cases

SOME = ("server KAsync", "continue KBatchSync", "all-reduce torus", "pipeline gpipe")


@pytest.mark.parametrize(
    ("names", "runs", "seed"),
    [
        pytest.param(SOME, 6, 4, marks=pytest.mark.timeout(60)),
        pytest.param(cases(), 46, 1, marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
    ],
)
def test_every_run_ends_as_it_should_and_leaves_nothing(
    names: Collection[str], runs: int, seed: int
) -> None:
    results = list(Sweep(seed, {name: cases()[name] for name in names}).run(runs))
    bad = [each for each in results if each.hung or each.wrong or each.segments or each.orphans]
    assert not bad
    # A test of faults that never strike would be green, too.
    assert len(results) == runs
    assert sum(each.struck for each in results) >= 0.7 * runs
    assert any(each.recorded for each in results)
    assert {each.fault.what for each in results if each.struck} >= {"raise", "SIGKILL"}
