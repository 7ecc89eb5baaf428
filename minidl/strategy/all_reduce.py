"""Data parallelism without a centre: every worker holds the model, and gradients are all-reduced.

Each worker computes the gradients of its slice of the batch, an all-reduce gives
everybody their sum, and everybody makes the same update (Patarasuk and Yuan 2009
for the ring; Goyal et al. 2017 for training with it).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, NamedTuple

import numpy as np

from minidl.checks import whole
from minidl.errors import DeadlockError, InputError
from minidl.nn import synchronised
from minidl.plans import (
    Bucketing,
    Collective,
    FullySync,
    all_reduce,
    check_all_reduce,
    costs,
    predicted_seconds,
    ring_all_reduce,
)
from minidl.reprs import ALWAYS, brief
from minidl.runtime import Runtime
from minidl.runtime.requests import RankContext, RankProgram, Requests, collective
from minidl.sim import Constant, Law
from minidl.strategy.base import (
    Layout,
    Strategy,
    default_runtime,
    positive,
    require_runtime,
    require_workers,
)
from minidl.strategy.clocked import VirtualServer
from minidl.strategy.compression import Compression, TopK
from minidl.strategy.job import Job
from minidl.strategy.loop import Epochs
from minidl.strategy.reduction import Reduction
from minidl.strategy.replica import Replica, evaluate_share
from minidl.strategy.warm_up import attached
from minidl.tasks import Sums, Supervised

BUCKET_BYTES = 1 << 18
"""Of a bucket under overlap, unless told otherwise."""


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
        sum on every rank will do. That it does is proved before a fit starts.
    bucket_bytes
        Gradients are exchanged in buckets of at least so many bytes, those of the last layers
        first. None exchanges them all at once.
    overlap
        Whether a bucket is exchanged as soon as the backward pass has filled it, while that
        goes on with earlier layers; without `bucket_bytes`, in buckets of 256 KiB. The
        weights come out the same, bit for bit, as without overlap of the same buckets.
    bucketing
        Cuts buckets, and says when they are launched, in another way.
    straggler
        A law of times: real workers sleep so long before each step, and in virtual time
        each takes so long for it.
    compression
        What makes gradients smaller for their way: `Float16` or `TopK`; None sends them as
        they are. The running means of batch normalisation are never compressed.
    runtime
        What the workers run on; real processes by default.
    """

    workers: int
    algorithm: str = field(default="ring", metadata=ALWAYS)
    options: Mapping[str, Any] = field(default_factory=dict)
    plan: Callable[[int], Collective] | None = None
    bucket_bytes: int | None = None
    overlap: bool = False
    bucketing: Bucketing = field(default_factory=Bucketing)
    straggler: Law | None = None
    compression: Compression | None = None
    runtime: Runtime = field(default_factory=default_runtime, repr=False)

    __repr__ = brief

    def __post_init__(self) -> None:
        positive("workers", self.workers)
        require_runtime(self.runtime)
        if not isinstance(self.options, Mapping):
            raise InputError(f"options must be a mapping of names to values, not {self.options!r}")
        if self.bucket_bytes is not None:
            whole("bucket_bytes", self.bucket_bytes, most=2**63 - 1)
        if not isinstance(self.compression, Compression | None):
            raise InputError(
                f"compression is Float16(), TopK(share) or None, not {self.compression!r}"
            )
        if isinstance(self.compression, TopK) and (self.plan or self.algorithm != "ring"):
            raise InputError(
                "TopK gathers entries around a ring: algorithm must be 'ring' and plan None, "
                f"not {self.algorithm!r} and {self.plan!r}"
            )

    @property
    def name(self) -> str:
        return self.algorithm

    @property
    def formula(self) -> str:
        cost = self._plan().cost
        each = "2N(P−1)/P" if cost is None else cost.words[2]
        each = each if self.compression is None else self.compression.words(each)
        return f"{each} from each of P workers" if self._even else f"{each} from the busiest"

    @property
    def _even(self) -> bool:
        cost = self._plan().cost
        return cost is None or len(set(cost.shares)) == 1

    def check(self, job: Job) -> None:
        require_workers(self.workers, job, self.straggler)
        self._prove()
        if self.overlap and not (isinstance(job.task, Supervised) and job.precision is None):
            raise InputError(
                "overlap=True is for supervised tasks in full precision: elsewhere a gradient may "
                "change again after a backward pass through its layer"
            )
        if self.compression is not None and job.precision is not None:
            raise InputError(
                "compression takes gradients of full precision, not of mixed precision, in which "
                "some overflow by design: train without compression or without precision"
            )

    def in_virtual_time(self) -> VirtualServer:
        self._prove()  # what is no all-reduce is refused on any clock
        if self.compression is not None:
            raise InputError("in virtual time nothing is sent: compression must be None")
        if self.overlap and self.runtime.link is not None:
            raise InputError("in virtual time no part of an exchange is hidden: use overlap=False")
        law = self.straggler or Constant(1.0)
        return VirtualServer(self.workers, FullySync(), law, self._exchange_seconds)

    def _exchange_seconds(self, job: Job) -> float:
        """What all buckets of an update take, one after the other."""
        plan, link, itemsize = self._plan(), self.runtime.link, job.dtype.itemsize
        if link is None:
            return 0.0
        places = [b.place for b in job.buckets("", self.bucketing, self._bucket_length(job))]
        sizes = [(place.stop - place.start) * itemsize for place in places]
        return sum(predicted_seconds(plan, size, link.latency, link.bandwidth) for size in sizes)

    def layout(self, job: Job) -> Layout:
        plan = self._plan()
        length = self._bucket_length(job)
        how = _How(length, self.bucketing, self.overlap, self.compression, self.straggler)
        channels = {*plan.channels()}
        if self.compression is not None:
            channels |= self.compression.channels(plan)
        if synchronised(job.model):
            channels |= {*ring_all_reduce(self.workers).channels()}
        return Layout(
            [partial(_program, job.detached(), plan, how)] * self.workers,
            [f"worker {rank}" for rank in range(self.workers)],
            sorted(channels),
        )

    def bytes_sent(self, job: Job) -> Mapping[str, tuple[float, ...]]:
        cost = self._plan().cost or costs.ring(self.workers)
        itemsize = job.dtype.itemsize
        gradients, means = np.zeros(self.workers), np.zeros(self.workers)
        for path, times in job.exchanges.items():
            for bucket in job.buckets(path, self.bucketing, self._bucket_length(job)):
                length = bucket.place.stop - bucket.place.start
                if bucket.place.start >= job.trainable:
                    means += times * np.array(cost.sent(length * itemsize))
                elif self.compression is None:
                    gradients += times * np.array(cost.sent(length * itemsize))
                else:
                    gradients += times * np.array(self.compression.sent(cost, length, itemsize))
        sent = {"gradients": tuple(gradients.tolist())}
        return sent | ({"running means": tuple(means.tolist())} if means.any() else {})

    def _bucket_length(self, job: Job) -> float:
        if self.bucket_bytes is None and not self.overlap:
            return inf
        return (self.bucket_bytes or BUCKET_BYTES) / job.dtype.itemsize

    def _prove(self) -> None:
        """Refuse a plan that cannot be made, or is the caller's own and no all-reduce."""
        plan = self._plan()
        if self.plan is not None:
            with suppress(DeadlockError):  # the runtime will say which workers wait
                check_all_reduce(plan)

    def _plan(self) -> Collective:
        if self.plan is None:
            return all_reduce(self.workers, self.algorithm, **self.options)
        if not callable(self.plan) or not isinstance(plan := self.plan(self.workers), Collective):
            raise InputError(
                "plan is a function that makes a Collective for so many ranks, such as "
                f"minidl.plans.ring_all_reduce, not {self.plan!r}"
            )
        if plan.size != self.workers:
            raise InputError(f"the plan is for {plan.size} ranks, not for {self.workers}")
        return plan


RingAllReduce = AllReduce
"""Named for the algorithm that is used unless another one is chosen."""


class _How(NamedTuple):
    """What a worker needs to know of the strategy, beside the plan."""

    bucket_length: float
    bucketing: Bucketing
    overlap: bool
    compression: Compression | None
    straggler: Law | None


def _program(job: Job, plan: Collective, how: _How, context: RankContext) -> RankProgram:
    job = attached(job, context)
    rank, size = context.rank, context.size
    replica, ring = Replica(job, context), ring_all_reduce(size)
    compressor = None
    if how.compression is not None:
        compressor = how.compression.start(replica.buffer.places, job.dtype)

    def add_up(array: np.ndarray) -> Requests:
        return collective(ring, rank, array, "statistics")

    def exchange(grads: np.ndarray, place: slice) -> Requests:
        if place.start >= job.trainable:
            return collective(plan, rank, grads, f"running means/{place.start}")
        if compressor is None:
            return collective(plan, rank, grads, f"gradients/{place.start}")
        return compressor.all_reduce(plan, rank, grads, f"gradients/{place.start}", place.start)

    reduction = Reduction(replica, exchange, how.bucketing, how.bucket_length)
    listen = reduction.beside if how.overlap and size > 1 else None
    for epoch in Epochs(job, context):
        for step in epoch:
            batch, sums = epoch.shard(step, rank, size), Sums()
            if how.straggler is not None:
                with context.trace.span("sleep"):
                    time.sleep(how.straggler.draw(job.seed, rank, step))
            for phase in job.task.phases(step):
                reduction.begin(phase)
                sums += yield from replica.gradients_together(phase, batch, step, add_up, listen)
                yield from reduction.finish()
                replica.update(phase)
            yield epoch.step_done(step, batch.size, sums)
        if rank == 0:
            replica.commit()
        yield epoch.done(evaluate_share(replica, rank, size))
