"""What a task is: the phases of a training step, and the gradients of each.

A phase is always the same: gradients of a slice of the batch, summed over whoever
has the other slices, and an update. So a strategy needs to know of a task only this,
and a network that is trained in turns runs on every data-parallel one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from minidl.data import Batch, Dataset
from minidl.nn import Layer, Mode
from minidl.reprs import brief
from minidl.runtime.trace import Recorder


class Total(NamedTuple):
    """Something summed over some samples."""

    value: float
    samples: int


@dataclass(frozen=True)
class Sums:
    """Losses and metrics summed over some samples, so that parts can be added.

    Parameters
    ----------
    samples
        How many samples of the batch they tell of.
    totals
        The sums by name, each with the number of samples it was taken over.
    """

    samples: int = 0
    totals: Mapping[str, Total] = field(default_factory=dict)

    __repr__ = brief

    @classmethod
    def over(cls, samples: int, values: Mapping[str, float]) -> Sums:
        """These sums, each over this many samples."""
        return cls(samples, {name: Total(value, samples) for name, value in values.items()})

    def __add__(self, other: Sums) -> Sums:
        none = Total(0.0, 0)
        both = {**self.totals, **other.totals}
        pairs = {name: (self.totals.get(name, none), other.totals.get(name, none)) for name in both}
        added = {n: Total(a.value + b.value, a.samples + b.samples) for n, (a, b) in pairs.items()}
        return Sums(self.samples + other.samples, added)

    def means(self) -> dict[str, float]:
        """Each sum divided by its number of samples."""
        return {name: total.value / total.samples for name, total in self.totals.items()}


@dataclass(frozen=True)
class Phase:
    """One update within a step.

    Parameters
    ----------
    path
        Where the layers are that learn, a dotted name; empty for the whole model.
    update
        How many updates of this kind came before: what an optimizer counts.
    """

    path: str
    update: int


WHOLE = ""
"""The path of a phase in which the whole model learns."""


class Task:
    """The base of every task.

    A task keeps no state and is sent to every rank. One of your own defines
    `gradients` and `score`, and `phases` if a step has more than one update.
    """

    period: int = 1
    """After how many steps the phases come again."""

    __repr__ = brief

    def taken(self, model: Layer, dataset: Dataset) -> Dataset:
        """The data set as the task takes it, where there is one way to read it."""
        return dataset

    def check(self, model: Layer, dataset: Dataset) -> None:
        """See, before training, that a built model and a data set suit the task.

        Raises
        ------
        InputError
            If they do not.
        """

    def phases(self, step: int) -> tuple[Phase, ...]:
        """What is updated in a step, one after the other."""
        return (Phase(WHOLE, step),)

    def gradients(
        self, phase: Phase, model: Layer, batch: Batch, mode: Mode, trace: Recorder
    ) -> Sums:
        """Add the gradients of a slice of the batch to the model's.

        What falls to parameters that do not learn in this phase is thrown away.

        Parameters
        ----------
        phase
            One of the step's.
        model
            Bound to this rank's parameters.
        batch
            The slice; not empty. The loss is the mean over the whole batch, ``batch.size``.
        mode
            Of the forward passes; names their random numbers.
        trace
            Where to record spans.

        Returns
        -------
        Sums
            Losses and metrics. Its `samples` are to be counted in one phase of a step only.

        Raises
        ------
        NonFiniteError
            If a loss is NaN or infinite.
        """
        raise TypeError(f"{type(self).__name__} defines no gradients")

    def score(self, model: Layer, batch: Batch) -> Sums:
        """Losses and metrics of a slice of a data set, without gradients."""
        raise TypeError(f"{type(self).__name__} defines no score")
