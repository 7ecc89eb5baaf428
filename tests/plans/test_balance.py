"""A cut into runs: everything once and in order, and no other cut has a lighter heaviest run."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from minidl.plans import balance


@given(work=st.lists(st.integers(0, 20), min_size=1, max_size=7), data=st.data())
def test_no_other_cut_has_a_lighter_heaviest_run(work: list[int], data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, len(work)))
    runs = balance(work, parts)
    assert len(runs) == parts
    assert [place for run in runs for place in range(run.start, run.stop)] == [*range(len(work))]
    assert all(run.start < run.stop for run in runs)
    every = [[0, *cut, len(work)] for cut in combinations(range(1, len(work)), parts - 1)]
    lightest = min(max(sum(work[a:b]) for a, b in pairwise(cut)) for cut in every)
    assert max(sum(work[run]) for run in runs) == lightest
