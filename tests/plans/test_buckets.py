"""Buckets: every gradient in exactly one, the last layers' first, each as full as asked."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import InputError, PlanError
from minidl.plans import Bucketing, Launches, buckets

sizes = st.lists(st.integers(0, 20), max_size=12)


def named(drawn: list[int]) -> dict[str, int]:
    return {str(number): size for number, size in enumerate(drawn)}


def places(drawn: list[int], first: int = 0) -> dict[str, slice]:
    ends = list(accumulate(drawn, initial=first))
    return {str(number): slice(a, b) for number, (a, b) in enumerate(pairwise(ends))}


@given(drawn=sizes, least=st.floats(0.5, 50) | st.just(math.inf))
def test_parameters_are_put_into_buckets_from_the_last_on(drawn: list[int], least: float) -> None:
    cut = buckets(named(drawn), least)
    assert [name for names in cut for name in names] == [*reversed(named(drawn))]
    for names in cut[:-1]:
        held = sum(drawn[int(name)] for name in names)
        assert held >= least > held - drawn[int(names[-1])]
    assert all(cut) and (least < math.inf or len(cut) <= 1)


@given(drawn=sizes, least=st.floats(0.5, 50), first=st.integers(0, 9))
def test_buckets_are_the_vector_cut_from_its_end(
    drawn: list[int], least: float, first: int
) -> None:
    cut = Bucketing().buckets(places(drawn, first), least)
    ends = [first + sum(drawn), *(bucket.place.start for bucket in cut)]
    assert [bucket.place.stop for bucket in cut] == ends[:-1]
    assert ends[-1] == first or not cut
    for bucket in cut:
        held = sum(drawn[int(name)] for name in bucket.names)
        assert bucket.place.stop - bucket.place.start == held


@given(drawn=sizes, least=st.floats(0.5, 50), orders=st.data())
def test_every_order_of_completion_launches_in_one_order_and_at_once(
    drawn: list[int], least: float, orders: st.DataObject
) -> None:
    cut = buckets(named(drawn), least)
    launches, launched, complete = Launches(cut), [], set()
    for name in orders.draw(st.permutations([*named(drawn)])):
        launched += launches.filled(name)
        complete.add(name)
        assert launched == [*range(len(launched))]
        assert all(complete.issuperset(cut[number]) for number in launched)
        assert len(launched) == len(cut) or not complete.issuperset(cut[len(launched)])
    assert len(launched) == len(cut)


@pytest.mark.parametrize("least", [0, -1, math.nan])
def test_an_empty_bucket_is_refused(least: float) -> None:
    with pytest.raises(InputError, match="a bucket holds more than 0 numbers, not"):
        buckets(named([3]), least)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ([["0", "1"]], "each of .* belongs into exactly one bucket"),
        ([["2"], ["1"], ["0"], ["2"]], "each of .* belongs into exactly one bucket"),
        ([["2", "0"], ["1"]], r"must be neighbours, not \['2', '0'\]"),
    ],
)
def test_unfit_buckets_are_refused(cut: list[list[str]], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Bucketing(lambda sizes, least: cut).buckets(places([3, 4, 5]), 1)
