"""Data parallelism around a centre: a server holds the parameters, learners send it gradients.

When the server applies which gradients is decided by a rule of `minidl.plans`,
which does no input or output; this file only carries its decisions out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from itertools import product
from typing import Literal

import numpy as np

from minidl.checks import fits
from minidl.errors import InputError, PlanError
from minidl.nn import synchronised
from minidl.plans import FullySync, LastingRule, Push, Rule, ring_all_reduce
from minidl.plans.server import answer_of
from minidl.reprs import ALWAYS, brief
from minidl.runtime import Runtime
from minidl.runtime.requests import (
    Exchange,
    Incoming,
    Outgoing,
    RankContext,
    RankProgram,
    ReceiveAny,
    Requests,
    collective,
)
from minidl.sim import Constant, Law
from minidl.strategy import rule_learner, rule_server
from minidl.strategy.base import (
    Layout,
    Strategy,
    default_runtime,
    positive,
    require_runtime,
    require_workers,
)
from minidl.strategy.clocked import VirtualServer
from minidl.strategy.job import Job
from minidl.strategy.jointly import neighbours, norm_bytes, update_jointly
from minidl.strategy.loop import Epochs
from minidl.strategy.replica import Replica, evaluate_share
from minidl.strategy.shards import Shards
from minidl.strategy.warm_up import attached
from minidl.tasks import Sums, Supervised


@dataclass(frozen=True)
class ParameterServer(Strategy):
    """Train on learners that send gradients to a server and fetch parameters from it.

    Under the rule `FullySync` this equals the serial run. Under the others, learner i's n-th
    mini-batch is its share of the n-th global batch, an update takes the mean over the samples of
    the gradients applied, and an epoch is as many updates as apply a gradient for every sample
    of the data, on average. The history has the staleness of every gradient applied. The server
    evaluates; learners do not wait for that. A fit begins with all learners at rest; work that
    no update has used by its end comes to nothing.

    Parameters
    ----------
    workers
        How many learners share each batch. Servers are further processes.
    rule
        Decides when the server applies which gradients.
    straggler
        A law of times: real learners sleep so long before each mini-batch, and in virtual
        time each takes so long for it.
    on_failure
        What becomes of the run when a learner's process raises, dies or stops answering.
        ``"raise"``: it ends with an error. ``"continue"``: the others go on, if the rule can
        do without some of the learners, and the history has who was lost. Updates are made
        of as many gradients as before, and an epoch of as many updates, so it still applies a
        gradient for every sample on average; but the lost learner's share of each global
        batch is left out, and another part of the data is in it in each pass. When too few
        are left for the rule, the error is that of the last learner lost.
    servers
        How many servers hold a part of the parameters each, which are cut between, never
        within, them. In virtual time, where messages take none, there is always one.
    runtime
        What server and learners run on; real processes by default.
    """

    workers: int
    rule: Rule = field(default_factory=FullySync, metadata=ALWAYS)
    straggler: Law | None = None
    on_failure: Literal["raise", "continue"] = "raise"
    servers: int = 1
    runtime: Runtime = field(default_factory=default_runtime, repr=False)

    __repr__ = brief

    def __post_init__(self) -> None:
        positive("workers", self.workers)
        if isinstance(self.rule, type) or not isinstance(self.rule, Rule):
            raise InputError(
                f"rule must be a Rule of minidl.plans, such as Async(), not {self.rule!r}"
            )
        if not fits(self.on_failure, Literal["raise", "continue"]):
            raise InputError(f"on_failure is 'raise' or 'continue', not {self.on_failure!r}")
        positive("servers", self.servers)
        require_runtime(self.runtime)

    @property
    def name(self) -> str:
        return "server"

    @property
    def formula(self) -> str:
        if not self._synchronous:
            return ""  # it depends on who is how fast
        if self.servers == 1:
            return "N from each of P−1 learners, N(P−1) from the server"
        s = self.servers
        return f"N from each of P−{s} learners, some N(P−{s})/{s} from each of {s} servers"

    @property
    def _synchronous(self) -> bool:
        return isinstance(self.rule, FullySync)

    def paced(self, job: Job) -> Job:
        return replace(job, pace=Fraction(self.workers, self.rule.gradients(self.workers)))

    def check(self, job: Job) -> None:
        require_workers(self.workers, job, self.straggler)
        self.rule.start(self.workers)
        if self.on_failure == "continue":
            self._check_that_it_can_continue()
        self._shards(job)
        if self._synchronous:
            return
        name = f"ParameterServer with the rule {type(self.rule).__name__}"
        if not isinstance(job.task, Supervised):
            raise InputError(f"{name} is for supervised tasks, not for {type(job.task).__name__}")
        if synchronised(job.model):
            raise InputError(
                f"{name} cannot normalise over the whole batch, which its learners do not compute "
                "at the same time: use BatchNorm(synchronised=False), or the rule FullySync"
            )
        if job.precision is not None:
            raise InputError(f"{name} computes in full precision, not in mixed precision")

    def _check_that_it_can_continue(self) -> None:
        if self.servers > 1:
            raise InputError(
                f"on_failure='continue' is for 1 server, not for {self.servers}, which would have "
                "to agree on which of a lost learner's gradients all of them have"
            )
        if not isinstance(self.rule, LastingRule):
            raise InputError(
                f"on_failure='continue' needs a rule that says how to go on without a learner, "
                f"by a method `lose`; {type(self.rule).__name__} has none"
            )
        try:
            self.rule.lose(self.rule.start(self.workers), 0)
        except PlanError as error:
            raise InputError(
                f"with on_failure='continue' no learner can be lost: {error}"
            ) from None

    def in_virtual_time(self) -> VirtualServer:
        if self.runtime.link is not None:
            raise InputError(
                "in virtual time a server's link, which all learners share, is not simulated: "
                "use a runtime without link, or an all-reduce"
            )
        return VirtualServer(self.workers, self.rule, self.straggler or Constant(1.0))

    def layout(self, job: Job) -> Layout:
        light, shards = job.detached(), self._shards(job)
        arrays: Mapping[str, np.ndarray] = {}
        server, learner = _server, _learner
        if not self._synchronous:
            server, learner = rule_server.server, rule_learner.learner
            arrays = rule_learner.shared_arrays(self.workers)
        serve = partial(server, light, self.rule, shards)
        learn = partial(learner, light, self.straggler, shards)
        pairs = product(shards.servers, range(1, 1 + self.workers))
        return Layout(
            [serve] + [learn] * self.workers + [serve] * (self.servers - 1),
            shards.ranks,
            [channel for a, b in pairs for channel in ((a, b), (b, a))]
            + neighbours(shards.servers)
            + self._ring(job),
            arrays,
            range(1, 1 + self.workers) if self.on_failure == "continue" else (),
        )

    def bytes_sent(self, job: Job) -> Mapping[str, tuple[float, ...]]:
        if not self._synchronous:
            return {}
        shards, updates = self._shards(job), job.exchanges
        learners = dict.fromkeys(range(1, 1 + self.workers), job.exchanged * job.dtype.itemsize)
        held = Counter[int]()
        for path, count in updates.items():
            for rank, part in shards.parts(job.index, path).items():
                held[rank] += count * (part.stop - part.start) * self.workers * job.dtype.itemsize
        sent: dict[str, Mapping[int, int]] = {"gradients": learners, "parameters": held}
        for operation, each in norm_bytes(job, updates.total(), self.servers).items():
            sent[operation] = dict(zip(shards.servers, each, strict=True))
        ranks = range(len(shards.ranks))
        return {name: tuple(each.get(rank, 0) for rank in ranks) for name, each in sent.items()}

    def _shards(self, job: Job) -> Shards:
        return Shards.of(job.index, self.servers, self.workers)

    def _ring(self, job: Job) -> list[tuple[int, int]]:
        """Channels between the learners, for layers that need sums over all of them."""
        if not synchronised(job.model):
            return []
        return [(1 + a, 1 + b) for a, b in ring_all_reduce(self.workers).channels()]


def _server(job: Job, rule: Rule, shards: Shards, context: RankContext) -> RankProgram:
    job = attached(job, context)
    place = shards.servers.index(context.rank)
    replica = Replica(job, context, names=shards.names[place])
    learners = range(1, 1 + shards.learners)
    state = rule.start(len(learners))
    fetched = [state.version] * len(learners)
    arrived: dict[str, dict[int, np.ndarray]] = {}
    for epoch in Epochs(job, context):
        for step in epoch:
            for phase in job.task.phases(step):
                mine = shards.parts(job.index, phase.path)[context.rank]
                # Every server has the scale of mixed precision, at the end; one sends it.
                own = slice(mine.stop - mine.start)
                grads = replica.part(replica.buffer.grads, phase)
                pushed = arrived.setdefault(
                    phase.path, {rank: np.empty_like(grads[own]) for rank in learners}
                )
                applied = False
                while not applied:
                    rank = yield ReceiveAny(pushed, "gradients")
                    state, decision = answer_of(rule, state, Push(rank - 1, fetched[rank - 1]))
                    for push in decision.apply:
                        with context.trace.span("reduce", push.learner):
                            grads[own] += pushed[push.learner + 1]
                    applied = bool(decision.apply)
                    if applied:
                        replica.store(replica.buffer.grads, phase, grads)
                        yield from update_jointly(replica, phase, shards.servers, place)
                    for learner in decision.release:
                        fetched[learner] = state.version
                    values = replica.part(replica.buffer.values, phase)[own]
                    yield Exchange(
                        tuple(
                            Outgoing(learner + 1, values, "parameters")
                            for learner in decision.release
                        )
                    )
        replica.commit()
        yield epoch.done(Sums())


def _learner(job: Job, straggler: Law | None, shards: Shards, context: RankContext) -> RankProgram:
    job = attached(job, context)
    replica = Replica(job, context)
    rank, size = context.rank - 1, shards.learners
    ring = ring_all_reduce(size)

    def add_up(array: np.ndarray) -> Requests:
        return collective(ring, rank, array, "statistics", first=1)

    for epoch in Epochs(job, context):
        for step in epoch:
            batch, sums = epoch.shard(step, rank, size), Sums()
            if straggler is not None:
                with context.trace.span("sleep"):
                    time.sleep(straggler.draw(job.seed, rank, step))
            for phase in job.task.phases(step):
                parts = shards.parts(job.index, phase.path).items()
                sums += yield from replica.gradients_together(phase, batch, step, add_up)
                grads = replica.part(replica.buffer.grads, phase)
                yield Exchange(tuple(Outgoing(to, grads[part], "gradients") for to, part in parts))
                replica.buffer.grads[...] = 0
                values = replica.part(replica.buffer.values, phase)
                yield Exchange(
                    tuple(Incoming(by, values[part], "parameters") for by, part in parts)
                )
                replica.store(replica.buffer.values, phase, values)
            yield epoch.step_done(step, batch.size, sums)
        yield epoch.done(evaluate_share(replica, rank, size))
