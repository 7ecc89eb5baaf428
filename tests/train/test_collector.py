"""What ranks report is added up in their order, whoever comes first."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from cases import DISTRIBUTED, network, samples, strategy, trainer
from hypothesis import given
from hypothesis import strategies as st

from minidl import rng
from minidl.plans import split
from minidl.runtime import Processes
from minidl.strategy import EpochDone, Event, StepDone, Verdict
from minidl.tasks import Sums
from minidl.train.collector import Collector
from minidl.train.history import History
from minidl.train.progress import Silent

BATCH, STEPS = 6, 4


def collected(arrivals: list[int], ranks: int) -> History:
    """The history of an epoch of four steps, whose reports come in this order of ranks."""
    made = trainer()
    made.predict(samples())
    job = made._job(samples(), None, 1, BATCH)
    collector = Collector(job, "ring", Silent(), np.zeros(1), lambda _: Verdict(False, 1.0))
    reports: dict[int, list[Event]] = {rank: [] for rank in range(ranks)}
    for rank, mine in reports.items():
        losses = rng.stream(0, "losses", rank).exponential(size=STEPS + 1)
        for step in range(STEPS):
            size = min(BATCH, len(samples()) - step * BATCH)
            shard = split(size, ranks)[rank]
            count = shard.stop - shard.start
            sums = Sums.over(count, {"loss": float(losses[step])}) if count else Sums()
            mine.append(StepDone(0, step, size, sums))
        validation = Sums.over(3, {"loss": float(losses[STEPS])})
        mine.append(EpochDone(0, ranks, 1.0, validation, began=0.0))
    for rank in [*arrivals, *sorted(reports) * (STEPS + 1)]:
        if reports[rank] and collector.hear(rank, reports[rank].pop(0)):
            collector.keep(1, np.zeros(1))
    assert not collector._parts and not collector._times  # nothing of what is complete is left
    return collector.finished().history


@given(data=st.data(), ranks=st.integers(2, 8))
def test_equal_reports_in_any_order_give_one_history(data: Any, ranks: int) -> None:
    arrivals = data.draw(st.lists(st.integers(0, ranks - 1), max_size=40))
    found, expected = collected(arrivals, ranks), collected([], ranks)
    assert found.to_json() == expected.to_json()
    # By the formula: each step's parts by rank, the epoch's steps by number.
    losses = [rng.stream(0, "losses", rank).exponential(size=STEPS + 1) for rank in range(ranks)]
    totals = [0.0] * STEPS
    for step in range(STEPS):
        present = min(ranks, BATCH, len(samples()) - step * BATCH)
        for rank in range(present):
            totals[step] += losses[rank][step]
    record = found.last()
    assert record.train["loss"] == reduce(add, totals) / len(samples())
    assert record.validation is not None
    assert record.validation["loss"] == reduce(add, [own[STEPS] for own in losses]) / (3 * ranks)


@pytest.mark.slow
@pytest.mark.timeout(100)
@pytest.mark.parametrize("name", DISTRIBUTED)
def test_equal_runs_on_processes_have_equal_histories(name: str) -> None:
    def figures() -> list[Any]:
        made, chosen = trainer(network()), strategy(name, Processes(deadline=30))
        made.fit(samples(), epochs=4, batch_size=5, validation=samples(9), strategy=chosen)
        records = made.history.epochs
        return [list(made.history.losses), [(each.train, each.validation) for each in records]]

    assert figures() == figures()
