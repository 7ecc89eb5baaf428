"""Putting together what the ranks of a run report, in whatever order it comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from minidl.runtime import Loss
from minidl.strategy import EpochDone, Event, Job, StepDone, Verdict
from minidl.tasks import Sums
from minidl.train.history import EpochRecord, History, LearnerLost
from minidl.train.progress import Progress


@dataclass
class _Part:
    """What is known of an epoch that is under way."""

    train: dict[int, Sums] = field(default_factory=dict)
    steps: dict[int, dict[str, float]] = field(default_factory=dict)
    staleness: dict[int, tuple[int, ...]] = field(default_factory=dict)
    done: dict[int, EpochDone] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """The epochs of a job that are whole and whose state is kept.

    Parameters
    ----------
    epochs
        How many are complete.
    steps
        How many steps these have.
    state
        As it was after them.
    history
        Their records alone.
    """

    epochs: int
    steps: int
    state: np.ndarray
    history: History


class Collector:
    """Adds up the parts of steps and epochs, and keeps the state of the last epoch that is whole.

    Parts are added in the order of ranks, and steps in the order of their numbers, whoever
    reports first: so equal runs have equal sums, to the last bit.

    Parameters
    ----------
    job
        What is being done.
    strategy
        What it is called.
    shown
        Is told of steps and epochs as they are complete.
    state
        Where training starts.
    decide
        Called at the end of every epoch, to say how to go on.

    Attributes
    ----------
    lost
        Learners that were lost.
    records
        The record of each complete epoch.
    histories
        For each of them, its record and those of its steps: each step's mean losses and
        metrics, its ``"time"``, and the staleness of the gradients applied, where it is known.
    kept
        How many epochs the state kept has seen, and that state.
    began
        When the first rank began to train, in seconds of `time.perf_counter`; None before an
        epoch is whole.
    """

    def __init__(
        self,
        job: Job,
        strategy: str,
        shown: Progress,
        state: np.ndarray,
        decide: Callable[[Collector], Verdict],
    ) -> None:
        self.job, self.strategy, self.shown, self.decide = job, strategy, shown, decide
        self.lost: list[LearnerLost] = []
        self.records: list[EpochRecord] = []
        self.histories: list[History] = []
        self._steps = [0]  # how many there are in the first 0, 1, 2, ... epochs
        self.kept: tuple[int, np.ndarray] = (0, state)
        self.began: float | None = None
        self._newest = job.epochs.start, job.first_step, 0.0
        self._parts: dict[int, dict[int, Sums]] = defaultdict(dict)
        self._times: dict[int, float] = defaultdict(float)
        self._epochs: dict[int, _Part] = defaultdict(_Part)

    def hear(self, rank: int, event: Event) -> int:
        """Take in one event; see `Listener`."""
        match event:
            case StepDone():
                self._add_step(rank, event)
                return 0
            case Loss():
                self.lost.append(LearnerLost(event.name, event.why, *self._newest))
                self.shown.note(f"lost: {event.why}")
                return 0
            case EpochDone():
                return self._add_epoch(rank, event)

    def keep(self, epochs: int, state: np.ndarray) -> Verdict:
        """Take the state at the end of so many epochs; see `Listener`."""
        self.kept = (epochs, state)  # at once: Ctrl-C may come between any two statements
        return self.decide(self)

    def finished(self) -> Finished:
        """What is kept if nothing more comes."""
        epochs, state = self.kept
        return Finished(epochs, self._steps[epochs], state, self.since(0))

    def staleness(self) -> list[int]:
        """How many updates each gradient applied had missed, where known, in all steps so far."""
        whole = [step for history in self.histories for step in history.staleness]
        under_way = [step for part in self._epochs.values() for step in part.staleness.values()]
        return [missed for step in (*whole, *under_way) for missed in step]

    @property
    def steps(self) -> int:
        """How many steps there are in the epochs kept."""
        return self._steps[self.kept[0]]

    def since(self, epochs: int) -> History:
        """The records of what is kept but for the first so many epochs of the job."""
        kept, first = self.kept[0], self.job.first_step
        whole = History()
        for history in self.histories[epochs:kept]:
            whole.extend(history)
        start, end = first + self._steps[epochs], first + self._steps[kept]
        whole.lost = [loss for loss in self.lost if start <= loss.step < end]
        return whole

    def _add_step(self, rank: int, event: StepDone) -> None:
        epoch = self._epochs[event.epoch]
        if event.step in epoch.steps:  # complete without this rank, which had no sample of it
            return
        parts = self._parts[event.step]
        parts[rank] = event.sums
        self._times[event.step] = max(self._times[event.step], event.time)
        if sum(part.samples for part in parts.values()) < event.batch_size:
            return
        sums = in_order_of_keys(self._parts.pop(event.step))
        seconds = self._times.pop(event.step)
        epoch.steps[event.step] = sums.means() | {"time": seconds}
        self._newest = event.epoch, event.step, seconds
        if event.staleness:
            epoch.staleness[event.step] = event.staleness
        epoch.train[event.step] = sums
        self.shown.step(StepDone(event.epoch, event.step, event.batch_size, sums))

    def _add_epoch(self, rank: int, event: EpochDone) -> int:
        part = self._epochs[event.epoch]
        part.done[rank] = event
        if len(part.done) < event.ranks:
            return 0
        del self._epochs[event.epoch]
        train = in_order_of_keys(part.train)
        validation = in_order_of_keys({at: done.validation for at, done in part.done.items()})
        record = EpochRecord(
            event.epoch,
            train.means(),
            validation.means() if validation.samples else None,
            max(done.seconds for done in part.done.values()),
            train.samples,
            self.job.steps_in(event.epoch),
            self.strategy,
        )
        if self.began is None:
            self.began = min(done.began for done in part.done.values())
        steps = sorted(part.steps)
        self.histories.append(
            History(
                [record],
                [part.steps[step] for step in steps],
                [part.staleness.get(step, ()) for step in steps],
            )
        )
        self._steps.append(self._steps[-1] + record.steps)
        self.records.append(record)
        self.shown.epoch(record)
        return len(self.records)


def in_order_of_keys(parts: Mapping[int, Sums]) -> Sums:
    """The sum of some parts, added in the order of their ranks or steps."""
    return sum((parts[key] for key in sorted(parts)), Sums())
