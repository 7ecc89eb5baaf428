"""The fully synchronous rule: every gradient is applied once, nobody goes on alone."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minidl.errors import InputError, PlanError
from minidl.plans import Decision, FullySync, Push


class FullySyncMachine(RuleBasedStateMachine):
    """Learners that push whenever they have been released, in any order."""

    @initialize(learners=st.integers(1, 6))
    def start(self, learners: int) -> None:
        self.rule = FullySync()
        self.state = self.rule.start(learners)
        self.learners = learners
        self.weights = dict.fromkeys(range(learners), 0)
        self.pushed: list[Push] = []
        self.applied: list[Push] = []

    @precondition(lambda self: self.weights)
    @rule(data=st.data())
    def push(self, data: st.DataObject) -> None:
        learner = data.draw(st.sampled_from(sorted(self.weights)))
        version = self.weights.pop(learner)
        self.pushed.append(Push(learner, version))
        self.state, decision = self.rule.push(self.state, learner, version)
        self.applied += decision.apply
        assert not decision.cancel
        assert (decision.apply == ()) == bool(self.weights)
        assert decision.release == (() if self.weights else tuple(range(self.learners)))
        assert decision.apply == tuple(sorted(decision.apply))
        self.weights |= dict.fromkeys(decision.release, self.state.version)

    @precondition(lambda self: len(self.weights) < self.learners)
    @rule(data=st.data())
    def push_again(self, data: st.DataObject) -> None:
        waiting = sorted(set(range(self.learners)) - set(self.weights))
        learner = data.draw(st.sampled_from(waiting))
        with pytest.raises(PlanError, match=f"learner {learner} pushed a second gradient"):
            self.rule.push(self.state, learner, self.state.version)

    @rule(data=st.data())
    def push_of_another_version(self, data: st.DataObject) -> None:
        version = data.draw(st.integers(-1, self.state.version + 3))
        if version != self.state.version:
            with pytest.raises(PlanError, match=f"of version {version}"):
                self.rule.push(self.state, 0, version)

    @rule(beyond=st.integers(0, 3))
    def push_of_a_stranger(self, beyond: int) -> None:
        with pytest.raises(PlanError, match="came from learner"):
            self.rule.push(self.state, self.learners + beyond, self.state.version)

    @invariant()
    def every_gradient_is_applied_once_or_waits(self) -> None:
        kept = [*self.applied, *self.state.waiting]
        assert sorted(kept) == sorted(self.pushed)
        assert len(self.applied) == self.learners * self.state.version
        assert all(push.version == self.state.version for push in self.state.waiting)


TestFullySync = FullySyncMachine.TestCase


def test_one_round_of_two_learners() -> None:
    fully_sync = FullySync()
    state, decision = fully_sync.push(fully_sync.start(2), 1, 0)
    assert decision == Decision()
    state, decision = fully_sync.push(state, 0, 0)
    assert decision == Decision(apply=(Push(0, 0), Push(1, 0)), release=(0, 1))
    assert (state.version, state.waiting) == (1, ())


def test_a_server_without_learners_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 learner, not 0"):
        FullySync().start(0)
