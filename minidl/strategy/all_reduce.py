"""Data parallelism without a centre: every worker holds the model, and gradients are all-reduced.

Each worker computes the gradients of its slice of the batch, an all-reduce gives
everybody their sum, and everybody makes the same update (Patarasuk and Yuan 2009
for the ring; Goyal et al. 2017 for training with it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from minidl.errors import InputError
from minidl.plans import Collective, ring_all_reduce
from minidl.plans.formulas import ring_bytes
from minidl.runtime import Runtime
from minidl.runtime.conversation import Requests
from minidl.runtime.requests import RankContext, RankProgram, Report, collective
from minidl.strategy.base import Layout, Strategy, default_runtime, positive, require_workers
from minidl.strategy.job import Job, StepDone
from minidl.strategy.loop import Epochs
from minidl.strategy.replica import Replica, evaluate_share
from minidl.tasks import Sums


@dataclass(frozen=True)
class RingAllReduce(Strategy):
    """Train on workers that sum their gradients around a ring.

    Parameters
    ----------
    workers
        How many processes share each batch.
    plan
        Makes the all-reduce for that many ranks; any plan that ends with the sum
        on every rank will do.
    runtime
        What the workers run on; real processes by default.
    """

    workers: int
    plan: Callable[[int], Collective] = ring_all_reduce
    runtime: Runtime = field(default_factory=default_runtime, repr=False)

    def __post_init__(self) -> None:
        positive("workers", self.workers)

    @property
    def name(self) -> str:
        return "ring"

    @property
    def formula(self) -> str:
        return "2N(P−1)/P from each of P workers"

    def check(self, job: Job) -> None:
        require_workers(self.workers, job)
        self._plan()

    def layout(self, job: Job) -> Layout:
        plan = self._plan()
        return Layout(
            [partial(_program, job.detached(), plan)] * self.workers,
            [f"worker {rank}" for rank in range(self.workers)],
            plan.channels(),
        )

    def bytes_sent(self, job: Job) -> Mapping[str, tuple[float, ...]]:
        each = ring_bytes(self.workers, job.exchanged * job.dtype.itemsize)
        return {"gradients": (each,) * self.workers}

    def _plan(self) -> Collective:
        plan = self.plan(self.workers)
        if plan.size != self.workers:
            raise InputError(f"the plan is for {plan.size} ranks, not for {self.workers}")
        return plan


def _program(job: Job, plan: Collective, context: RankContext) -> RankProgram:
    job = job.attached(context.shared)
    rank, size = context.rank, context.size
    replica = Replica(job, context)

    def add_up(array: np.ndarray) -> Requests:
        return collective(plan, rank, array, "statistics")

    for epoch in Epochs(job, context):
        for step in epoch:
            batch, sums = epoch.shard(step, rank, size), Sums()
            for phase in job.task.phases(step):
                sums += yield from replica.gradients_together(phase, batch, step, add_up)
                grads = replica.part(replica.buffer.grads, phase)
                yield from collective(plan, rank, grads, "gradients")
                replica.store(replica.buffer.grads, phase, grads)
                replica.update(phase)
            yield Report(StepDone(epoch.number, step, batch.size, sums))
        if rank == 0:
            replica.commit()
        yield epoch.done(evaluate_share(replica, rank, size))
