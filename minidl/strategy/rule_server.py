"""A parameter server under any rule: the program of its server. `rule_learner` has the other.

A learner computes the gradient of its mini-batch, pushes it, and waits to be released, which
is one message with parameters. A rule of `minidl.plans` says when that comes, and whose
mini-batch comes to nothing: its learner finds that out between two layers, and says so
instead of pushing. So server and learner speak in turns, whatever became of the mini-batch,
and neither ever sends what the other does not wait for. A learner that is lost is struck
from the server's books, with the mini-batch it was at.

Several servers hold a part of the parameters each. The first hears the learners and tells the
others, one after the other, who has spoken. As a rule is a pure function, all then decide alike,
each for its own part: a replicated state machine (Schneider 1990).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from minidl.errors import PlanError
from minidl.plans import Decision, LastingRule, Push, Rule
from minidl.plans.server import answer_of, require_unused
from minidl.runtime.requests import (
    Exchange,
    Incoming,
    Lost,
    Outgoing,
    RankContext,
    RankProgram,
    ReceiveAny,
    Report,
    Request,
)
from minidl.strategy.clocked import GivenWeights
from minidl.strategy.job import Job, StepDone
from minidl.strategy.jointly import neighbours_of, sum_along, update_jointly
from minidl.strategy.loop import Epochs
from minidl.strategy.replica import Replica, evaluate_share
from minidl.strategy.rule_learner import figures_of
from minidl.strategy.shards import Shards
from minidl.strategy.warm_up import attached
from minidl.tasks import WHOLE, Phase, Sums


@dataclass
class Fates:
    """What became of gradients that were pushed, and of mini-batches that never were pushed.

    Parameters
    ----------
    applied
        Gradients that were in an update.
    dropped
        Gradients that the rule dropped, or that came when their mini-batch had been
        cancelled.
    unfinished
        Gradients that waited for an update which the fit's end forestalled.
    cancelled
        Mini-batches that the rule cancelled.
    lost
        Mini-batches whose learner was lost at them.
    """

    applied: int = 0
    dropped: int = 0
    unfinished: int = 0
    cancelled: int = 0
    lost: int = 0


def server(job: Job, rule: Rule, shards: Shards, context: RankContext) -> RankProgram:
    """Does with the gradients that arrive what the rule decides; returns their `Fates`."""
    job = attached(job, context)
    desk = _Desk(job, rule, shards, context)
    yield from desk.release(range(shards.learners))
    for epoch in Epochs(job, context):
        for step in epoch:
            decision, sums = yield from desk.update(step)
            if desk.leads:
                at, stale = (epoch.number, step), decision.staleness
                yield Report(StepDone(*at, sums.samples, sums, desk.seconds, stale))
        desk.replica.commit()
        yield from desk.meet()
        if desk.leads:
            yield epoch.done(evaluate_share(desk.replica, 0, 1), alone=True)
        yield from desk.meet()
    yield from desk.close()
    return desk.fates


@dataclass
class _Gradient:
    """A gradient at the server: the mean over a global batch of `size`, of its learner's part.

    `given` holds the weights that the learner started from, if the optimizer asks for them.
    """

    array: np.ndarray
    size: int
    sums: Sums
    given: np.ndarray | None
    cancelled: bool


class _Desk:
    """The server's books: the weights, who works on what, and which gradients wait."""

    def __init__(self, job: Job, rule: Rule, shards: Shards, context: RankContext) -> None:
        self._servers, self._place = shards.servers, shards.servers.index(context.rank)
        self.leads = self._place == 0
        self.replica = Replica(job, context, names=shards.names[self._place])
        self.rule, self.trace = rule, context.trace
        self.fates = Fates()
        self._began = context.trace.clock()
        self._weights = GivenWeights(self.replica)
        self._names = figures_of(self.replica) if self.leads else ()
        self._asks = job.optimizer.needs_distance
        learners = range(shards.learners)
        self._state = rule.start(len(learners))
        self._cancelled, self._last = context.shared["cancelled"], context.shared["last"]
        if not self.leads:  # learners look at what the first server writes
            self._cancelled, self._last = self._cancelled.copy(), self._last.copy()
        self._slips = {1 + learner: np.zeros(2 + len(self._names)) for learner in learners}
        self._numbers = [0 for _ in learners]
        self._busy: dict[int, Push] = {}  # whose slip is still to come
        self._stopped: set[int] = set()  # those of them whose mini-batch is cancelled
        self._owed: set[int] = set()  # those of them to release as soon as their slip comes
        self._waiting: dict[Push, _Gradient] = {}
        self._free: list[np.ndarray] = []

    @property
    def seconds(self) -> float:
        """Since the fit began."""
        return self.trace.clock() - self._began

    def release(self, learners: Iterable[int]) -> Generator[Request, Any, None]:
        """Let these learners go on from the newest weights: at once if they wait for them."""
        now = []
        for learner in learners:
            if learner not in self._busy:
                push = Push(learner, self._state.version, self._numbers[learner])
                self._numbers[learner] += 1
                self._busy[learner] = push
                if self._asks:
                    self._weights.give(push)
                now.append(learner)
            elif learner in self._stopped:
                self._owed.add(learner)
            else:
                raise PlanError(f"the rule releases learner {learner}, which is at work")
        yield self._send(now)

    def _send(self, learners: Iterable[int]) -> Exchange:
        values = self.replica.buffer.values
        return Exchange(tuple(Outgoing(1 + each, values, "parameters") for each in learners))

    def _cancel(self, learner: int) -> None:
        """Stop a learner, or if it has not yet begun what it was released for, not let it begin."""
        if learner in self._owed:
            self._owed.remove(learner)
        elif learner in self._busy and learner not in self._stopped:
            push = self._busy[learner]
            self._cancelled[learner] = push.number
            self._stopped.add(learner)
            self.fates.cancelled += 1
        else:
            raise PlanError(f"the rule cancels learner {learner}, which is not at work")

    def update(self, step: int) -> Generator[Request, Any, tuple[Decision, Sums]]:
        """Take in gradients until the rule makes an update of them; that decision, and sums."""
        while self._busy:
            try:
                learner, push = yield from self._receive()
            except Lost as lost:
                self._strike_off(lost)
                self._go_on_without(lost)
                continue
            if push is not None:
                self._state, decision = answer_of(self.rule, self._state, push)
                require_unused(decision, self._waiting)
                for dropped in decision.drop:
                    self._free.append(self._waiting.pop(dropped).array)
                    self.fates.dropped += 1
                sums = Sums()
                if decision.apply:
                    sums = yield from self._apply(decision, step)
                for each in decision.cancel:
                    self._cancel(each)
                yield from self.release(decision.release)
            if learner in self._owed:
                self._owed.remove(learner)
                yield from self.release((learner,))
            if push is not None and decision.apply:
                return decision, sums
        raise PlanError(
            f"no learner is at work, and update {self._state.version + 1} will never come"
        )

    def _receive(self) -> Generator[Request, Any, tuple[int, Push | None]]:
        """Hear a learner. The gradient that it pushed, if it was not stopped before, now waits."""
        rank = yield from self._hear()
        learner = rank - 1
        size, samples, *values = self._slips[rank].tolist()
        array = None
        if size:
            array = self._free.pop() if self._free else np.empty_like(self.replica.buffer.grads)
            yield Exchange((Incoming(rank, array, "gradients"),))
        push = self._busy.pop(learner)
        given = self._weights.given(push) if self._asks else None
        cancelled = learner in self._stopped
        self._stopped.discard(learner)
        if array is None:
            return learner, None
        totals = dict(zip(self._names, values, strict=True))
        sums = Sums.over(int(samples), totals) if samples else Sums()
        self._waiting[push] = _Gradient(array, int(size), sums, given, cancelled)
        return learner, push

    def _strike_off(self, lost: Lost) -> None:
        """Forget what a lost learner was at, but not what it has pushed."""
        learner = lost.rank - 1
        del self._slips[lost.rank]
        push = self._busy.pop(learner, None)
        if push is not None:
            self.fates.lost += learner not in self._stopped
            if self._asks:
                self._weights.given(push)
        self._stopped.discard(learner)
        self._owed.discard(learner)

    def _go_on_without(self, lost: Lost) -> None:
        assert isinstance(self.rule, LastingRule)  # or no learner could be lost
        try:
            self._state = self.rule.lose(self._state, lost.rank - 1)
        except PlanError as error:
            lost.add_note(f"It was the last learner that could be lost: {error}")
            raise lost from error

    def _hear(self) -> Generator[Request, Any, int]:
        """The rank of a learner that has spoken; what it said is now on its slip."""
        before, after = neighbours_of(self._servers, self._place)
        said = np.zeros(3)
        rank = 0
        if not before:
            rank = yield ReceiveAny(self._slips, "push")
            said[:] = rank, *self._slips[rank][:2]
        for server in before:
            yield Exchange((Incoming(server, said, "arrival"),))
            rank = int(said[0])
            self._slips[rank][:] = said[1:]
        for server in after:
            yield Exchange((Outgoing(server, said, "arrival"),))
        return rank

    def meet(self) -> Generator[Request, Any, None]:
        """Wait until all servers have come so far."""
        yield from sum_along(np.zeros(1), self._servers, self._place, "epoch")

    def _apply(self, decision: Decision, step: int) -> Generator[Request, Any, Sums]:
        """Update with the mean over the samples of these gradients, some of less weight."""
        replica, pushes = self.replica, decision.apply
        gradients = [self._waiting.pop(push) for push in pushes]
        sums = sum((gradient.sums for gradient in gradients), Sums())
        moved = np.array([self._moved(*each) for each in zip(pushes, gradients, strict=True)])
        if self._asks:
            yield from sum_along(moved, self._servers, self._place, "distances")
        trust = replica.job.optimizer.weights(decision.staleness, np.sqrt(moved).tolist())
        for push, gradient, weight in zip(pushes, gradients, trust, strict=True):
            with self.trace.span("reduce", push.learner):
                replica.take_in(gradient.array, gradient.size, sums.samples, weight)
            self._free.append(gradient.array)
        yield from update_jointly(replica, Phase(WHOLE, step), self._servers, self._place)
        self.fates.applied += len(pushes)
        return sums

    def _moved(self, push: Push, gradient: _Gradient) -> float:
        """How far, squared, the weights held here are from those of a gradient; NaN if unasked."""
        if gradient.cancelled:
            raise PlanError(f"the rule applies {push}, which it has cancelled")
        if gradient.given is None:
            return nan
        return self.replica.squares_since(gradient.given)

    def close(self) -> Generator[Request, Any, None]:
        """Stop all learners, each of which may still push what it has, and is released."""
        self._last[...] = [number - 1 for number in self._numbers]
        self._cancelled[...] = self._last
        yield self._send(each for each in range(len(self._numbers)) if each not in self._busy)
        while self._busy:
            late = self._stopped.copy()
            try:
                learner, push = yield from self._receive()
            except Lost as lost:
                self._strike_off(lost)
                continue
            if learner in late and push is not None:
                del self._waiting[push]
                self.fates.dropped += 1
            yield self._send((learner,))
        self.fates.unfinished = len(self._waiting)
