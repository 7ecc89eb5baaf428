"""One process, the caller's: what every other strategy is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from minidl import kernels
from minidl.plans import split
from minidl.reprs import brief
from minidl.runtime import Alone, Runtime
from minidl.runtime.requests import RankContext, RankProgram
from minidl.strategy.base import Layout, Strategy, positive, require_runtime
from minidl.strategy.job import Job
from minidl.strategy.loop import Epochs
from minidl.strategy.replica import Replica, evaluate_share
from minidl.strategy.warm_up import attached
from minidl.tasks import Sums


@dataclass(frozen=True)
class Serial(Strategy):
    """Train in the calling process.

    Parameters
    ----------
    micro_batches
        Into how many slices a batch is cut; their gradients are summed before the
        update. Layers with batch statistics then normalise over each slice, as
        they do on the workers of a data-parallel strategy.
    device
        ``"cpu"``, or ``"gpu"`` to keep weights and activations on a GPU, through CuPy.
    runtime
        Runs the one program; tests put their own here.
    """

    micro_batches: int = 1
    device: str = "cpu"
    runtime: Runtime = field(default_factory=Alone, repr=False)

    __repr__ = brief

    def __post_init__(self) -> None:
        positive("micro_batches", self.micro_batches)
        require_runtime(self.runtime)

    @property
    def name(self) -> str:
        return "serial"

    @property
    def formula(self) -> str:
        return ""

    def check(self, job: Job) -> None:
        kernels.home_of(self.device)

    def layout(self, job: Job) -> Layout:
        light = replace(job.detached(), device=self.device)
        return Layout([partial(_program, light, self.micro_batches)], ["serial"])

    def bytes_sent(self, job: Job) -> Mapping[str, tuple[float, ...]]:
        return {}


def _program(job: Job, micro_batches: int, context: RankContext) -> RankProgram:
    job = attached(job, context)
    replica = Replica(job, context)
    for epoch in Epochs(job, context):
        for step in epoch:
            batch, sums = epoch.shard(step), Sums()
            for phase in job.task.phases(step):
                for part in split(len(batch.x), micro_batches):
                    sums += replica.gradients(phase, batch[part], step)
                replica.update(phase)
            yield epoch.step_done(step, batch.size, sums)
        replica.commit()
        yield epoch.done(evaluate_share(replica, 0, 1))
