"""Collectives: proved for all small world sizes, run on numbers, priced by the formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import plans
from minidl.errors import InputError
from minidl.plans import Collective, formulas
from minidl.plans.rendezvous import Message, execute

SIZES = range(1, 10)
LENGTHS = st.integers(0, 40)
each_plan = pytest.mark.parametrize("make", plans.ALL_REDUCES.values(), ids=plans.ALL_REDUCES)


def run(plan: Collective, vectors: np.ndarray) -> np.ndarray:
    """What the ranks hold after the plan, by the order of messages with zero buffering."""
    vectors = vectors.copy()
    slices = plan.slices(vectors.shape[1])
    for event in execute(plan):
        assert isinstance(event, Message)
        part = slices[event.send.item]
        if event.receive.reduce:
            vectors[event.receiver, part] += vectors[event.sender, part]
        else:
            vectors[event.receiver, part] = vectors[event.sender, part]
    return vectors


@each_plan
@pytest.mark.parametrize("size", SIZES)
def test_every_rank_ends_with_the_sum(make: Callable[[int], Collective], size: int) -> None:
    plans.check_all_reduce(make(size))


@pytest.mark.parametrize("size", SIZES)
def test_the_ring_costs_what_the_formulas_say(size: int) -> None:
    costs = plans.check_all_reduce(plans.ring_all_reduce(size))
    assert costs.steps == formulas.ring_steps(size)
    assert costs.chunks_sent == (formulas.ring_steps(size),) * size
    assert costs.messages == size * formulas.ring_steps(size)


@pytest.mark.parametrize("size", SIZES)
def test_the_server_costs_what_the_formulas_say(size: int) -> None:
    costs = plans.check_all_reduce(plans.server_reduce(size))
    assert costs.steps == formulas.server_steps(size)
    assert costs.messages == formulas.server_bytes(size, 1)


@given(st.integers(1, 9), LENGTHS, st.sampled_from([2, 4, 8]))
def test_ring_bytes(size: int, length: int, itemsize: int) -> None:
    sent = plans.bytes_sent(plans.ring_all_reduce(size), length, itemsize)
    mean = formulas.ring_bytes(size, length * itemsize)
    assert sum(sent) == 2 * (size - 1) * length * itemsize
    assert all(abs(share - mean) < 2 * itemsize for share in sent)
    if length % size == 0:
        assert set(sent) == {mean}


@given(st.integers(1, 9), LENGTHS, st.sampled_from([2, 4, 8]))
def test_server_bytes(size: int, length: int, itemsize: int) -> None:
    sent = plans.bytes_sent(plans.server_reduce(size), length, itemsize)
    assert sent[0] + sum(sent[1:]) == formulas.server_bytes(size, length * itemsize)
    assert sent[0] == sum(sent[1:])


@each_plan
@given(size=st.integers(1, 9), length=LENGTHS, seed=st.integers(0, 1000))
def test_the_sum_of_numbers(
    make: Callable[[int], Collective], size: int, length: int, seed: int
) -> None:
    vectors = np.random.default_rng(seed).integers(-50, 50, (size, length))
    after = run(make(size), vectors)
    assert (after == vectors.sum(0)).all()


@each_plan
@given(size=st.integers(1, 9), length=LENGTHS, seed=st.integers(0, 1000))
def test_all_ranks_round_alike(
    make: Callable[[int], Collective], size: int, length: int, seed: int
) -> None:
    after = run(make(size), np.random.default_rng(seed).normal(size=(size, length)))
    assert (after == after[0]).all()


def test_the_server_adds_in_rank_order() -> None:
    vectors = np.array([[1e16], [1.0], [-1e16], [3.0]])
    assert run(plans.server_reduce(4), vectors)[0, 0] == ((1e16 + 1.0) - 1e16) + 3.0


@given(st.integers(0, 100), st.integers(1, 12))
def test_split_cuts_evenly_and_leaves_nothing_out(length: int, parts: int) -> None:
    slices = plans.split(length, parts)
    sizes = [part.stop - part.start for part in slices]
    assert [i for part in slices for i in range(length)[part]] == list(range(length))
    assert len(sizes) == parts and max(sizes) - min(sizes) <= 1


@each_plan
@pytest.mark.parametrize("size", [0, -1, 1.5, "2", True, None])
def test_an_impossible_size_is_refused(make: Callable[[int], Collective], size: object) -> None:
    with pytest.raises(InputError, match="at least 1, not"):
        make(size)  # type: ignore[arg-type]
