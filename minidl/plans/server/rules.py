"""The rules of parameter servers: when a server updates, and whom it stops and lets go on.

Every rule here updates as soon as a number of gradients has arrived. What a learner
does between its push and the update, and what the update does to the learners that are
still at work, tells the four families apart:

==================  ==========================  ===========================
..                  a learner that pushed       a learner that pushed
                    waits for the update        goes on at once
==================  ==========================  ===========================
others are stopped  `KSync`                     `KBatchSync`
others carry on     `KAsync`, `FullySync`       `KBatchAsync`, `Softsync`,
                                                `Async`
==================  ==========================  ===========================

Source of the rules: Dutta et al., "Slow and stale gradients can win the race",
arXiv 1803.01113.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from minidl.checks import is_whole
from minidl.errors import InputError, PlanError
from minidl.plans.server.interface import Decision, Push, State, require_push


class Threshold:
    """What the rules of the table above share: update at the n-th gradient.

    Gradients are added in the order of the learners, whatever their order of
    arrival, so that the same gradients always give the same weights.
    """

    waits: ClassVar[bool]
    """Whether a learner that pushed waits for the update, so that a learner counts once."""
    cancels: ClassVar[bool]
    """Whether an update stops the learners at work, which all go on from the new weights."""

    def gradients(self, learners: int) -> int:
        """How many gradients make an update where there are so many learners.

        Raises
        ------
        InputError
            If the rule's setting does not suit so many.
        """
        raise TypeError(f"{type(self).__name__} defines no gradients")

    def start(self, learners: int) -> State:
        """The state before the first push.

        Raises
        ------
        InputError
            If `learners` is less than 1, or too few for the rule.
        """
        if learners < 1:
            raise InputError(f"a server needs at least 1 learner, not {learners}")
        self.gradients(learners)
        return State(learners)

    def push(
        self, state: State, learner: int, version: int, number: int = 0
    ) -> tuple[State, Decision]:
        """Keep the gradient, update with it if it was the last one missing, or drop it.

        Raises
        ------
        PlanError
            If there is no such learner or version, or the learner has to wait.
        """
        push = Push(learner, version, number)
        require_push(state, push)
        if self.cancels and version < state.version:
            return state, Decision(state.version, drop=(push,))
        if learner in state.idle:
            raise PlanError(
                f"learner {learner} pushed a second gradient of version {version}; it has to "
                "wait for the next update"
            )
        idle = state.idle | {learner}
        waiting = (*state.waiting, push)
        if len(waiting) < self.gradients(state.learners):
            if self.waits:
                return replace(state, waiting=waiting, idle=idle), Decision(state.version)
            kept = replace(state, waiting=waiting)
            return kept, Decision(state.version, release=(learner,))
        everyone = state.remaining
        decision = Decision(
            state.version + 1,
            apply=tuple(sorted(waiting)),
            cancel=tuple(each for each in everyone if each not in idle) if self.cancels else (),
            release=everyone if self.cancels else tuple(sorted(idle)),
        )
        return State(state.learners, decision.version, lost=state.lost), decision

    def lose(self, state: State, learner: int) -> State:
        """Go on without a learner: an update is still made of as many gradients as before.

        Raises
        ------
        PlanError
            If there is no such learner any more, or too few are left for an update: fewer
            than its gradients where everybody gives one of them, and otherwise none.
        """
        if learner not in state.remaining:
            raise PlanError(
                f"learner {learner} was lost, but there are only {list(state.remaining)}"
            )
        after = replace(state, idle=state.idle - {learner}, lost=state.lost | {learner})
        needed, left = self.gradients(state.learners) if self.waits else 1, len(after.remaining)
        if left < needed:
            raise PlanError(
                f"{self} needs {needed} of the {state.learners} learners for an update, "
                f"and {left} would be left"
            )
        return after


@dataclass(frozen=True)
class FullySync(Threshold):
    """Wait for one gradient of every learner, update once, let all go on."""

    waits = True
    cancels = False  # nobody is at work when the last one pushes

    def gradients(self, learners: int) -> int:
        return learners

    def push(
        self, state: State, learner: int, version: int, number: int = 0
    ) -> tuple[State, Decision]:
        """As every rule does, but a gradient of older weights is an error, too."""
        if version < state.version:
            raise PlanError(
                f"learner {learner} pushed a gradient of version {version}, but in a fully "
                f"synchronous run all gradients are of the newest version {state.version}"
            )
        return super().push(state, learner, version, number)


@dataclass(frozen=True)
class KSync(Threshold):
    """Update with the first k learners' gradients; the other learners are stopped.

    Parameters
    ----------
    k
        From 1 to the number of learners, with which it is `FullySync`.
    """

    k: int
    waits = True
    cancels = True

    def gradients(self, learners: int) -> int:
        return whole(self, "k", self.k, learners)


@dataclass(frozen=True)
class KBatchSync(Threshold):
    """Update with the first k gradients of the newest weights, whosesoever; stop the rest.

    A learner that pushed takes its next mini-batch at once, at the same weights.

    Parameters
    ----------
    k
        At least 1; it may exceed the number of learners.
    """

    k: int
    waits = False
    cancels = True

    def gradients(self, learners: int) -> int:
        return whole(self, "k", self.k)


@dataclass(frozen=True)
class KAsync(Threshold):
    """Update with the first k learners' gradients; the other learners carry on, unaware.

    A learner that pushed waits for the update and goes on from the new weights.

    Parameters
    ----------
    k
        From 1 to the number of learners, with which it is `FullySync`.
    """

    k: int
    waits = True
    cancels = False

    def gradients(self, learners: int) -> int:
        return whole(self, "k", self.k, learners)


@dataclass(frozen=True)
class KBatchAsync(Threshold):
    """Update after every k gradients, whosesoever and however old; nobody ever waits.

    A learner that pushed goes on at once from the weights as they are.

    Parameters
    ----------
    k
        At least 1; it may exceed the number of learners.
    """

    k: int
    waits = False
    cancels = False

    def gradients(self, learners: int) -> int:
        return whole(self, "k", self.k)


@dataclass(frozen=True)
class Async(Threshold):
    """Update with every gradient as it comes: fully asynchronous."""

    waits = False
    cancels = False

    def gradients(self, learners: int) -> int:
        return 1


@dataclass(frozen=True)
class Softsync(Threshold):
    """Update after ⌊P/n⌋ gradients of any of the P learners, lost ones counted; nobody waits.

    Gradients then miss n updates, nearly. Gupta et al., arXiv 1509.04210, and Zhang et
    al., arXiv 1511.05950, who call it n-softsync.

    Parameters
    ----------
    n
        From 1 to the number of learners, with which it is `Async`.
    """

    n: int
    waits = False
    cancels = False

    def gradients(self, learners: int) -> int:
        return learners // whole(self, "n", self.n, learners)


def whole(rule: Threshold, name: str, value: int, most: int | None = None) -> int:
    """A rule's setting, which must be a whole number from 1 to `most`, the number of learners.

    Raises
    ------
    InputError
        If it is not.
    """
    if not is_whole(value, least=1) or (most is not None and value > most):
        allowed = "of at least 1" if most is None else f"from 1 to the {most} learners"
        raise InputError(
            f"{type(rule).__name__}: {name} is a whole number {allowed}, not {value!r}"
        )
    return value
