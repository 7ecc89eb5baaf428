"""What a parameter server's rule is: told of each gradient that arrives, it says what to do.

A rule does no I/O and sees no array. It is told by whom a gradient was computed and
from which version of the weights. The server process, the simulator and the tests all
drive the same object.
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

from minidl.errors import PlanError
from minidl.reprs import brief


class Push(NamedTuple):
    """A gradient: computed by `learner` from weights of `version`."""

    learner: int
    """Whose it is."""
    version: int
    """Of the weights that it was computed with."""
    number: int = 0
    """The how-many-th mini-batch of this learner it belongs to.

    It counts from 0, those that were cancelled included, and tells apart several gradients of
    one version.
    """


@dataclass(frozen=True)
class Decision:
    """What the server does now, in this order.

    Parameters
    ----------
    version
        Of the weights once `apply` is done; what a released learner is given.
    apply
        Gradients whose mean makes one update of the weights, in the order in which
        they are to be added; empty if there is no update now.
    cancel
        Learners that are to drop the mini-batch they are working on.
    release
        Learners that are now given the newest weights, and go on from them.
    drop
        Gradients that will never be applied: they came too late.
    """

    version: int
    apply: tuple[Push, ...] = ()
    cancel: tuple[int, ...] = ()
    release: tuple[int, ...] = ()
    drop: tuple[Push, ...] = ()

    __repr__ = brief

    @property
    def weight(self) -> float:
        """What each gradient in `apply`, the mean of its mini-batch, counts for in the update."""
        return 1 / len(self.apply) if self.apply else 0.0

    @property
    def staleness(self) -> tuple[int, ...]:
        """How many updates each gradient in `apply` has missed, in their order."""
        return tuple(self.version - 1 - push.version for push in self.apply)


@dataclass(frozen=True)
class State:
    """What a rule remembers between two pushes.

    Parameters
    ----------
    learners
        How many learners there are, numbered from 0.
    version
        How many updates have been made.
    waiting
        Gradients kept for a later update, in the order of arrival.
    idle
        Learners that pushed and wait for the update.
    lost
        Learners that are gone for good.
    """

    learners: int
    version: int = 0
    waiting: tuple[Push, ...] = ()
    idle: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()

    __repr__ = brief

    @property
    def remaining(self) -> tuple[int, ...]:
        """The learners that are not lost."""
        return tuple(each for each in range(self.learners) if each not in self.lost)


@runtime_checkable
class Rule(Protocol):
    """When a server updates, as a state machine without side effects.

    All learners begin with weights of version 0. `Decision.release` may name a
    learner without an update (it goes on from the weights as they are), and
    `waiting` may hold several gradients of one learner. Every gradient that is pushed
    is found once in some decision, in `apply` or in `drop`, or is still `waiting`.

    Each of several servers drives a copy of its own and is told the same. So what a rule says
    may depend on nothing else.

    A cancelled learner may have pushed already when it hears of it. Its gradient is then
    dropped, and that it was released stands.
    """

    def gradients(self, learners: int) -> int:
        """How many gradients make an update where there are so many learners."""
        ...

    def start(self, learners: int) -> State:
        """The state before the first push; InputError if the rule can't serve so many."""
        ...

    def push(
        self, state: State, learner: int, version: int, number: int = 0
    ) -> tuple[State, Decision]:
        """What to do when `learner` delivers a gradient of `version`; PlanError if it may not."""
        ...


@runtime_checkable
class LastingRule(Rule, Protocol):
    """A rule that knows how to go on when a learner is lost.

    A lost learner never pushes again, and is in no further `Decision.cancel` or
    `Decision.release`. A gradient is a gradient: what it had pushed and still waits is
    applied or dropped like any other. Only the mini-batch that it was at comes to nothing.
    """

    def lose(self, state: State, learner: int) -> State:
        """The state without this learner; PlanError if too few remain to ever make an update."""
        ...


def require_push(state: State, push: Push) -> None:
    """Refuse what no rule allows.

    Raises
    ------
    PlanError
        If there is no such learner or it is lost, or no such version of the weights yet.
    """
    if not 0 <= push.learner < state.learners:
        raise PlanError(f"a gradient came from learner {push.learner} of {state.learners} (from 0)")
    if push.learner in state.lost:
        raise PlanError(f"a gradient came from learner {push.learner}, which is lost")
    if not 0 <= push.version <= state.version:
        raise PlanError(
            f"learner {push.learner} pushed a gradient of version {push.version}, but the weights "
            f"are of version {state.version}"
        )


def answer_of(rule: Rule, state: State, push: Push) -> tuple[State, Decision]:
    """What a rule answers to a push, which must be a `State` and a `Decision`.

    A plain tuple (learner, version, number) in a decision counts as a `Push`.

    Raises
    ------
    PlanError
        If it is anything else, or the push is one that no rule allows.
    """
    answer = rule.push(state, *push)
    match answer:
        case [State() as state, Decision() as decision]:
            with suppress(TypeError):  # raised by what names no gradients
                return state, _with_pushes(decision)
    raise PlanError(
        f"{type(rule).__name__}: push must return a State and a Decision, which names gradients "
        f"as Push(learner, version, number), not {answer!r}"
    )


def _with_pushes(decision: Decision) -> Decision:
    """The decision, with gradients as pushes where it has them as plain tuples."""
    if all(isinstance(each, Push) for each in (*decision.apply, *decision.drop)):
        return decision
    apply, drop = (
        tuple(Push(*each) for each in gradients) for gradients in (decision.apply, decision.drop)
    )
    return replace(decision, apply=apply, drop=drop)


def require_unused(decision: Decision, unused: Container[Push]) -> None:
    """Refuse a decision on gradients that are not at the server, or twice on one.

    Raises
    ------
    PlanError
        If it applies or drops one that is not among the `unused`, or that it has used already.
    """
    used: set[Push] = set()
    for push in (*decision.apply, *decision.drop):
        if push in used or push not in unused:
            raise PlanError(f"the rule applies or drops {push}, which is not there to be used")
        used.add(push)
