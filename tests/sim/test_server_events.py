"""Events in virtual time: every mini-batch has its story, told in order, from the seed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import InputError, PlanError
from minidl.plans import (
    Async,
    Decision,
    FullySync,
    KAsync,
    KBatchAsync,
    KBatchSync,
    KSync,
    Push,
    Rule,
    Softsync,
    State,
)
from minidl.sim import (
    Apply,
    Arrive,
    Cancel,
    Constant,
    Exponential,
    Law,
    ShiftedExponential,
    SlowWorkers,
    Start,
    server_events,
    simulate_server,
)
from minidl.sim.server import APPLIED, CANCELLED, UNFINISHED

RULES = (FullySync(), Async(), KSync(2), KAsync(2), KBatchSync(3), KBatchAsync(3), Softsync(2))
LAWS = (
    Constant(0), Constant(1), Exponential(), ShiftedExponential(1), SlowWorkers(Constant(1), {0: 3})
)  # fmt: skip
runs = {
    "rule": st.sampled_from(RULES),
    "law": st.sampled_from(LAWS),
    "learners": st.integers(2, 6),
    "seed": st.integers(0, 99),
}


@given(**runs)
def test_every_mini_batch_starts_and_ends_once(
    rule: Rule, law: Law, learners: int, seed: int
) -> None:
    events = list(islice(server_events(rule, law, learners, seed=seed), 300))
    assert events == list(islice(server_events(rule, law, learners, seed=seed), 300))
    now, version = 0.0, 0
    begun: dict[Push, float] = {}
    arrived: set[Push] = set()
    ended: set[Push] = set()
    for event in events:
        assert event.time >= now
        now = event.time
        match event:
            case Start(push=push):
                assert push not in begun
                assert push.version == version
                # A learner counts its mini-batches, and has one at a time.
                mine = [other for other in begun if other.learner == push.learner]
                assert push.number == len(mine)
                assert all(other in arrived | ended for other in mine)
                begun[push] = now
            case Arrive(push=push):
                assert push not in arrived | ended
                took = law.draw(seed, push.learner, push.number)
                assert now == begun[push] + took
                arrived.add(push)
            case Apply(pushes=pushes):
                assert event.version == version + 1
                version += 1
                assert set(pushes) <= arrived - ended and len(set(pushes)) == len(pushes)
                ended |= set(pushes)
            case Cancel(push=push):
                assert push in begun and push not in arrived | ended
                ended.add(push)
    at_work = set(begun) - arrived - ended
    assert len({push.learner for push in at_work}) == len(at_work)
    assert version > 0


@given(updates=st.integers(1, 20), **runs)
def test_a_run_is_its_events(rule: Rule, law: Law, learners: int, seed: int, updates: int) -> None:
    run = simulate_server(rule, law, learners, updates, seed=seed)
    assert run.learners == learners
    applies, cancels, starts = [], [], 0
    for event in server_events(rule, law, learners, seed=seed):
        if len(applies) == updates and not isinstance(event, Cancel):
            break
        applies += [event] if isinstance(event, Apply) else []
        cancels += [event.push] if isinstance(event, Cancel) else []
        starts += isinstance(event, Start)
    assert run.times.tolist() == [apply.time for apply in applies]
    assert run.seconds_per_update == run.times[-1] / updates
    assert len(run.work) == starts
    assert run.cancelled == len(cancels)
    applied = [(p, a.version) for a in applies for p in a.pushes]
    assert sorted(run.staleness) == sorted(version - 1 - p.version for p, version in applied)
    assert np.array_equal(
        np.add.reduceat(run.staleness, np.cumsum([0, *(len(a.pushes) for a in applies)])[:-1]),
        [sum(a.version - 1 - p.version for p in a.pushes) for a in applies],
    )
    fates = {fate: run.work[run.work["fate"] == fate] for fate in (APPLIED, CANCELLED, UNFINISHED)}
    assert {
        (Push(int(w["learner"]), int(w["version"]), int(w["number"])), int(w["update"]))
        for w in fates[APPLIED]
    } == set(applied)
    assert (fates[CANCELLED]["update"] == -1).all() and (fates[UNFINISHED]["update"] == -1).all()
    assert (run.work["stop"] >= run.work["start"]).all()
    assert run.work["stop"].max() == run.times[-1]
    assert 0 <= run.wasted <= 1
    assert (run.wasted > 0) <= (run.cancelled > 0)


def test_a_slow_learner_by_hand() -> None:
    """2-sync of three, of which one needs 3 s where the others need 1: its work is lost twice."""
    law = SlowWorkers(Constant(1), {0: 3})
    run = simulate_server(KSync(2), law, 3, 2)
    assert run.times.tolist() == [1, 2]
    assert run.work.tolist() == [
        (0, 0, 0, 0.0, 1.0, CANCELLED, -1),
        (1, 0, 0, 0.0, 1.0, APPLIED, 1),
        (2, 0, 0, 0.0, 1.0, APPLIED, 1),
        (0, 1, 1, 1.0, 2.0, CANCELLED, -1),
        (1, 1, 1, 1.0, 2.0, APPLIED, 2),
        (2, 1, 1, 1.0, 2.0, APPLIED, 2),
    ]
    assert run.cancelled == 2 and run.wasted == pytest.approx(1 / 3)
    # Left alone it is heard at its third second, three updates late.
    assert simulate_server(KAsync(2), law, 3, 4).staleness.tolist() == [0, 0, 0, 0, 2, 0, 1, 0]


@dataclass(frozen=True)
class DropStale:
    """A rule of one's own: asynchronous, but a gradient that missed too many updates is dropped."""

    most: int

    def start(self, learners: int) -> State:
        return State(learners)

    def push(
        self, state: State, learner: int, version: int, number: int = 0
    ) -> tuple[State, Decision]:
        push = Push(learner, version, number)
        if state.version - version > self.most:
            return state, Decision(state.version, drop=(push,), release=(learner,))
        after = State(state.learners, state.version + 1)
        return after, Decision(after.version, apply=(push,), release=(learner,))


def test_a_gradient_that_is_dropped_on_arrival_is_cancelled() -> None:
    run = simulate_server(DropStale(5), Exponential(), 8, 500)
    assert run.staleness.max() == 5
    lost = run.work[run.work["fate"] == CANCELLED]
    assert len(lost) == run.cancelled > 50
    times = [Exponential().draw(0, int(w["learner"]), int(w["number"])) for w in lost]
    np.testing.assert_allclose(lost["stop"] - lost["start"], times)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Decision(0), "no learner is at work, and update 1 will never come"),
        (Decision(0, release=(0, 0)), "releases learner 0, which is at work"),
        (Decision(0, cancel=(0,)), "cancels learner 0, which is not at work"),
        (Decision(1, (Push(0, 0, 1),)), "Push.* number=1., which is not there to be used"),
        (Decision(1, (Push(0, 0, 0),) * 2), "Push.* number=0., which is not there to be used"),
        (Decision(1, (Push(0, 0, 0),), drop=(Push(0, 0, 0),)), "is not there to be used"),
    ],
)
def test_a_rule_that_does_nonsense_is_found_out(answer: Decision, message: str) -> None:
    class Nonsense(FullySync):
        def push(self, state: State, *push: int) -> tuple[State, Decision]:
            return state, answer

    with pytest.raises(PlanError, match=message):
        simulate_server(Nonsense(), Constant(1), 1, 1)


def test_bad_runs_are_refused() -> None:
    with pytest.raises(InputError, match="updates must be .* at least 1, not 0"):
        simulate_server(Async(), Constant(1), 1, 0)
    with pytest.raises(InputError, match="from 1 to the 3 learners, not 4"):
        simulate_server(KSync(4), Constant(1), 3, 1)
