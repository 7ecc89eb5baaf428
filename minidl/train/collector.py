"""Putting together what the ranks of a run report, in whatever order it comes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from minidl.strategy import Committed, Evaluated, Event, Job, StepDone, Sums
from minidl.train.history import EpochRecord


@dataclass
class _Part:
    """What is known of an epoch that is under way."""

    train: Sums = field(default_factory=Sums)
    validation: Sums = field(default_factory=Sums)
    committed: list[Committed] = field(default_factory=list)


@dataclass
class Collector:
    """Adds up the parts of steps and epochs.

    Parameters
    ----------
    job
        What is being done.
    strategy
        What it is called.

    Attributes
    ----------
    losses
        The mean loss of each complete step.
    whole
        The record of each complete epoch, and the slot that holds the state at its end.
    """

    job: Job
    strategy: str

    def __post_init__(self) -> None:
        self.losses: dict[int, float] = {}
        self.whole: list[tuple[EpochRecord, int]] = []
        self._steps: dict[int, Sums] = defaultdict(Sums)
        self._epochs: dict[int, _Part] = defaultdict(_Part)

    def add(self, event: Event) -> tuple[StepDone | None, EpochRecord | None]:
        """Take in one event; returns the step and the epoch that are thereby complete, if any."""
        step = None
        match event:
            case StepDone():
                step = self._add_step(event)
            case Evaluated(epoch, sums):
                self._epochs[epoch].validation += sums
            case Committed(epoch):
                self._epochs[epoch].committed.append(event)
        return step, self._finish(event.epoch)

    def _add_step(self, event: StepDone) -> StepDone | None:
        self._steps[event.step] += event.sums
        if self._steps[event.step].samples < event.batch_size or event.step in self.losses:
            return None
        sums = self._steps.pop(event.step)
        self.losses[event.step] = sums.means()["loss"]
        self._epochs[event.epoch].train += sums
        return StepDone(event.epoch, event.step, event.batch_size, sums)

    def _finish(self, epoch: int) -> EpochRecord | None:
        part, job = self._epochs[epoch], self.job
        wanted = 0 if job.validation is None else len(job.validation)
        whole = (
            part.committed
            and len(part.committed) == part.committed[0].parts
            and part.train.samples == len(job.train)
            and part.validation.samples == wanted
        )
        if not whole:
            return None
        del self._epochs[epoch]
        record = EpochRecord(
            epoch,
            part.train.means(),
            part.validation.means() if wanted else None,
            max(committed.seconds for committed in part.committed),
            part.train.samples,
            self.strategy,
        )
        self.whole.append((record, part.committed[0].slot))
        return record
