"""The epochs and steps that every rank of a job walks through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from minidl.runtime.requests import RankContext, Report
from minidl.strategy.job import EpochDone, Job, Sums


@dataclass
class Epochs:
    """Walk through a job's epochs: each yields (position in the epoch, step of the run)."""

    job: Job
    context: RankContext

    def __iter__(self) -> Iterator[Epoch]:
        steps = self.job.loader().steps
        for count, number in enumerate(self.job.epochs):
            first = self.job.first_step + count * steps
            yield Epoch(number, range(first, first + steps), self.context)


@dataclass
class Epoch:
    """One epoch on one rank."""

    number: int
    steps: range
    context: RankContext
    seconds: float = field(default=0.0, init=False)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        trace = self.context.trace
        start = trace.clock()
        for position, step in enumerate(self.steps):
            trace.step = step
            yield position, step
        self.seconds = trace.clock() - start

    def done(self, validation: Sums) -> Report:
        """The report with which every rank ends the epoch, before it begins another.

        It is heard before the rank goes on. As no epoch can end before all ranks have
        begun it, none commits its state before the caller, told by all ranks that the
        epoch before is done, has fetched that one's.

        Parameters
        ----------
        validation
            The sums over the rank's part of the validation data.
        """
        event = EpochDone(self.number, self.context.size, self.seconds, validation)
        return Report(event, heard=True)
