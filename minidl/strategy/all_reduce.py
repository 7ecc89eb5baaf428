"""Data parallelism without a centre: every worker holds the model, and gradients are all-reduced.

Each worker computes the gradients of its slice of the batch, an all-reduce gives
everybody their sum, and everybody makes the same update (Patarasuk and Yuan 2009
for the ring; Goyal et al. 2017 for training with it).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from minidl.errors import InputError
from minidl.nn import synchronised
from minidl.plans import Collective, FullySync, all_reduce, costs, ring_all_reduce
from minidl.runtime import Runtime
from minidl.runtime.conversation import Requests
from minidl.runtime.requests import RankContext, RankProgram, Report, collective
from minidl.sim import Constant, Law
from minidl.strategy.base import Layout, Strategy, default_runtime, positive, require_workers
from minidl.strategy.clocked import VirtualServer
from minidl.strategy.job import Job, StepDone
from minidl.strategy.loop import Epochs
from minidl.strategy.replica import Replica, evaluate_share
from minidl.tasks import Sums


@dataclass(frozen=True)
class AllReduce(Strategy):
    """Train on workers that sum their gradients among themselves.

    Parameters
    ----------
    workers
        How many processes share each batch.
    algorithm
        How they sum: one of `minidl.plans.ALL_REDUCES`.
    options
        What the algorithm takes besides, e.g. ``{"shape": (2, 3)}`` for ``"torus"``.
    plan
        Makes the all-reduce for that many ranks instead; any plan that ends with the
        sum on every rank will do.
    straggler
        A law of times: real workers sleep so long before each step, and in virtual time
        each takes so long for it.
    runtime
        What the workers run on; real processes by default.
    """

    workers: int
    algorithm: str = "ring"
    options: Mapping[str, Any] = field(default_factory=dict)
    plan: Callable[[int], Collective] | None = None
    straggler: Law | None = None
    runtime: Runtime = field(default_factory=default_runtime, repr=False)

    def __post_init__(self) -> None:
        positive("workers", self.workers)

    @property
    def name(self) -> str:
        return self.algorithm

    @property
    def formula(self) -> str:
        cost = self._plan().cost
        each = "2N(P−1)/P" if cost is None else cost.words[2]
        return f"{each} from each of P workers" if self._even else f"{each} from the busiest"

    @property
    def _even(self) -> bool:
        cost = self._plan().cost
        return cost is None or len(set(cost.shares)) == 1

    def check(self, job: Job) -> None:
        require_workers(self.workers, job, self.straggler)
        self._plan()

    def in_virtual_time(self) -> VirtualServer:
        self._plan()  # one that cannot be made is refused on any clock
        return VirtualServer(self.workers, FullySync(), self.straggler or Constant(1.0))

    def layout(self, job: Job) -> Layout:
        plan = self._plan()
        channels = {*plan.channels()}
        if synchronised(job.model):
            channels |= {*ring_all_reduce(self.workers).channels()}
        return Layout(
            [partial(_program, job.detached(), plan, self.straggler)] * self.workers,
            [f"worker {rank}" for rank in range(self.workers)],
            sorted(channels),
        )

    def bytes_sent(self, job: Job) -> Mapping[str, tuple[float, ...]]:
        cost = self._plan().cost or costs.ring(self.workers)
        return {"gradients": cost.sent(job.exchanged * job.dtype.itemsize)}

    def _plan(self) -> Collective:
        if self.plan is None:
            return all_reduce(self.workers, self.algorithm, **self.options)
        plan = self.plan(self.workers)
        if plan.size != self.workers:
            raise InputError(f"the plan is for {plan.size} ranks, not for {self.workers}")
        return plan


RingAllReduce = AllReduce
"""Named for the algorithm that is used unless another one is chosen."""


def _program(
    job: Job, plan: Collective, straggler: Law | None, context: RankContext
) -> RankProgram:
    job = job.attached(context.shared)
    rank, size = context.rank, context.size
    replica, ring = Replica(job, context), ring_all_reduce(size)

    def add_up(array: np.ndarray) -> Requests:
        return collective(ring, rank, array, "statistics")

    for epoch in Epochs(job, context):
        for step in epoch:
            batch, sums = epoch.shard(step, rank, size), Sums()
            if straggler is not None:
                with context.trace.span("sleep"):
                    time.sleep(straggler.draw(job.seed, rank, step))
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
