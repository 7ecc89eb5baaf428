"""Every collective on real vectors, run by programs that exchange messages."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from every_collective import ALL, options
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import plans
from minidl.plans import Collective
from minidl.runtime import Processes, RankContext, Runtime, Traffic, Virtual, collective

each_collective = pytest.mark.parametrize("name", ALL)
LENGTHS = st.integers(0, 60)
few = settings(max_examples=8)  # of each of many collectives


def run(runtime: Runtime, plan: Collective, vectors: np.ndarray) -> np.ndarray:
    """What all ranks end with, when each begins with its row; bytes are as the plan says."""

    def make(context: RankContext) -> Generator[Any, Any, np.ndarray]:
        vector = vectors[context.rank].copy()
        yield from collective(plan, context.rank, vector, "collective")
        return vector

    outcome = runtime.launch(
        [make] * plan.size,
        shared={},
        channels=plan.channels(),
        listen=lambda rank, event: None,
    )
    sent = [traffic.get("collective", Traffic()).bytes for traffic in outcome.traffic]
    assert tuple(sent) == plans.bytes_sent(plan, vectors.shape[1], vectors.itemsize)
    return np.stack(outcome.results)


def check(runtime: Runtime, plan: Collective, length: int, dtype: str, seed: int) -> None:
    before = np.random.default_rng(seed).integers(-99, 99, (plan.size, length)).astype(dtype)
    after = run(runtime, plan, before)
    for chunk, part in enumerate(plan.slices(length)[: plan.chunks]):
        # Whole numbers this small are exact in every type, so any order of adding gives this.
        total = before[sorted(plan.sources[chunk]), part].sum(axis=0, dtype=dtype)
        for rank in plan.targets[chunk]:
            np.testing.assert_array_equal(after[rank, part], total)


@each_collective
@few
@given(
    size=st.integers(2, 8),
    length=LENGTHS,
    dtype=st.sampled_from(["f2", "f4", "f8", "i2", "i4", "i8", "c8"]),
    seed=st.integers(0, 99),
    unlimited=st.booleans(),
    draw=st.data(),
)
def test_vectors_end_where_they_are_promised(
    name: str, size: int, length: int, dtype: str, seed: int, unlimited: bool, draw: st.DataObject
) -> None:
    """From and to any root, on a torus of any shape, in any number of groups and pieces."""
    runtime = Virtual("unlimited", seed) if unlimited else Virtual()
    chosen = draw.draw(st.sampled_from(options(name, size)))
    check(runtime, ALL[name](size, **chosen), length, dtype, seed)


@each_collective
@pytest.mark.parametrize("length", [0, 1, 1001])
def test_vectors_end_there_between_processes(name: str, length: int) -> None:
    check(Processes(deadline=20, slots=2, slot_bytes=64), ALL[name](3), length, "f4", 0)


@few
@given(size=st.integers(1, 8), length=LENGTHS, dtype=st.sampled_from(["f4", "f8"]))
def test_all_algorithms_agree_to_the_bit_on_whole_numbers(
    size: int, length: int, dtype: str
) -> None:
    vectors = np.random.default_rng(size).integers(-999, 999, (size, length)).astype(dtype)
    results = {run(Virtual(), make(size), vectors).tobytes() for make in plans.ALL_REDUCES.values()}
    assert len(results) == 1


@pytest.mark.parametrize("name", plans.ALL_REDUCES)
@few
@given(size=st.integers(1, 8), length=LENGTHS, seed=st.integers(0, 99))
def test_all_ranks_end_with_the_same_bits(name: str, size: int, length: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(size, length)).astype("f4")
    after = run(Virtual(), ALL[name](size), vectors)
    assert (after == after[0]).all()
    # And the process that ends first does not change a bit of it.
    assert run(Virtual("unlimited", seed), ALL[name](size), vectors).tobytes() == after.tobytes()
