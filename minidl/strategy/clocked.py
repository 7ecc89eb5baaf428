"""Real gradients at simulated times: a parameter server under any rule, in one process.

Who works on which mini-batch when is simulated (`minidl.sim`); what comes of it, the
gradient of a real model on real data at the weights that the learner was given, is
computed. So the run of many learners can be repeated, on any machine, to the last bit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache, partial
from math import nan

import numpy as np

from minidl.data import Batch
from minidl.errors import InputError
from minidl.nn import synchronised
from minidl.plans import Push, Rule
from minidl.reprs import brief
from minidl.runtime import Alone, Runtime
from minidl.runtime.requests import RankContext, RankProgram, Report
from minidl.sim import Apply, Cancel, Event, Law, Start, server_events
from minidl.strategy.base import Layout, Strategy, positive, require_workers
from minidl.strategy.job import Job, StepDone
from minidl.strategy.loop import Epochs
from minidl.strategy.replica import Replica, evaluate_share
from minidl.strategy.warm_up import attached
from minidl.tasks import Phase, Sums, Supervised


@dataclass(frozen=True)
class VirtualServer(Strategy):
    """A parameter server whose clocks are simulated and whose gradients are not.

    Learner i's n-th mini-batch is its share of the n-th global batch, as in a fully
    synchronous run, which this equals with that rule. An update takes the mean over the
    samples of the gradients applied. An epoch is as many updates as apply a gradient for
    every sample of the data, on average. A fit begins with all learners at rest; work that
    no update has used by its end comes to nothing.

    Parameters
    ----------
    workers
        How many learners there are.
    rule
        When the server updates.
    law
        How long learners take for a mini-batch.
    exchange_seconds
        If given, what every update of a job takes besides: the gradients' way.
    runtime
        Runs the one program, in the calling process.
    """

    workers: int
    rule: Rule
    law: Law
    exchange_seconds: Callable[[Job], float] | None = None
    runtime: Runtime = field(default_factory=Alone, repr=False)

    __repr__ = brief

    def __post_init__(self) -> None:
        positive("workers", self.workers)

    @property
    def name(self) -> str:
        return "virtual"

    @property
    def formula(self) -> str:
        return ""

    def paced(self, job: Job) -> Job:
        return replace(job, pace=Fraction(self.workers, self.rule.gradients(self.workers)))

    def check(self, job: Job) -> None:
        require_workers(self.workers, job, self.law)
        self.rule.start(self.workers)
        if not isinstance(job.task, Supervised):
            raise InputError(
                f"virtual time is for supervised tasks, not for {type(job.task).__name__}"
            )
        if job.precision is not None:
            raise InputError("virtual time computes in full precision, not in mixed precision")
        if self.workers > 1 and synchronised(job.model):
            raise InputError(
                "virtual time computes the gradients of one learner after the other and cannot "
                "normalise over the whole batch: use BatchNorm(synchronised=False)"
            )

    def layout(self, job: Job) -> Layout:
        return Layout([partial(_program, job.detached(), self)], ["server and learners"])

    def bytes_sent(self, job: Job) -> Mapping[str, tuple[float, ...]]:
        return {}


def _program(job: Job, how: VirtualServer, context: RankContext) -> RankProgram:
    job = attached(job, context)
    replica, work = Replica(job, context), MiniBatches(job, how.workers)
    weights = GivenWeights(replica)
    beside = 0.0 if how.exchange_seconds is None else how.exchange_seconds(job)
    first = job.first_step  # or every further fit would repeat the times of the one before
    events = server_events(how.rule, how.law, how.workers, seed=job.seed, first=first)
    updates, ended = 0, 0.0
    for epoch in Epochs(job, context):
        for step in epoch:
            update = _next_update(events, weights)
            updates += 1
            sums, samples = Sums(), sum(len(work.batch(push)) for push in update.pushes)
            given = [weights.given(push) for push in update.pushes]
            stale = tuple(update.version - 1 - push.version for push in update.pushes)
            moved = [nan] * len(given)
            if job.optimizer.needs_distance:
                moved = [replica.squares_since(each) ** 0.5 for each in given]
            trust = job.optimizer.weights(stale, moved)
            for push, values, weight in zip(update.pushes, given, trust, strict=True):
                sums += _gradients(replica, values, work.batch(push), push, samples, weight)
            replica.update(Phase("", step))
            time = update.time + updates * beside
            yield Report(StepDone(epoch.number, step, samples, sums, time, stale))
        replica.commit()
        epoch.seconds, ended = time - ended, time
        yield epoch.done(evaluate_share(replica, 0, 1))


def _next_update(events: Iterator[Event], weights: GivenWeights) -> Apply:
    """Walk through what happens up to the server's next update."""
    for event in events:
        match event:
            case Apply():
                return event
            case Start(_, push):
                weights.give(push)
            case Cancel(_, push):
                weights.given(push)
    raise AssertionError("events have no end")


def _gradients(
    replica: Replica,
    values: np.ndarray,
    batch: Batch,
    push: Push,
    samples: int,
    weight: float,
) -> Sums:
    """Add a mini-batch's part of the mean gradient over all `samples` of an update, weighted."""
    found = np.zeros_like(values)
    step = replica.job.first_step + push.number
    with replica.buffer.borrowed(values, found):
        sums = replica.gradients(Phase("", step), batch, step)
    replica.take_in(found, batch.size, samples, weight)
    return sums


class GivenWeights:
    """The weights that learners at work were given, each version once."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.versions: dict[int, np.ndarray] = {}
        self.users: Counter[int] = Counter()

    def give(self, push: Push) -> None:
        """A learner starts from the newest weights, which are of ``push.version``."""
        if push.version not in self.versions:
            self.versions[push.version] = self.replica.buffer.values.copy()
        self.users[push.version] += 1

    def given(self, push: Push) -> np.ndarray:
        """What a learner started from, which it needs no more."""
        values = self.versions[push.version]
        self.users[push.version] -= 1
        if not self.users[push.version]:
            del self.versions[push.version], self.users[push.version]
        return values


class MiniBatches:
    """Which samples each learner's n-th mini-batch has: its share of the n-th global batch."""

    def __init__(self, job: Job, learners: int) -> None:
        self.job, self.learners = job, learners
        self._firsts = [0]  # of each pass over the data, and of the one to come: its first number
        # A loader keeps its epoch's order; each learner is in one pass at a time.
        self._loader = lru_cache(learners)(job.loader)

    def batch(self, push: Push) -> Batch:
        """The samples of a mini-batch."""
        firsts, begin = self._firsts, self.job.epochs.start
        while push.number >= firsts[-1]:
            firsts.append(firsts[-1] + self._loader(begin + len(firsts) - 1).steps)
        passes = bisect_right(firsts, push.number) - 1
        epoch, position = begin + passes, push.number - firsts[passes]
        return self._loader(epoch).shard(epoch, position, push.learner, self.learners)
