"""Server rules, whatever the order of arrival: no gradient is lost, and no learner is stuck,
even if other learners are lost."""

from __future__ import annotations

from itertools import count
from typing import ClassVar

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
    LastingRule,
    Push,
    Rule,
    Softsync,
)

WAIT = (FullySync, KSync, KAsync)
"""Where a learner that pushed waits for the update."""
CANCEL = (KSync, KBatchSync)
"""Where an update stops the learners at work."""


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
    """Learners that push in any order, hear late that they were cancelled, or in time, and die."""

    kind: ClassVar[type]

    @initialize(data=st.data(), learners=st.integers(1, 6))
    def start(self, data: st.DataObject, learners: int) -> None:
        most = 2 * learners if self.kind in (KBatchSync, KBatchAsync) else learners
        setting = () if self.kind in (FullySync, Async) else (data.draw(st.integers(1, most)),)
        self.rule = self.kind(*setting)
        self.state = self.rule.start(learners)
        self.learners = learners
        self.numbers = count()
        self.working = {i: Push(i, 0, next(self.numbers)) for i in range(learners)}
        self.on_their_way: list[Push] = []
        self.pushed: list[Push] = []
        self.applied: list[Push] = []
        self.dropped: list[Push] = []
        self.stopped: list[Push] = []
        self.gone: list[Push] = []
        self.left = set(range(learners))

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
            assert decision.release == tuple(sorted(self.left))
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

    @rule(data=st.data())
    def a_learner_is_lost(self, data: st.DataObject) -> None:
        """At work, while it waits, or while its gradient is on the way, which goes with it."""
        learner = data.draw(st.sampled_from(sorted(self.left)))
        least = needed(self.rule, self.learners) if isinstance(self.rule, WAIT) else 1
        if len(self.left) - 1 < least:
            message = f"needs {least} of the {self.learners} learners .* and \\d+ would be left"
            with pytest.raises(PlanError, match=message):
                self.rule.lose(self.state, learner)
            return
        before, self.state = self.state, self.rule.lose(self.state, learner)
        assert (self.state.version, self.state.waiting) == (before.version, before.waiting)
        self.left.remove(learner)
        gone = [push for push in self.on_their_way if push.learner == learner]
        self.on_their_way = [push for push in self.on_their_way if push.learner != learner]
        self.gone += gone + ([self.working.pop(learner)] if learner in self.working else [])

    @rule(data=st.data(), beyond=st.integers(0, 3))
    def pushes_that_no_rule_allows(self, data: st.DataObject, beyond: int) -> None:
        version = self.state.version
        for learner in set(range(self.learners)) - self.left:
            with pytest.raises(PlanError, match=f"from learner {learner}, which is lost"):
                self.rule.push(self.state, learner, version)
            with pytest.raises(PlanError, match=f"learner {learner} was lost, but there are only"):
                self.rule.lose(self.state, learner)
        for learner in self.left - set(self.working):
            with pytest.raises(PlanError, match=f"learner {learner} pushed a second gradient"):
                self.rule.push(self.state, learner, version)
        for never in (-1, version + 1 + beyond):
            with pytest.raises(PlanError, match=f"of version {never}"):
                self.rule.push(self.state, min(self.left), never)
        for stranger in (-1, self.learners + beyond):
            with pytest.raises(PlanError, match=f"came from learner {stranger}"):
                self.rule.push(self.state, stranger, version)

    @invariant()
    def every_gradient_is_applied_or_cancelled_once_or_waits(self) -> None:
        kept = [*self.applied, *self.dropped, *self.state.waiting]
        assert sorted(kept) == sorted(self.pushed)
        # Every mini-batch that was ever begun is somewhere, and at one place only.
        at_work = [*self.working.values(), *self.on_their_way, *self.stopped, *self.gone]
        numbers = [push.number for push in [*kept, *at_work]]
        assert len(set(numbers)) == len(numbers)
        assert max(numbers) + 1 == len(numbers)
        assert len(self.applied) == needed(self.rule, self.learners) * self.state.version

    @invariant()
    def no_learner_is_stuck(self) -> None:
        """Any k - waiting further pushes make an update, after which all are at work."""
        missing = needed(self.rule, self.learners) - len(self.state.waiting)
        assert missing >= 1
        idle = self.left - set(self.working)
        assert set(self.working) <= self.left
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


class KSyncMachine(Machine):
    kind = KSync


class KBatchSyncMachine(Machine):
    kind = KBatchSync


class KAsyncMachine(Machine):
    kind = KAsync


class KBatchAsyncMachine(Machine):
    kind = KBatchAsync


class SoftsyncMachine(Machine):
    kind = Softsync


class AsyncMachine(Machine):
    kind = Async


class FullySyncMachine(Machine):
    kind = FullySync


TestKSync = KSyncMachine.TestCase
TestKBatchSync = KBatchSyncMachine.TestCase
TestKAsync = KAsyncMachine.TestCase
TestKBatchAsync = KBatchAsyncMachine.TestCase
TestSoftsync = SoftsyncMachine.TestCase
TestAsync = AsyncMachine.TestCase
TestFullySync = FullySyncMachine.TestCase


@pytest.mark.parametrize("rule", [KSync(1), KBatchSync(1)])
def test_a_cancelled_learners_late_gradient_is_dropped(rule: Rule) -> None:
    state, decision = rule.push(rule.start(2), 0, 0)
    assert decision == Decision(1, apply=(Push(0, 0),), cancel=(1,), release=(0, 1))
    assert rule.push(state, 1, 0) == (state, Decision(1, drop=(Push(1, 0),)))
    state, decision = rule.push(state, 1, 1, 1)
    assert decision == Decision(2, apply=(Push(1, 1, 1),), cancel=(0,), release=(0, 1))


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


@pytest.mark.parametrize("rule", [KSync(2), KAsync(2)])
def test_what_a_lost_learner_has_pushed_still_counts(rule: LastingRule) -> None:
    state, _ = rule.push(rule.start(3), 1, 0)
    state, decision = rule.push(rule.lose(state, 1), 2, 0)
    assert decision.apply == (Push(1, 0), Push(2, 0))
    assert decision.release == ((0, 2) if isinstance(rule, KSync) else (2,))
    assert decision.cancel == ((0,) if isinstance(rule, KSync) else ())


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
