"""How well training scales: speedup, efficiency, communication, and time to accuracy.

What `minidl.train.benchmark` finds. Throughput alone says little, so that every number of
workers trains to the same accuracy (as MLPerf has it: Mattson et al. 2020, arXiv:1910.01500).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any, Literal

import numpy as np

from minidl.errors import InputError
from minidl.reprs import brief
from minidl.runtime.machine import Machine
from minidl.runtime.trace import KINDS
from minidl.train.history import EpochRecord, History

COMMUNICATION = ("send", "receive", "reduce", "wait")
"""Kinds of spans that a run on one process has none of."""
Mode = Literal["one", "strong", "weak"]


@dataclass(frozen=True)
class Spread:
    """The middle one of some measurements, and how far the others lie."""

    median: float
    least: float
    most: float

    __repr__ = brief

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Fit:
    """One training run, from start to the target.

    Parameters
    ----------
    samples_per_second
        Throughput: of a median epoch, the first not counted.
    accuracy
        On the test set, after the last epoch.
    epochs
        How many until the target was reached, see `time_to_accuracy`; None if it was not.
    seconds
        How long until then; None if it was not.
    shares
        What a step's time went into, see `step_shares`.
    """

    samples_per_second: float
    accuracy: float
    epochs: int | None
    seconds: float | None
    shares: Mapping[str, float]

    __repr__ = brief


@dataclass(frozen=True)
class Measured:
    """So many workers, measured several times.

    Parameters
    ----------
    mode
        ``"strong"``: the global batch is that of one process. ``"weak"``: each worker's is.
        ``"one"``: there is one worker.
    strategy
        Its name; ``"serial"`` is the baseline.
    workers
        How many there were, P.
    ranks
        How many processes there were, a server included.
    batch_size
        Samples in a global batch.
    fits
        Its runs.
    baseline
        Those of the serial run, in the same order.
    """

    mode: Mode
    strategy: str
    workers: int
    ranks: int
    batch_size: int
    fits: tuple[Fit, ...]
    baseline: tuple[Fit, ...]

    __repr__ = brief

    @property
    def _speedups(self) -> list[float]:
        pairs = zip(self.fits, self.baseline, strict=True)
        return [fit.samples_per_second / base.samples_per_second for fit, base in pairs]

    @property
    def throughput(self) -> Spread:
        """Samples a second."""
        return Spread.of([fit.samples_per_second for fit in self.fits])

    @property
    def speedup(self) -> Spread:
        """Throughput over that of the serial run in the same round."""
        return Spread.of(self._speedups)

    @property
    def efficiency(self) -> Spread:
        """Speedup over P."""
        return Spread.of([speedup / self.workers for speedup in self._speedups])

    @property
    def step_seconds(self) -> Spread:
        """For a whole global batch."""
        return Spread.of([self.batch_size / fit.samples_per_second for fit in self.fits])

    @property
    def overhead_seconds(self) -> Spread:
        """By how much a step takes longer than P processes would need that cost nothing to join.

        Under weak scaling, these take as long as the serial run's step.
        """
        pairs = zip(self.fits, self._speedups, strict=True)
        return Spread.of(
            [self.batch_size / f.samples_per_second * (1 - s / self.workers) for f, s in pairs]
        )

    @property
    def communication(self) -> Spread | None:
        """The share of a step in `COMMUNICATION`; None if no step could be looked at."""
        shares = [sum(f.shares.get(kind, 0.0) for kind in COMMUNICATION) for f in self.fits]
        return Spread.of(shares) if all(fit.shares for fit in self.fits) else None

    @property
    def shares(self) -> Mapping[str, float]:
        """What a step's time went into, the mean of all runs; empty if none could be looked at."""
        kinds = {kind for fit in self.fits for kind in fit.shares}
        means = {k: sum(fit.shares.get(k, 0.0) for fit in self.fits) for k in KINDS if k in kinds}
        return {kind: total / len(self.fits) for kind, total in means.items()}

    @property
    def reached(self) -> int:
        """How many runs reached the target."""
        return sum(fit.seconds is not None for fit in self.fits)

    @property
    def seconds(self) -> Spread | None:
        """Of training until the target; None unless every run reached it."""
        found = [fit.seconds for fit in self.fits if fit.seconds is not None]
        return Spread.of(found) if len(found) == len(self.fits) else None

    @property
    def epochs(self) -> Spread | None:
        """Until the target; None unless every run reached it."""
        found = [fit.epochs for fit in self.fits if fit.epochs is not None]
        return Spread.of(found) if len(found) == len(self.fits) else None

    def to_json(self) -> dict[str, Any]:
        """What was measured and what follows from it, as plain data."""
        spreads: dict[str, Spread | None] = {
            "throughput": self.throughput,
            "speedup": self.speedup,
            "efficiency": self.efficiency,
            "step_seconds": self.step_seconds,
            "overhead_seconds": self.overhead_seconds,
            "communication": self.communication,
            "epochs": self.epochs,
            "seconds": self.seconds,
        }
        derived = {name: spread and asdict(spread) for name, spread in spreads.items()}
        return asdict(replace(self, baseline=())) | derived | {"reached": self.reached}


@dataclass(frozen=True)
class Scaling:
    """All rows, the serial run first, and what they were measured on.

    Parameters
    ----------
    machine
        As it was at the start.
    target
        The accuracy to which all trained.
    epochs
        After how many a run was given up.
    train
        How many training samples there are.
    test
        How many test samples there are.
    rows
        The results.
    """

    machine: Machine
    target: float
    epochs: int
    train: int
    test: int
    rows: tuple[Measured, ...]

    __repr__ = brief

    @property
    def standard_error(self) -> float:
        """Of an accuracy at the target, on so many test samples."""
        return sqrt(self.target * (1 - self.target) / self.test)

    @property
    def warnings(self) -> list[str]:
        """What must be known to read the figures rightly."""
        found = [crowded(row.workers, row.ranks, self.machine) for row in self.rows]
        busy = f"other programs were at work: load {self.machine.load:.1f} at the start"
        return [*dict.fromkeys(filter(None, found)), *([busy] if self.machine.load > 0.5 else [])]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        rows = [row.to_json() for row in self.rows]
        more = {"standard_error": self.standard_error, "warnings": self.warnings}
        return asdict(self) | {"rows": rows} | more


def crowded(workers: int, ranks: int, machine: Machine) -> str:
    """A warning if there are more processes than cores, else nothing."""
    if ranks <= machine.usable:
        return ""
    return (
        f"P = {workers}: {ranks} processes share {machine.usable:g} cores and take turns; "
        "what they wait for is not only each other"
    )


def warm_seconds(records: Sequence[EpochRecord]) -> list[float]:
    """Each epoch's seconds, but for the first those of a median one of the others.

    In its first epoch a worker loads compiled kernels and touches its memory for the first
    time, which longer training does not do more often. A single epoch is left as it is.
    """
    seconds = [record.seconds for record in records]
    return seconds if len(seconds) < 2 else [statistics.median(seconds[1:]), *seconds[1:]]


def time_to_accuracy(records: Sequence[EpochRecord], target: float) -> tuple[int, float] | None:
    """Epochs and seconds of training until the test accuracy is at least `target`.

    Evaluation is not counted, nor starting workers; of the first epoch, see `warm_seconds`.
    None if no epoch reached the target.
    """
    for count, record in enumerate(records, start=1):
        if (record.validation or {}).get("accuracy", 0.0) >= target:
            return count, sum(warm_seconds(records)[:count])
    return None


def step_shares(history: History) -> dict[str, float]:
    """What the workers' time in a step of the last fit went into, by kind of span.

    The mean over all ranks that compute (a server does not). A step lasts from its first
    span to the next step's, so what is left to 1 is time in no span. The first epoch is not
    counted, nor each epoch's last step, after which workers evaluate and wait to be heard. What a
    rank exchanges beside its program is hidden and no part of its step. Empty if no step is left.
    """
    trace, steps = history.trace, [record.steps for record in history.epochs]
    if trace is None or not steps:
        raise InputError(
            "there is no trace: nothing has been trained in this session, or the last fit failed"
        )
    last = np.cumsum(steps) - 1
    found = []
    for spans in trace.ranks:
        if not (spans["kind"] == KINDS.index("forward")).any():
            continue
        numbers, first = np.unique(spans["step"], return_index=True)
        taken = ~np.isin(numbers, last) & (numbers >= steps[0])
        taken[[0, -1]] = False  # the oldest spans may have been dropped
        lasted = np.diff(spans["start"][first], append=0.0)[taken].sum()
        if not lasted:
            continue
        mine = spans[np.isin(spans["step"], numbers[taken])]
        seconds = np.bincount(mine["kind"], mine["stop"] - mine["start"], len(KINDS))
        found.append(seconds / lasted)
    if not found:
        return {}
    return {kind: float(share) for kind, share in zip(KINDS, np.mean(found, axis=0), strict=True)}
