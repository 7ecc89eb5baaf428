"""Data parallelism around a centre: a server holds the parameters, learners send it gradients.

When the server applies which gradients is decided by a rule of `minidl.plans`,
which does no input or output; this file only carries its decisions out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from minidl.plans import FullySync, Rule
from minidl.runtime import Runtime
from minidl.runtime.requests import (
    Exchange,
    Incoming,
    Outgoing,
    RankContext,
    RankProgram,
    ReceiveAny,
    Report,
)
from minidl.strategy.base import Layout, Strategy, default_runtime, positive, require_workers
from minidl.strategy.job import Job, StepDone, Sums
from minidl.strategy.loop import Epochs
from minidl.strategy.replica import Replica, evaluate_share

SERVER = 0


@dataclass(frozen=True)
class ParameterServer(Strategy):
    """Train on learners that send gradients to a server and fetch parameters from it.

    Parameters
    ----------
    workers
        How many learners share each batch. The server is a further process.
    rule
        Decides when the server applies which gradients.
    runtime
        What server and learners run on; real processes by default.
    """

    workers: int
    rule: Rule = field(default_factory=FullySync)
    runtime: Runtime = field(default_factory=default_runtime, repr=False)

    def __post_init__(self) -> None:
        positive("workers", self.workers)

    @property
    def name(self) -> str:
        return "server"

    @property
    def formula(self) -> str:
        return "N from each of P−1 learners, N(P−1) from the server"

    def check(self, job: Job) -> None:
        require_workers(self.workers, job)

    def layout(self, job: Job) -> Layout:
        light = job.detached()
        learners = range(1, self.workers + 1)
        return Layout(
            [partial(_server, light, self.rule)] + [partial(_learner, light)] * self.workers,
            ["server"] + [f"learner {rank}" for rank in learners],
            [(SERVER, rank) for rank in learners] + [(rank, SERVER) for rank in learners],
        )

    def bytes_sent(self, job: Job) -> Mapping[str, tuple[float, ...]]:
        model = job.steps * job.length * job.dtype.itemsize
        return {
            "gradients": (0,) + (model,) * self.workers,
            "parameters": (model * self.workers,) + (0,) * self.workers,
        }


def _server(job: Job, rule: Rule, context: RankContext) -> RankProgram:
    job = job.attached(context.shared)
    replica = Replica(job, context)
    arrived = {rank: np.empty(job.length, job.dtype) for rank in range(1, context.size)}
    state = rule.start(len(arrived))
    fetched = [state.version] * len(arrived)
    for epoch in Epochs(job, context):
        for _, step in epoch:
            applied = False
            while not applied:
                rank = yield ReceiveAny(arrived, "gradients")
                state, decision = rule.push(state, rank - 1, fetched[rank - 1])
                for push in decision.apply:
                    with context.trace.span("reduce", push.learner):
                        replica.buffer.grads += arrived[push.learner + 1]
                applied = bool(decision.apply)
                if applied:
                    replica.update(step)
                for learner in decision.release:
                    fetched[learner] = state.version
                yield Exchange(
                    tuple(
                        Outgoing(learner + 1, replica.buffer.values, "parameters")
                        for learner in decision.release
                    )
                )
        replica.commit()
        yield epoch.done(Sums())


def _learner(job: Job, context: RankContext) -> RankProgram:
    job = job.attached(context.shared)
    replica, loader = Replica(job, context), job.loader()
    rank, size = context.rank - 1, context.size - 1
    values, grads = replica.buffer.values, replica.buffer.grads
    for epoch in Epochs(job, context):
        for position, step in epoch:
            batch = loader.shard(epoch.number, position, rank, size)
            sums = replica.gradients(batch, step)
            yield Exchange((Outgoing(SERVER, grads, "gradients"),))
            grads[...] = 0
            yield Exchange((Incoming(SERVER, values, "parameters"),))
            yield Report(StepDone(epoch.number, step, batch.size, sums))
        yield epoch.done(evaluate_share(replica, rank, size))
