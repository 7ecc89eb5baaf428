"""What a strategy is given to do, and what it tells while doing it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil
from typing import NamedTuple

import numpy as np

from minidl.data import Dataset, GrowingBatch, Loader
from minidl.nn import Layer, parts_of
from minidl.optim import MixedPrecision, Optimizer
from minidl.plans import Bucket, Bucketing
from minidl.reprs import brief
from minidl.runtime import Loss
from minidl.tasks import Sums, Task


@dataclass(frozen=True)
class Job:
    """One call of `Trainer.fit`, without a word about who carries it out.

    Parameters
    ----------
    model
        Built and named; its parameters lie in the order of `index`.
    task
        What is learnt.
    optimizer
        The update rule.
    train
        The data to learn.
    validation
        The data to evaluate after every epoch; may be None.
    batch_size
        Samples in a global batch, whoever computes it.
    seed
        Of the run.
    dtype
        Of weights and activations.
    epochs
        The numbers of the epochs to run.
    first_step
        The number of the first step, for schedules and random numbers.
    index
        Where each parameter that changes lies in a row of the state (see `Strategy.run`).
    trainable
        How many elements of a row are learnt; running means follow them.
    rate
        What learning rates are multiplied with, until the caller decides otherwise.
    precision
        How to compute in float16; None computes in `dtype`.
    device
        Where to compute: ``"cpu"`` or ``"gpu"``.
    pace
        Updates for each global batch of the data; more than 1 if some gradients suffice.
    frozen
        Where the frozen parameters lie, which `index` leaves out: no step changes them, and
        nobody sends them.
    """

    model: Layer
    task: Task
    optimizer: Optimizer
    train: Dataset
    validation: Dataset | None
    batch_size: int | GrowingBatch
    seed: int
    dtype: np.dtype
    epochs: range
    first_step: int
    index: Mapping[str, slice]
    trainable: int
    rate: float = 1.0
    precision: MixedPrecision | None = None
    device: str = "cpu"
    pace: Fraction = Fraction(1)
    frozen: Mapping[str, slice] = field(default_factory=dict)

    __repr__ = brief

    @property
    def compute_dtype(self) -> np.dtype:
        """Of activations, and of their gradients."""
        return self.dtype if self.precision is None else np.dtype(np.float16)

    @property
    def length(self) -> int:
        """Elements in a row of the state, parameters, running means, and what is frozen."""
        places = (*self.index.values(), *self.frozen.values())
        return max((place.stop for place in places), default=0)

    def steps_before(self, epoch: int) -> int:
        """Steps of this job that come before an epoch."""
        return sum(map(self.steps_in, range(self.epochs.start, epoch)))

    def steps_in(self, epoch: int) -> int:
        """Updates in an epoch."""
        return ceil(self.loader(epoch).steps * self.pace)

    @property
    def steps(self) -> int:
        """Steps of all epochs together."""
        return self.steps_before(self.epochs.stop)

    @property
    def smallest_batch(self) -> int:
        """Samples in the smallest global batch, but for the last of an epoch."""
        return self.loader(self.epochs.start).batch_size

    @property
    def exchanges(self) -> Counter[str]:
        """By the path of what learns, how many updates there are whose gradients ranks share."""
        steps = range(self.first_step, self.first_step + self.steps)
        return Counter(phase.path for step in steps for phase in self.task.phases(step))

    @property
    def exchanged(self) -> int:
        """Numbers in the gradients of all updates. Each is sent at least once if ranks share it."""
        lengths = {path: _sizes(parts_of(self.index, path)) for path in self.exchanges}
        return sum(times * lengths[path] for path, times in self.exchanges.items())

    def buckets(self, path: str, how: Bucketing, least: float) -> tuple[Bucket, ...]:
        """The gradients of what learns at a path, then its running means, in buckets.

        Each but the last of either holds so many numbers, at least.
        """
        here = parts_of(self.index, path)
        learnt = {name: place for name, place in here.items() if place.stop <= self.trainable}
        means = {name: place for name, place in here.items() if name not in learnt}
        return how.buckets(learnt, least) + how.buckets(means, least)

    def loader(self, epoch: int) -> Loader:
        """The loader of an epoch's training data."""
        size = self.batch_size if isinstance(self.batch_size, int) else self.batch_size(epoch)
        return Loader(self.train, size, seed=self.seed, dtype=self.dtype)

    def arrays(self) -> dict[str, np.ndarray]:
        """The data sets' arrays by name, to be shared instead of copied to every rank."""
        found = {"train.inputs": self.train.inputs, "train.targets": self.train.targets}
        if self.validation is not None:
            found["validation.inputs"] = self.validation.inputs
            found["validation.targets"] = self.validation.targets
        return found

    def detached(self) -> Job:
        """This job without its data sets' arrays, light enough to send to a worker."""
        validation = self.validation and _with_arrays(self.validation, None, None)
        return replace(self, train=_with_arrays(self.train, None, None), validation=validation)

    def attached(self, arrays: Mapping[str, np.ndarray]) -> Job:
        """A detached job with the arrays that `arrays` named, wherever they lie now."""
        train = _with_arrays(self.train, arrays["train.inputs"], arrays["train.targets"])
        validation = self.validation
        if validation is not None:
            validation = _with_arrays(
                validation, arrays["validation.inputs"], arrays["validation.targets"]
            )
        return replace(self, train=train, validation=validation)


def _sizes(places: Mapping[str, slice]) -> int:
    return sum(place.stop - place.start for place in places.values())


def _with_arrays(
    dataset: Dataset, inputs: np.ndarray | None, targets: np.ndarray | None
) -> Dataset:
    twin = copy.copy(dataset)  # not `replace`: a data set without arrays would be refused
    object.__setattr__(twin, "inputs", inputs)
    object.__setattr__(twin, "targets", targets)
    return twin


@dataclass(frozen=True)
class StepDone:
    """A rank has finished its part of a step.

    Parameters
    ----------
    epoch
        Its number in the run.
    step
        Its number in the run.
    batch_size
        The step is complete when the parts' samples add up to it.
    sums
        Losses and metrics of this part.
    time
        Seconds since the fit began, real or simulated.
    staleness
        For each gradient applied, how many updates it had missed.
    """

    epoch: int
    step: int
    batch_size: int
    sums: Sums
    time: float = 0.0
    staleness: tuple[int, ...] = ()

    __repr__ = brief


@dataclass(frozen=True)
class EpochDone:
    """A rank has trained an epoch, written its part of the state, and evaluated its share.

    Parameters
    ----------
    epoch
        The epoch that ended.
    ranks
        How many ranks there are; the epoch is whole when all have said so.
    seconds
        How long the rank trained in this epoch, evaluation not counted.
    validation
        The sums over the rank's part of the validation data.
    began
        When the rank began the first epoch of the fit, on the machine's monotonic clock.
    """

    epoch: int
    ranks: int
    seconds: float
    validation: Sums
    began: float

    __repr__ = brief


Event = StepDone | EpochDone | Loss


class Verdict(NamedTuple):
    """What the caller decides at the end of an epoch."""

    stop: bool
    """Whether it was the last one."""
    rate: float
    """What learning rates are multiplied with from now on."""
