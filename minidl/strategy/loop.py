"""The epochs and steps that every rank of a job walks through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from minidl.data import Batch, Loader
from minidl.runtime.requests import RankContext, Report
from minidl.strategy.job import EpochDone, Job, StepDone
from minidl.tasks import Sums


@dataclass
class Epochs:
    """Walk through a job's epochs, as long as the caller does not say stop."""

    job: Job
    context: RankContext

    def __iter__(self) -> Iterator[Epoch]:
        first, began = self.job.first_step, self.context.trace.clock()
        for number in self.job.epochs:
            loader = self.job.loader(number)
            steps = range(first, first + self.job.steps_in(number))
            yield Epoch(number, steps, loader, self.context, began)
            first = steps.stop
            if self.context.shared["verdict"][0]:
                return


@dataclass
class Epoch:
    """One epoch on one rank: walks through the numbers of its steps in the run.

    `began` is when the fit did, on the trace's clock.
    """

    number: int
    steps: range
    loader: Loader
    context: RankContext
    began: float
    seconds: float = field(default=0.0, init=False)

    def __iter__(self) -> Iterator[int]:
        trace = self.context.trace
        start = trace.clock()
        for step in self.steps:
            trace.step = step
            yield step
        self.seconds = trace.clock() - start

    def shard(self, step: int, rank: int = 0, size: int = 1) -> Batch:
        """One of `size` parts of a step's batch."""
        with self.context.trace.span("load"):
            return self.loader.shard(self.number, step - self.steps.start, rank, size)

    def step_done(self, step: int, batch_size: int, sums: Sums) -> Report:
        """The report with which a rank ends its part of a step."""
        time = self.context.trace.clock() - self.began
        return Report(StepDone(self.number, step, batch_size, sums, time))

    def done(self, validation: Sums, alone: bool = False) -> Report:
        """The report with which every rank ends the epoch, before it begins another.

        It is heard before the rank goes on. As no epoch can end before all ranks have
        begun it, none commits its state before the caller, told by all ranks that the
        epoch before is done, has fetched that one's.

        Parameters
        ----------
        validation
            The sums over the rank's part of the validation data.
        alone
            Whether only this rank has epochs; it then waits for none.
        """
        ranks = 1 if alone else self.context.size
        done = EpochDone(self.number, ranks, self.seconds, validation, self.began)
        return Report(done, True, alone)
