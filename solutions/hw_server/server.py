"""Homework: two rules of a parameter server, K-batch-sync and K-async, as state machines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# stub: from minidl import data, errors, models, nn, optim, plans, sim, strategy
# solution: begin
from minidl import data, models, nn, optim, plans, sim, strategy

# solution: end
from minidl.train import Trainer


@dataclass(frozen=True)
class KBatchSync:
    """Update with the first K gradients of the newest weights, whosesoever; stop the rest.

    A learner that has pushed a gradient takes its next mini-batch at once, from the same
    weights. With the K-th gradient the server updates. All other learners are stopped,
    whatever they are doing, and everybody goes on from the new weights. The gradient of a
    learner that hears of it too late is dropped when it arrives.

    Parameters
    ----------
    k
        How many gradients make an update; it may exceed the number of learners.
    """

    k: int

    def gradients(self, learners: int) -> int:
        """How many gradients make an update."""
        return self.k

    def start(self, learners: int) -> plans.State:
        """Before the first push: nothing waits, nobody is idle, weights are of version 0."""
        return plans.State(learners)

    def push(
        self, state: plans.State, learner: int, version: int, number: int = 0
    ) -> tuple[plans.State, plans.Decision]:
        """Say what to do when a gradient arrives.

        Parameters
        ----------
        state
            What was returned for the gradient before, or by `start`.
        learner, version
            Who computed the gradient, and from which version of the weights.
        number
            Which mini-batch of this learner it is of.

        Returns
        -------
        state : plans.State
            What is to be remembered: ``plans.State(learners, version, waiting, idle)``, where
            `version` counts the updates and `waiting` is a tuple of the gradients that are
            kept for a later update, each as a ``plans.Push(learner, version, number)``. A state is
            frozen: make a new one, or ``dataclasses.replace`` what changes.
        decision : plans.Decision
            What the server does now: ``plans.Decision(version, apply, cancel, release, drop)``.
            `version` is that of the weights once this is done, the other four are tuples,
            and empty if you name none. `apply` has gradients whose mean makes an update,
            `drop` gradients that nobody will use. `cancel` has learners that are to drop
            what they are working on, `release` learners that are given the newest weights
            now, to take their next mini-batch.

        Hints
        -----
        - Three things can happen: the gradient comes too late, it is one of the first K - 1
          or it is the K-th. Write one after the other.
        - By what do you see that it comes too late?
        - The learner that has just pushed works on nothing, so it cannot be cancelled.
        - `apply` in sorted order gives the same weights whoever was first, to the last bit.
        """
        # stub: raise errors.NotWrittenError("KBatchSync.push is not written yet: see its hints")
        # solution: begin
        push = plans.Push(learner, version, number)
        if version < state.version:
            return state, plans.Decision(state.version, drop=(push,))
        waiting = (*state.waiting, push)
        if len(waiting) < self.k:
            kept = plans.State(state.learners, state.version, waiting)
            return kept, plans.Decision(state.version, release=(learner,))
        everyone = tuple(range(state.learners))
        others = tuple(each for each in everyone if each != learner)
        new = state.version + 1
        decision = plans.Decision(
            new, apply=tuple(sorted(waiting)), cancel=others, release=everyone
        )
        return plans.State(state.learners, new), decision
        # solution: end


@dataclass(frozen=True)
class KAsync:
    """Update with the first K learners' gradients; the other learners carry on, unaware.

    A learner that has pushed a gradient waits. With the K-th gradient the server updates,
    and the K learners that have waited go on from the new weights. The others finish what
    they began, and their gradients, by then of old weights, count for a later update.

    Parameters
    ----------
    k
        How many gradients make an update, from 1 to the number of learners.
    """

    k: int

    def gradients(self, learners: int) -> int:
        """How many gradients make an update."""
        return self.k

    def start(self, learners: int) -> plans.State:
        """Before the first push: nothing waits, nobody is idle, weights are of version 0."""
        return plans.State(learners)

    def push(
        self, state: plans.State, learner: int, version: int, number: int = 0
    ) -> tuple[plans.State, plans.Decision]:
        """Say what to do when a gradient arrives, as for `KBatchSync`.

        Hints
        -----
        - Here only two things can happen: nothing is ever too late.
        - Of the learners that wait, `state.idle` can keep a set. Or who are they?
        """
        # stub: raise errors.NotWrittenError("KAsync.push is not written yet: see its hints")
        # solution: begin
        waiting = (*state.waiting, plans.Push(learner, version, number))
        idle = state.idle | {learner}
        if len(waiting) < self.k:
            kept = plans.State(state.learners, state.version, waiting, idle)
            return kept, plans.Decision(state.version)
        new = state.version + 1
        decision = plans.Decision(new, apply=tuple(sorted(waiting)), release=tuple(sorted(idle)))
        return plans.State(state.learners, new), decision
        # solution: end


def train(rule: plans.Rule, epochs: int = 4) -> tuple[float, float, float]:
    """Train an MLP on digits with 8 learners that take exponential times, on simulated clocks.

    Returns
    -------
    seconds, staleness, loss
        How long it took, how many updates a gradient had missed on average, and the loss on
        unseen digits at the end.
    """
    digits, unseen = data.digits()
    trainer = Trainer(models.mlp(), nn.CrossEntropy(), optim.SGD(0.1), seed=0)
    how = strategy.ParameterServer(8, rule, straggler=sim.Exponential(1.0))
    history = trainer.fit(
        digits, epochs=epochs, batch_size=128, validation=unseen, progress=False,
        strategy=how, clock="virtual",
    )  # fmt: skip
    seconds = sum(epoch.seconds for epoch in history.epochs)
    staleness = np.mean([missed for step in history.staleness for missed in step])
    return seconds, float(staleness), history.epochs[-1].validation["loss"]


if __name__ == "__main__":
    print("8 learners, virtual time        seconds  staleness    loss")
    for title, rule in (
        ("fully synchronous", plans.FullySync()),
        ("your K-batch-sync, K = 8", KBatchSync(8)),
        ("minidl's", plans.KBatchSync(8)),
        ("your K-async, K = 4", KAsync(4)),
        ("minidl's", plans.KAsync(4)),
        ("your K-async, K = 1", KAsync(1)),
    ):
        seconds, staleness, loss = train(rule)
        print(f"{title:30} {seconds:8.1f} {staleness:10.2f} {loss:7.4f}")
