"""Buckets: every gradient in exactly one, the last layers' first, each as full as asked."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import InputError
from minidl.plans import buckets

sizes = st.lists(st.integers(0, 20), max_size=12)


def places(drawn: list[int], first: int = 0) -> dict[str, slice]:
    ends = list(accumulate(drawn, initial=first))
    return {str(number): slice(a, b) for number, (a, b) in enumerate(pairwise(ends))}


@given(sizes=sizes, least=st.floats(0.5, 50) | st.just(math.inf), first=st.integers(0, 9))
def test_buckets_are_the_vector_cut_from_its_end(
    sizes: list[int], least: float, first: int
) -> None:
    where = places(sizes, first)
    cut = buckets(where, least)
    assert [name for bucket in cut for name in sorted(bucket.names, key=int, reverse=True)] == [
        *reversed(where)
    ]
    ends = [first + sum(sizes), *(bucket.place.start for bucket in cut)]
    assert [bucket.place.stop for bucket in cut] == ends[:-1]
    assert ends[-1] == first or not cut
    for bucket in cut:
        first_of_it = min(bucket.names, key=int)
        assert bucket.place.start == where[first_of_it].start
    for bucket in cut[:-1]:
        held = bucket.place.stop - bucket.place.start
        last_in = where[min(bucket.names, key=int)]
        assert held >= least > held - (last_in.stop - last_in.start)
    assert least < math.inf or len(cut) <= 1


@pytest.mark.parametrize("least", [0, -1, math.nan])
def test_an_empty_bucket_is_refused(least: float) -> None:
    with pytest.raises(InputError, match="a bucket holds more than 0 numbers, not"):
        buckets(places([3]), least)
