"""Server rules, whatever the order of arrival: no gradient is lost, and no learner is stuck."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

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
)

WAIT = (FullySync, KSync, KAsync)
"""Where a learner that pushed waits for the update."""
CANCEL = (KSync, KBatchSync)
"""Where an update stops the learners at work."""


@st.composite
def rules(draw: st.DrawFn, learners: int) -> Rule:
    """Any rule that can serve so many learners."""
    kind = draw(
        st.sampled_from([FullySync, Async, KSync, KAsync, KBatchSync, KBatchAsync, Softsync])
    )
    if kind in (FullySync, Async):
        return kind()
    return kind(
        draw(st.integers(1, 2 * learners if kind in (KBatchSync, KBatchAsync) else learners))
    )


def needed(rule: Rule, learners: int) -> int:
    """How many gradients an update is made of."""
    match rule:
        case FullySync():
            return learners
        case Async():
            return 1
        case Softsync(n):
            return learners // n
        case KSync(k) | KAsync(k) | KBatchSync(k) | KBatchAsync(k):
            return k
    raise AssertionError(rule)


class Machine(RuleBasedStateMachine):
    """Learners that push in any order, and hear late that they were cancelled, or in time."""

    @initialize(data=st.data(), learners=st.integers(1, 6))
    def start(self, data: st.DataObject, learners: int) -> None:
        self.rule = data.draw(rules(learners))
        self.state = self.rule.start(learners)
        self.learners = learners
        self.numbers = count()
        self.working = {i: Push(i, 0, next(self.numbers)) for i in range(learners)}
        self.on_their_way: list[Push] = []
        self.pushed: list[Push] = []
        self.applied: list[Push] = []
        self.dropped: list[Push] = []
        self.stopped: list[Push] = []

    def deliver(self, push: Push) -> Decision:
        self.pushed.append(push)
        self.state, decision = self.rule.push(self.state, push.learner, push.version, push.number)
        self.applied += decision.apply
        self.dropped += decision.drop
        return decision

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def a_learner_pushes(self, data: st.DataObject) -> None:
        learner = data.draw(st.sampled_from(sorted(self.working)))
        before, working = self.state, dict(self.working)
        decision = self.deliver(self.working.pop(learner))
        for stopped in decision.cancel:
            push = self.working.pop(stopped)
            (self.on_their_way if data.draw(st.booleans()) else self.stopped).append(push)
        for released in decision.release:
            assert released not in self.working
            fresh = Push(released, self.state.version, next(self.numbers))
            self.working[released] = fresh
        count = needed(self.rule, self.learners)
        assert not decision.drop
        assert decision.version == self.state.version
        if len(before.waiting) + 1 < count:
            assert decision.apply == decision.cancel == ()
            assert decision.release == (() if isinstance(self.rule, WAIT) else (learner,))
            assert self.state.version == before.version
            assert decision.weight == 0
            return
        assert decision.apply == tuple(sorted(decision.apply)) and len(decision.apply) == count
        assert decision.weight * count == pytest.approx(1)
        assert self.state.version == before.version + 1
        assert decision.staleness == tuple(before.version - p.version for p in decision.apply)
        if isinstance(self.rule, WAIT):
            assert len({push.learner for push in decision.apply}) == count
        if isinstance(self.rule, CANCEL):
            assert decision.release == tuple(range(self.learners))
            assert set(decision.cancel) == set(working) - {learner}
        else:
            assert decision.cancel == ()

    @precondition(lambda self: self.on_their_way)
    @rule(data=st.data())
    def a_cancelled_gradient_arrives_late(self, data: st.DataObject) -> None:
        before = self.state
        late = self.on_their_way.pop(data.draw(st.integers(0, len(self.on_their_way) - 1)))
        assert self.deliver(late) == Decision(before.version, drop=(late,))
        assert self.state == before

    @precondition(lambda self: len(self.working) < self.learners)
    @rule(data=st.data())
    def who_waits_may_not_push(self, data: st.DataObject) -> None:
        waiting = sorted(set(range(self.learners)) - set(self.working))
        learner = data.draw(st.sampled_from(waiting))
        with pytest.raises(PlanError, match=f"learner {learner} pushed a second gradient"):
            self.rule.push(self.state, learner, self.state.version)

    @rule(data=st.data())
    def weights_that_never_were(self, data: st.DataObject) -> None:
        ahead = st.integers(self.state.version + 1, self.state.version + 3)
        version = data.draw(st.just(-1) | ahead)
        with pytest.raises(PlanError, match=f"of version {version}"):
            self.rule.push(self.state, 0, version)

    @rule(beyond=st.integers(0, 3))
    def a_stranger_pushes(self, beyond: int) -> None:
        with pytest.raises(PlanError, match="came from learner"):
            self.rule.push(self.state, self.learners + beyond, self.state.version)

    @invariant()
    def every_gradient_is_applied_or_cancelled_once_or_waits(self) -> None:
        kept = [*self.applied, *self.dropped, *self.state.waiting]
        assert sorted(kept) == sorted(self.pushed)
        # Every mini-batch that was ever begun is somewhere, and at one place only.
        at_work = [*self.working.values(), *self.on_their_way, *self.stopped]
        numbers = [push.number for push in [*kept, *at_work]]
        assert len(set(numbers)) == len(numbers)
        assert max(numbers) + 1 == len(numbers)
        assert len(self.applied) == needed(self.rule, self.learners) * self.state.version

    @invariant()
    def no_learner_is_stuck(self) -> None:
        """Any k - waiting further pushes make an update, after which all are at work."""
        missing = needed(self.rule, self.learners) - len(self.state.waiting)
        assert missing >= 1
        idle = set(range(self.learners)) - set(self.working)
        assert idle <= {push.learner for push in self.state.waiting}
        if isinstance(self.rule, WAIT):
            assert missing <= len(self.working)
        else:
            assert not idle

    @invariant()
    def only_the_newest_weights_are_used_where_others_are_stopped(self) -> None:
        if isinstance(self.rule, (*CANCEL, FullySync)):
            current = [*self.state.waiting, *self.working.values()]
            assert {push.version for push in current} <= {self.state.version}


TestRules = Machine.TestCase


@given(data=st.data(), learners=st.integers(1, 6))
def test_rules_that_are_the_same_where_all_must_push(data: st.DataObject, learners: int) -> None:
    """K-sync and K-async with K = P are fully sync; P-softsync and K-batch-async with 1, async."""
    families = [
        [FullySync(), KSync(learners), KAsync(learners)],
        [Async(), Softsync(learners), KBatchAsync(1)],
        [KBatchAsync(learners), Softsync(1)],
    ]
    for same in families:
        states = [rule.start(learners) for rule in same]
        fetched: dict[int, int] = dict.fromkeys(range(learners), 0)
        for _ in range(20):
            learner = data.draw(st.sampled_from(sorted(fetched)))
            version = fetched.pop(learner)
            answers = [
                rule.push(state, learner, version) for rule, state in zip(same, states, strict=True)
            ]
            assert all(answer == answers[0] for answer in answers)
            states = [state for state, _ in answers]
            decision = answers[0][1]
            fetched |= dict.fromkeys(decision.release, decision.version)


def test_one_round_of_two_learners() -> None:
    fully_sync = FullySync()
    state, decision = fully_sync.push(fully_sync.start(2), 1, 0)
    assert decision == Decision(0)
    state, decision = fully_sync.push(state, 0, 0)
    assert decision == Decision(1, apply=(Push(0, 0), Push(1, 0)), release=(0, 1))
    assert (state.version, state.waiting) == (1, ())


def test_fully_sync_refuses_old_weights() -> None:
    fully_sync = FullySync()
    state, _ = fully_sync.push(fully_sync.start(1), 0, 0)
    with pytest.raises(PlanError, match="all gradients are of the newest version 1"):
        fully_sync.push(state, 0, 0)


def test_a_quick_learner_may_fill_a_k_batch_by_itself() -> None:
    """The two gradients are of one learner and version: only their numbers differ."""
    k_batch_sync = KBatchSync(2)
    state, decision = k_batch_sync.push(k_batch_sync.start(3), 1, 0, 0)
    assert decision == Decision(0, release=(1,))
    state, decision = k_batch_sync.push(state, 1, 0, 1)
    assert decision == Decision(
        1, apply=(Push(1, 0, 0), Push(1, 0, 1)), cancel=(0, 2), release=(0, 1, 2)
    )


def test_softsync_rounds_down() -> None:
    """Seven learners and n = 2: an update after three gradients."""
    softsync = Softsync(2)
    state = softsync.start(7)
    for learner, version in ((0, 0), (1, 0), (2, 1)):
        state, _ = softsync.push(state, learner, 0)
        assert state.version == version


@pytest.mark.parametrize("rule", [FullySync(), Async(), KSync(1), KBatchAsync(1), Softsync(1)])
def test_a_server_without_learners_is_refused(rule: Rule) -> None:
    with pytest.raises(InputError, match="at least 1 learner, not 0"):
        rule.start(0)


@pytest.mark.parametrize("value", [0, -1, 5, 1.5, True, "2"])
@pytest.mark.parametrize(
    ("kind", "setting"),
    [(KSync, "k"), (KAsync, "k"), (Softsync, "n"), (KBatchSync, "k"), (KBatchAsync, "k")],
)
def test_settings_that_cannot_be_are_refused(kind: type, setting: str, value: object) -> None:
    batch = kind in (KBatchSync, KBatchAsync)
    if batch and value == 5:
        assert kind(value).start(4).learners == 4
        return
    allowed = "of at least 1" if batch else "from 1 to the 4 learners"
    message = f"^{kind.__name__}: {setting} is a whole number {allowed}, not {value!r}$"
    with pytest.raises(InputError, match=message):
        kind(value).start(4)
