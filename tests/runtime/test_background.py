"""Exchanges launched beside a program, and links that take their time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launching import SMALL_SLOTS, Program, each_runtime, launch

from minidl import plans
from minidl.errors import InputError, MessageMismatchError, PlanError, WorkerError
from minidl.plans import Link
from minidl.runtime import (
    Exchange,
    Incoming,
    Launch,
    Outgoing,
    Processes,
    RankContext,
    ReceiveAny,
    Report,
    Runtime,
    Virtual,
    collective,
)

pytestmark = pytest.mark.timeout(60)
lengths = st.lists(st.tuples(st.booleans(), st.integers(0, 90)), max_size=12)


def sums(length_and_launched: list[tuple[bool, int]]) -> Callable[[RankContext], Program]:
    """All-reduces one after the other, some of them launched."""

    def make(context: RankContext) -> Program:
        plan = plans.ring_all_reduce(context.size)
        vectors = [
            np.random.default_rng((number, context.rank)).normal(size=length)
            for number, (_, length) in enumerate(length_and_launched)
        ]
        for (launched, _), vector in zip(length_and_launched, vectors, strict=True):
            requests = collective(plan, context.rank, vector, "sum")
            if launched:
                yield Launch(requests)
            else:
                yield from requests
        yield Exchange(())
        return np.concatenate([*vectors, []])

    return make


@settings(max_examples=10)
@given(drawn=lengths, size=st.integers(1, 4), seed=st.none() | st.integers(0, 99))
def test_launched_or_not_the_sums_are_the_same(
    drawn: list[tuple[bool, int]], size: int, seed: int | None
) -> None:
    expected = launch(Virtual(), *[sums([(False, length) for _, length in drawn])] * size)
    for runtime in (Virtual("none", seed), Virtual("unlimited", seed), SMALL_SLOTS):
        outcome = launch(runtime, *[sums(drawn)] * size)
        np.testing.assert_array_equal(outcome.results, expected.results)
        assert outcome.traffic == expected.traffic


@each_runtime
def test_a_program_goes_on_beside_what_it_launched(runtime: Runtime) -> None:
    """Rank 0 would wait for ever if its receive were not beside its send."""

    def first(context: RankContext) -> Program:
        got, told = np.zeros(3), np.zeros(1)
        yield Launch(each for each in [Exchange((Incoming(1, got, "late"),))])
        yield Report("still here")
        yield Launch(each for each in [Exchange((Incoming(1, told, "later"),))])
        yield Exchange(())
        return got.sum() + told[0]

    def second(context: RankContext) -> Program:
        yield Exchange((Outgoing(0, np.ones(3), "late"),))
        # Nobody waits for the last message but what was launched.
        yield Launch(each for each in [Exchange((Outgoing(0, np.ones(1), "later"),))])

    heard: list[str] = []
    outcome = launch(runtime, first, second, listen=lambda rank, event: heard.append(event))
    assert outcome.results[0] == 4
    assert heard == ["still here"]


@each_runtime
def test_a_program_ends_when_all_that_it_launched_has(runtime: Runtime) -> None:
    def returning(context: RankContext) -> Program:
        vector = np.ones(50)
        yield Launch(collective(plans.ring_all_reduce(2), context.rank, vector, "sum"))
        return vector

    first, second = launch(runtime, returning, returning).results
    assert (first == 2).all() and (second == 2).all()


@each_runtime
def test_what_fails_beside_a_program_is_the_ranks_error(runtime: Runtime) -> None:
    def dividing(context: RankContext) -> Program:
        yield Exchange(())
        raise ZeroDivisionError("one over nothing")

    def reporting(context: RankContext) -> Program:
        yield Report("not from here")

    def wrong(context: RankContext) -> Program:
        if context.rank:
            yield Exchange((Incoming(0, np.zeros(2), "x"),))
        else:
            yield Exchange((Outgoing(1, np.zeros(3), "x"),))

    for requests, kind, message in (
        (dividing, WorkerError, "ZeroDivisionError: one over nothing"),
        (reporting, PlanError, "what it launches the first two, not Report"),
        (wrong, MessageMismatchError, "shape"),
    ):

        def program(context: RankContext, requests: Callable[..., Program] = requests) -> Program:
            yield Launch(requests(context))
            yield Exchange(())

        with pytest.raises(kind, match=message):
            launch(runtime, program, program)


@pytest.mark.parametrize(("algorithm", "in_turn"), [("ring", 4), ("full", 2), ("tree", 2)])
@pytest.mark.parametrize("link", [Link(0.05, math.inf), Link(0, 6e5)], ids=["late", "narrow"])
def test_messages_take_no_less_than_the_links_time(
    link: Link, algorithm: str, in_turn: int
) -> None:
    """A message that answers another waits for it; all that a rank sends shares its one link."""
    plan = plans.all_reduce(3, algorithm)

    def timed(context: RankContext) -> Program:
        vector = np.ones(30_000, np.float32)
        yield Exchange(())
        began = time.perf_counter()
        yield from collective(plan, context.rank, vector, "sum")
        assert (vector == 3).all()
        return time.perf_counter() - began

    took = launch(Processes(deadline=10, link=link), timed, timed, timed).results
    assert plan.cost is not None
    # A neighbour may have begun earlier, but not all of them.
    assert max(took) >= in_turn * link.latency
    assert max(took) >= max(plan.cost.sent(120_000)) / link.bandwidth


def test_a_message_on_its_way_is_no_deadlock() -> None:
    link = Link(latency=1.2, bandwidth=math.inf)

    def swap(context: RankContext) -> Program:
        got, peer = np.zeros(1), 1 - context.rank
        yield Exchange((Outgoing(peer, np.ones(1), "x"), Incoming(peer, got, "x")))
        return got[0]

    assert launch(Processes(deadline=10, link=link), swap, swap).results == (1, 1)


def test_a_link_slower_than_the_deadline_is_named_as_the_cause() -> None:
    """Not who has sent, and is waiting or done; whoever waits behind the first receiver is told."""

    size = 3

    def onward(context: RankContext) -> Program:
        number = np.zeros(1)
        if context.rank:
            yield Exchange((Incoming(context.rank - 1, number, "x"),))
        if context.rank + 1 < size:
            yield Exchange((Outgoing(context.rank + 1, number, "x"),))

    def swap(context: RankContext) -> Program:
        peers = [rank for rank in range(size) if rank != context.rank]
        sends = [Outgoing(peer, np.zeros(1), "x") for peer in peers]
        yield Exchange((*sends, *[Incoming(peer, np.zeros(1), "x") for peer in peers]))

    runtime = Processes(deadline=1, link=Link(latency=30, bandwidth=math.inf))
    for program in (onward, swap):
        with pytest.raises(WorkerError, match=r"^rank \d waits for what is on its way .* link"):
            launch(runtime, *[program] * size)


@pytest.mark.parametrize(
    ("latency", "bandwidth", "message"),
    [
        (-1e-6, 1e9, "latency must be at least 0 seconds, not -1e-06"),
        (math.nan, 1e9, "latency must be at least 0 seconds, not nan"),
        (math.inf, 1e9, "latency must be at least 0 seconds, not inf"),
        (0, 0, "bandwidth must be above 0 bytes a second, not 0"),
        (0, math.nan, "bandwidth must be above 0 bytes a second, not nan"),
    ],
)
def test_an_impossible_link_is_refused(latency: float, bandwidth: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Link(latency, bandwidth)


@each_runtime
def test_what_was_answered_last_is_not_the_next_launchs(runtime: Runtime) -> None:
    def first(context: RankContext) -> Program:
        got = {1: np.zeros(1)}
        for _ in range(2):
            yield Launch(each for each in [ReceiveAny(got, "x")])
            yield Exchange(())
        return got[1][0]

    def second(context: RankContext) -> Program:
        for number in range(2):
            yield Exchange((Outgoing(0, np.full(1, 1.0 + number), "x"),))

    assert launch(runtime, first, second).results == (2, None)
