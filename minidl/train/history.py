"""What a training run has recorded: losses, metrics, times, bytes, and who did what when."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from minidl.checks import is_number
from minidl.errors import InputError, unknown_name
from minidl.reprs import brief, html_table, short
from minidl.runtime.base import Traffic
from minidl.runtime.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Parameters
    ----------
    epoch
        Its number, from 0.
    train
        Means over the training samples: ``"loss"`` and the loss's metrics, as met on the
        way, while the weights moved.
    validation
        The same over the validation data, at the epoch's end; None without such data.
    seconds
        Time spent training, evaluation not counted.
    samples
        Training samples seen.
    steps
        Updates made.
    strategy
        What carried it out.
    """

    epoch: int
    train: Mapping[str, float]
    validation: Mapping[str, float] | None
    seconds: float
    samples: int
    steps: int
    strategy: str

    __repr__ = brief

    @property
    def samples_per_second(self) -> float:
        """Training throughput."""
        return self.samples / self.seconds if self.seconds else float("inf")


@dataclass(frozen=True)
class LearnerLost:
    """A fit goes on without one of its learners.

    Parameters
    ----------
    learner
        What it is called, e.g. ``"learner 2"``.
    why
        What became of it, in a line.
    epoch
        Of the newest update that was known of by then; where the fit began, if there was
        none.
    step
        Of that update.
    time
        Of that update, in seconds from the fit's beginning; 0 if there was none.
    """

    learner: str
    why: str
    epoch: int
    step: int
    time: float


class Counts(NamedTuple):
    """How many records a history has of each kind that is saved."""

    epochs: int = 0
    steps: int = 0
    lost: int = 0

    def plus(self, more: Counts) -> Counts:
        """Both together."""
        return Counts(*map(sum, zip(self, more, strict=True)))


@dataclass
class History:
    """The record of all fits of one trainer.

    Parameters
    ----------
    epochs
        One record for each epoch.
    steps
        The mean training loss and metrics of each step, and as ``"time"`` the seconds, real or
        simulated, from the beginning of its fit to its end on the last rank.
    staleness
        For each step, of every gradient applied how many updates it had missed; empty
        where all gradients are of the newest weights by construction.
    lost
        Learners that a fit lost, and went on without if it could; see `ParameterServer`.
    traffic
        Of the last fit: ``traffic[rank][operation]``, what the rank sent; empty if it failed.
    trace
        Of the last fit: the spans of every rank; None if it failed.
    seconds
        Of the last fit: how long it trained and evaluated, callbacks included.
    preparation
        Of the last fit: seconds before that, in which kernels were compiled or loaded and
        workers started. All the time of a fit that ended before its first epoch did.
    stopped
        Of the last fit: why a callback ended it early; empty if none did.
    """

    epochs: list[EpochRecord] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)
    staleness: list[tuple[int, ...]] = field(default_factory=list)
    lost: list[LearnerLost] = field(default_factory=list)
    traffic: Sequence[Mapping[str, Traffic]] = ()
    trace: Trace | None = None
    seconds: float = 0.0
    preparation: float = 0.0
    stopped: str = ""

    def __repr__(self) -> str:
        newest = f", last {_newest(self.epochs[-1])}" if self.epochs else ""
        ended = f", stopped: {self.stopped}" if self.stopped else ""
        lost = f", {len(self.lost)} learners lost" if self.lost else ""
        return f"History({len(self.epochs)} epochs, {len(self.steps)} steps{newest}{lost}{ended})"

    def _repr_html_(self) -> str:
        """A row for each of the newest epochs, for notebooks."""
        newest = self.epochs[-NEWEST:]
        kinds = ("train", "validation")
        columns = list(
            dict.fromkeys((k, n) for e in newest for k in kinds for n in getattr(e, k) or {})
        )
        heads = ["epoch", *(f"{'training' if k == 'train' else k} {n}" for k, n in columns)]
        rows = [
            [f"{e.epoch}", *(_number((getattr(e, k) or {}).get(n)) for k, n in columns),
             f"{e.seconds:.2f}"]
            for e in newest
        ]  # fmt: skip
        return html_table(repr(self), [*heads, "seconds"], rows)

    @property
    def losses(self) -> list[float]:
        """The mean training loss of each step."""
        return self.series("loss")

    def series(self, name: str) -> list[float]:
        """One figure of each step, NaN where a step has none: ``"loss"``, ``"accuracy"``.

        Raises
        ------
        UnknownNameError
            If no step has it.
        """
        known = {figure for step in self.steps for figure in step}
        if self.steps and name not in known:
            raise unknown_name("figure", name, sorted(known))
        return [step.get(name, math.nan) for step in self.steps]

    def extend(self, later: History) -> None:
        """Add the records of a later fit."""
        self.epochs += later.epochs
        self.steps += later.steps
        self.staleness += later.staleness
        self.lost += later.lost

    def __add__(self, later: History) -> History:
        whole = History()
        whole.extend(self)
        whole.extend(later)
        return whole

    @property
    def counts(self) -> Counts:
        """How many records there are."""
        return Counts(len(self.epochs), len(self.steps), len(self.lost))

    def since(self, counts: Counts) -> History:
        """The records that came after so many."""
        return History(
            self.epochs[counts.epochs :],
            self.steps[counts.steps :],
            self.staleness[counts.steps :],
            self.lost[counts.lost :],
        )

    def last(self) -> EpochRecord:
        """The newest epoch.

        Raises
        ------
        InputError
            If no epoch has been trained.
        """
        if not self.epochs:
            raise InputError("no epoch has been trained yet")
        return self.epochs[-1]

    def bytes_sent(self, operations: Sequence[str] | None = None) -> tuple[int, ...]:
        """Payload bytes that each rank sent in the last fit.

        Parameters
        ----------
        operations
            Which to count; all of them if None.
        """
        return tuple(
            sum(t.bytes for name, t in rank.items() if operations is None or name in operations)
            for rank in self.traffic
        )

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw losses and metrics over the epochs; saved as a picture if `path` is given."""
        from minidl.report.curves import draw_history

        return draw_history({"": self}, path)

    def timeline(
        self, path: str | Path | None = None, *, steps: tuple[int, int] | None = None
    ) -> Figure:
        """Draw who did what and when in the last fit.

        Parameters
        ----------
        path
            Where to save the picture, if anywhere.
        steps
            First and last step to draw; the last three of the fit if None.
        """
        from minidl.report.timeline import draw_timeline

        return draw_timeline(self._trace(), path, steps=steps)

    def save_trace(self, path: str | Path) -> None:
        """Save the last fit's spans in the Chrome trace format, which Perfetto opens."""
        self._trace().save_chrome(path)

    def _trace(self) -> Trace:
        if self.trace is None:
            raise InputError(
                "there is no trace: nothing has been trained in this session, "
                "or the last fit failed"
            )
        return self.trace

    def to_json(self) -> dict[str, Any]:
        """Epochs and steps as plain data (traffic and trace belong to one fit and stay out)."""
        return {
            "epochs": [asdict(record) for record in self.epochs],
            "steps": self.steps,
            "staleness": self.staleness,
            "lost": [asdict(loss) for loss in self.lost],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> History:
        """The inverse of `to_json`; KeyError, TypeError or ValueError for anything else."""
        steps, staleness = data["steps"], data["staleness"]
        if len(steps) != len(staleness):
            raise ValueError(f"{len(steps)} steps, and the staleness of {len(staleness)}")
        return cls(
            [_record(epoch) for epoch in data["epochs"]],
            [_figures(step) for step in steps],
            [tuple(map(_count, step)) for step in staleness],
            [_lost(**loss) for loss in data.get("lost", ())],
        )


def _record(data: Mapping[str, Any]) -> EpochRecord:
    validation = data["validation"]
    return EpochRecord(
        _count(data["epoch"]),
        _figures(data["train"]),
        None if validation is None else _figures(validation),
        _seconds(data["seconds"]),
        _count(data["samples"]),
        _count(data["steps"]),
        str(data["strategy"]),
    )


def _lost(learner: str, why: str, epoch: int, step: int, time: float) -> LearnerLost:
    return LearnerLost(str(learner), str(why), _count(epoch), _count(step), _seconds(time))


def _figures(data: dict[str, Any]) -> dict[str, float]:
    if all(type(value) is float for value in data.values()):
        return data  # a million of them need no copy
    if not all(type(value) in (int, float) for value in data.values()):
        raise ValueError(f"figures must be numbers, not {short(data)}")
    try:
        return {name: float(value) for name, value in data.items()}
    except OverflowError as error:
        raise ValueError(f"figures must be floats: {error}") from error


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{short(value)}, where a whole number of at least 0 belongs")
    return value


def _seconds(value: Any) -> float:
    if not is_number(value) or value < 0:
        raise ValueError(f"{short(value)} seconds")
    return float(value)


NEWEST = 12
"""How many epochs a notebook shows."""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _newest(record: EpochRecord) -> str:
    return ", ".join(
        f"{kind} {name} {value:.4g}"
        for kind, figures in (("training", record.train), ("validation", record.validation or {}))
        for name, value in list(figures.items())[:3]
    )
