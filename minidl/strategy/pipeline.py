"""Model parallelism by layers: each stage holds some layers, micro-batches flow through them.

Which micro-batch goes forward or backward when is a plan (GPipe: Huang et al.
2019, arXiv 1811.06965); this file carries one out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from minidl.data import Batch, in_order
from minidl.errors import InputError, unknown_name
from minidl.nn import EVALUATE, Shape
from minidl.plans import (
    SCHEDULES,
    Activation,
    Backward,
    Forward,
    Gradient,
    Plan,
    Receive,
    Send,
    Step,
    split,
)
from minidl.reprs import brief
from minidl.runtime import Runtime
from minidl.runtime.requests import (
    Exchange,
    Incoming,
    Outgoing,
    RankContext,
    RankProgram,
)
from minidl.strategy.base import Layout, Strategy, default_runtime, positive, require_runtime
from minidl.strategy.job import Job
from minidl.strategy.jointly import norm_bytes, update_jointly
from minidl.strategy.loop import Epochs
from minidl.strategy.partition import Stage, first_learning, partition
from minidl.strategy.replica import Replica
from minidl.strategy.warm_up import attached
from minidl.tasks import Sums, Supervised
from minidl.tasks.supervised import non_finite


@dataclass(frozen=True)
class Pipeline(Strategy):
    """Train on stages that each hold some consecutive layers.

    Parameters
    ----------
    stages
        How many processes share the layers.
    micro_batches
        Into how many slices each batch is cut.
    schedule
        ``"gpipe"``, or ``"sequential"``: no two stages at work at the same time.
    runtime
        What the stages run on; real processes by default.
    """

    stages: int
    micro_batches: int = 4
    schedule: str = "gpipe"
    runtime: Runtime = field(default_factory=default_runtime, repr=False)

    __repr__ = brief

    def __post_init__(self) -> None:
        positive("stages", self.stages)
        positive("micro_batches", self.micro_batches)
        require_runtime(self.runtime)
        if not isinstance(self.schedule, str) or self.schedule not in SCHEDULES:
            raise unknown_name("schedule", self.schedule, SCHEDULES)

    @property
    def name(self) -> str:
        return "pipeline"

    @property
    def formula(self) -> str:
        return "activations forward, their gradients back, between stages"

    def check(self, job: Job) -> None:
        _supervised(job)
        self._parts(job)

    def layout(self, job: Job) -> Layout:
        plan, parts = self.plan(), self._parts(job)
        return Layout(
            [
                partial(
                    _program, job.detached(), stage, plan, self.micro_batches, first_learning(parts)
                )
                for stage in parts
            ],
            [f"stage {number}" for number in range(self.stages)],
            plan.channels(),
        )

    def bytes_sent(self, job: Job) -> Mapping[str, tuple[float, ...]]:
        samples = len(job.epochs) * len(job.train) * job.compute_dtype.itemsize
        parts = self._parts(job)
        borders = [
            samples * int(np.prod(stage.output_shape, dtype=np.int64)) for stage in parts[:-1]
        ]
        first = first_learning(parts)
        sent: dict[str, tuple[float, ...]] = {
            "activations": (*borders, 0),
            "gradients": (*[0] * (first + 1), *borders[first:]),
        }
        return sent | norm_bytes(job, job.steps, self.stages)

    def plan(self) -> Plan:
        """The schedule for these stages and micro-batches."""
        return SCHEDULES[self.schedule](self.stages, self.micro_batches)

    def _parts(self, job: Job) -> tuple[Stage, ...]:
        return partition(job.model, job.train.sample_shape, self.stages)


def _program(
    job: Job, stage: Stage, plan: Plan, micro_batches: int, first: int, context: RankContext
) -> RankProgram:
    job = attached(job, context)
    rank, last = context.rank, context.size - 1
    task = _supervised(job)
    replica = Replica(job, context, stage.model())
    for epoch in Epochs(job, context):
        for step in epoch:
            (phase,), batch = task.phases(step), epoch.shard(step)
            flow = _Flow(task, replica, stage, batch, step, micro_batches, rank, first, last)
            for together in plan.programs[rank]:
                transfers = flow.carry_out(together)
                if transfers:
                    yield Exchange(transfers)
            yield from update_jointly(replica, phase, range(context.size), rank)
            yield epoch.step_done(step, batch.size, flow.sums)
        replica.commit()
        sums = yield from _evaluate(replica, stage, rank, last)
        yield epoch.done(sums)


def _supervised(job: Job) -> Supervised:
    """The job's task, of which stages know more than that it has gradients."""
    if not isinstance(job.task, Supervised):
        raise InputError(
            f"a pipeline trains outputs towards targets, and cannot do {type(job.task).__name__}: "
            "choose Serial, RingAllReduce or ParameterServer"
        )
    return job.task


class _Flow:
    """One batch on its way through one stage: the micro-batches that are under way.

    Stages before the `first` that learns are frozen: no gradient comes to them.
    """

    def __init__(
        self,
        task: Supervised,
        replica: Replica,
        stage: Stage,
        batch: Batch,
        step: int,
        micro_batches: int,
        rank: int,
        first: int,
        last: int,
    ) -> None:
        self.task, self.replica, self.stage = task, replica, stage
        self.batch, self.step = batch, step
        self.slices = split(len(batch.x), micro_batches)
        self.is_first, self.is_last = rank == 0, rank == last
        self.is_frozen, self.ends_here = rank < first, rank == first
        self.arrays: dict[Any, np.ndarray] = {}
        self.saved: dict[int, Any] = {}
        self.sums = Sums()

    def carry_out(self, together: Step) -> tuple[Outgoing | Incoming, ...]:
        """Do a step's computing; returns its transfers, which the runtime must do."""
        transfers: list[Outgoing | Incoming] = []
        for instruction in together:
            match instruction:
                case Receive(_, Gradient()) | Backward() if self.is_frozen:
                    pass
                case Send(_, Gradient()) if self.is_frozen or self.ends_here:
                    pass
                case Receive(peer, Activation() | Gradient() as item):
                    self.arrays[item] = array = self._empty(item)
                    transfers.append(Incoming(peer, array, _OPERATIONS[type(item)]))
                case Send(peer, item):
                    # A layer of one's own may have made it wider than the next stage expects.
                    array = np.ascontiguousarray(
                        self.arrays.pop(item), self.replica.job.compute_dtype
                    )
                    transfers.append(Outgoing(peer, array, _OPERATIONS[type(item)]))
                case Forward(micro_batch):
                    self._forward(micro_batch)
                case Backward(micro_batch):
                    self._backward(micro_batch)
        return tuple(transfers)

    def _empty(self, item: Activation | Gradient) -> np.ndarray:
        stage, part = self.stage, self.slices[item.micro_batch]
        shape = stage.input_shape if isinstance(item, Activation) else stage.output_shape
        return np.empty((part.stop - part.start, *shape), self.replica.job.compute_dtype)

    def _forward(self, micro_batch: int) -> None:
        part, model = self.slices[micro_batch], self.replica.model
        arriving = Activation(micro_batch)
        x = self.batch.x[part] if self.is_first else self.arrays.pop(arriving)
        if self.is_first and x.dtype.kind == "f":
            x = x.astype(self.replica.job.compute_dtype, copy=False)
        if not len(x):
            y = self._empty_output(self.stage.output_shape)
        else:
            mode = self.replica.mode(self.step, self.batch.first + part.start, self.batch.size)
            with self.replica.trace.span("forward", micro_batch), self.replica.computing():
                y, saved = model.forward(x, mode)
                if self.is_last:
                    y, sums = self.task.loss_gradient(model, x, y, self.batch.y[part], mode)
                    self.sums += sums
                elif not np.isfinite(y).all():
                    raise non_finite(model, x, mode)
            if not self.is_frozen:
                self.saved[micro_batch] = saved
        # After the last stage the batch turns round: y now is the gradient of the loss by it.
        leaving = Gradient(micro_batch) if self.is_last else Activation(micro_batch)
        self.arrays[leaving] = y

    def _backward(self, micro_batch: int) -> None:
        dy, model = self.arrays.pop(Gradient(micro_batch)), self.replica.model
        if not len(dy):
            dx = self._empty_output(self.stage.input_shape)
        else:
            with self.replica.trace.span("backward", micro_batch), self.replica.computing():
                saved = self.saved.pop(micro_batch)
                if self.ends_here:
                    model.accumulate(dy, saved)
                else:
                    dx = model.backward(dy, saved)
        if not self.ends_here:
            self.arrays[Gradient(micro_batch)] = dx

    def _empty_output(self, shape: Shape) -> np.ndarray:
        return np.empty((0, *shape), self.replica.job.compute_dtype)


_OPERATIONS = {Activation: "activations", Gradient: "gradients"}


def _evaluate(replica: Replica, stage: Stage, rank: int, last: int) -> Any:
    """Pass the validation data through the stages; the last one returns the sums."""
    validation, dtype = replica.job.validation, replica.job.dtype
    sums = Sums()
    if validation is None:
        return sums
    for batch in in_order(validation, dtype):
        x = batch.x
        if rank > 0:
            x = np.empty((len(batch), *stage.input_shape), dtype)
            yield Exchange((Incoming(rank - 1, x, "evaluation"),))
        with replica.trace.span("evaluate"):
            y, _ = replica.model.forward(x, EVALUATE)
        if rank < last:
            yield Exchange((Outgoing(rank + 1, np.ascontiguousarray(y, dtype), "evaluation"),))
        else:
            sums += _supervised(replica.job).score_outputs(y, batch.y)
    return sums
