"""A parameter server's rules: when it updates, and whom it stops and lets go on.

A rule does no I/O and sees no array. It is told that a gradient arrived, by whom
it was computed and from which version of the weights, and answers what to do. The
server process, the simulator and the tests all drive the same object.

Source of the rules: Dutta et al., "Slow and stale gradients can win the race",
arXiv 1803.01113.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from minidl.errors import InputError, PlanError


@dataclass(frozen=True, order=True)
class Push:
    """A gradient that arrived: computed by `learner` from weights of `version`."""

    learner: int
    version: int


@dataclass(frozen=True)
class Decision:
    """What the server does now, in this order.

    Parameters
    ----------
    apply
        Gradients that together make one update of the weights, in the order in which
        they are to be added; empty if there is no update now.
    cancel
        Learners that are to drop the mini-batch they are working on.
    release
        Learners that are now given the newest weights, and go on from them.
    """

    apply: tuple[Push, ...] = ()
    cancel: tuple[int, ...] = ()
    release: tuple[int, ...] = ()


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
        Gradients kept for a later update, in the order of arrival. A gradient that
        arrived and is neither here nor in the decision's `apply` is dropped.
    """

    learners: int
    version: int = 0
    waiting: tuple[Push, ...] = ()


class Rule(Protocol):
    """When a server updates, as a state machine without side effects.

    All learners begin with weights of version 0. `Decision.release` may name a
    learner without an update (it goes on from the weights as they are), and
    `waiting` may hold several gradients of one learner. A gradient of an older
    version is not an error by itself: a rule that cancels drops those that were
    already on their way, an asynchronous one uses them.
    """

    def start(self, learners: int) -> State:
        """The state before the first push; InputError if the rule can't serve so many."""
        ...

    def push(self, state: State, learner: int, version: int) -> tuple[State, Decision]:
        """What to do when `learner` delivers a gradient of `version`; PlanError if it may not."""
        ...


@dataclass(frozen=True)
class FullySync:
    """Wait for one gradient of every learner, update once, let all go on.

    Gradients are added in the order of the learners, whatever their order of
    arrival, so that a run gives the same weights every time.
    """

    def start(self, learners: int) -> State:
        """The state before the first push.

        Raises
        ------
        InputError
            If `learners` is less than 1.
        """
        if learners < 1:
            raise InputError(f"a server needs at least 1 learner, not {learners}")
        return State(learners)

    def push(self, state: State, learner: int, version: int) -> tuple[State, Decision]:
        """Keep the gradient, or update if it was the last one missing.

        Raises
        ------
        PlanError
            If there is no such learner, it has already pushed for this version, or its
            gradient is of another version than the server's weights.
        """
        require_push(state, learner, version)
        if version < state.version:
            raise PlanError(
                f"learner {learner} pushed a gradient of version {version}, but in a fully "
                f"synchronous run all gradients are of the newest version {state.version}"
            )
        if any(push.learner == learner for push in state.waiting):
            raise PlanError(
                f"learner {learner} pushed a second gradient of version {version}; it has to "
                f"wait until all {state.learners} learners have pushed"
            )
        waiting = (*state.waiting, Push(learner, version))
        if len(waiting) < state.learners:
            return replace(state, waiting=waiting), Decision()
        after = replace(state, version=version + 1, waiting=())
        return after, Decision(apply=tuple(sorted(waiting)), release=tuple(range(state.learners)))


def require_push(state: State, learner: int, version: int) -> None:
    """Refuse what no rule allows.

    Raises
    ------
    PlanError
        If there is no such learner, or no such version of the weights yet.
    """
    if not 0 <= learner < state.learners:
        raise PlanError(f"a gradient came from learner {learner} of {state.learners} (from 0)")
    if not 0 <= version <= state.version:
        raise PlanError(
            f"learner {learner} pushed a gradient of version {version}, but the weights are of "
            f"version {state.version}"
        )
