"""Batches that grow while training goes on, instead of a learning rate that falls."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.checks import whole


@dataclass(frozen=True)
class GrowingBatch:
    """A batch size that is multiplied again and again.

    The noise of a step is about lr / batch size, so a larger batch cools training as a
    smaller learning rate does, in fewer steps (Smith, Kindermans, Ying and Le, "Don't
    decay the learning rate, increase the batch size", 2018).

    Parameters
    ----------
    first
        The batch size of the first epochs.
    factor
        What it is multiplied with, every so many epochs.
    every
        Epochs between two growths.
    most
        What it never exceeds; None for no limit. No batch is larger than the data set.

    Raises
    ------
    InputError
        If one of them is not a whole number of at least 1.
    """

    first: int
    factor: int = 2
    every: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "most" and value is None:
                continue
            object.__setattr__(self, name, whole(f"GrowingBatch: {name}", value))

    def __call__(self, epoch: int) -> int:
        """The batch size in an epoch, counted from 0."""
        size = self.first * self.factor ** (epoch // self.every)
        return size if self.most is None else min(size, max(self.first, self.most))
