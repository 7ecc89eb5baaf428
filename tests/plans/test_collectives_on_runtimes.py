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
few = settings(max_examples=4)  # of each of many collectives


def run(runtime: Runtime, plan: Collective, *vectors: np.ndarray) -> list[np.ndarray]:
    """What all ranks end with, one collective after the other; bytes are as the plan says.

    In each of them a rank begins with its row.
    """

    def make(context: RankContext) -> Generator[Any, Any, list[np.ndarray]]:
        own = [rows[context.rank].copy() for rows in vectors]
        for number, vector in enumerate(own):
            yield from collective(plan, context.rank, vector, f"collective {number}")
        return own

    outcome = runtime.launch(
        [make] * plan.size,
        shared={},
        channels=plan.channels(),
        listen=lambda rank, event: None,
    )
    for number, rows in enumerate(vectors):
        operation = f"collective {number}"
        sent = [traffic.get(operation, Traffic()).bytes for traffic in outcome.traffic]
        assert tuple(sent) == plans.bytes_sent(plan, rows.shape[1], rows.itemsize)
    return [np.stack(ends) for ends in zip(*outcome.results, strict=True)]


def check(runtime: Runtime, plan: Collective, lengths: list[int], dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = [rng.integers(-99, 99, (plan.size, length)).astype(dtype) for length in lengths]
    for before, after in zip(vectors, run(runtime, plan, *vectors), strict=True):
        for chunk, part in enumerate(plan.slices(before.shape[1])[: plan.chunks]):
            # Whole numbers this small are exact in every type: any order of adding gives this.
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
    check(runtime, ALL[name](size, **chosen), [length], dtype, seed)


@each_collective
def test_vectors_end_there_between_processes(name: str) -> None:
    check(Processes(deadline=20, slots=2, slot_bytes=64), ALL[name](3), [0, 1, 1001], "f4", 0)


@pytest.mark.parametrize("name", plans.ALL_REDUCES)
@few
@given(size=st.integers(1, 8), length=LENGTHS, seed=st.integers(0, 99))
def test_all_ranks_end_with_the_same_bits(name: str, size: int, length: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(size, length)).astype("f4")
    (after,) = run(Virtual(), ALL[name](size), vectors)
    assert (after == after[0]).all()
    # And the process that ends first does not change a bit of it.
    (again,) = run(Virtual("unlimited", seed), ALL[name](size), vectors)
    assert again.tobytes() == after.tobytes()
