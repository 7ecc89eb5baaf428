"""Batches of a data set, shuffled anew each epoch and cut into one shard a rank."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minidl import rng
from minidl.checks import checked, naming, whole
from minidl.data.augment import augment
from minidl.data.dataset import Dataset
from minidl.errors import InputError
from minidl.plans.instructions import split
from minidl.reprs import brief


@dataclass(frozen=True, eq=False)
class Batch:
    """A slice of a global batch.

    Parameters
    ----------
    x
        Inputs of the slice, (n, ...).
    y
        Targets of the slice, (n, ...).
    first
        Position of its first sample in the global batch.
    size
        Samples in the global batch.
    """

    x: np.ndarray
    y: np.ndarray
    first: int
    size: int

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, part: slice) -> Batch:
        """A slice of this slice; `part` has a start, and no step."""
        return Batch(self.x[part], self.y[part], self.first + part.start, self.size)


@checked
class Loader:
    """Every sample once an epoch, in an order that only the seed and the epoch decide.

    Parameters
    ----------
    dataset
        Where the samples come from.
    batch_size
        Samples in a global batch; the last one of an epoch may have fewer.
    seed
        Decides the order, and what augmentation does.
    dtype
        Of inputs, and of targets that are floats.

    Raises
    ------
    InputError
        If `batch_size` is less than 1.
    """

    __repr__ = brief

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int = 0,
        dtype: np.typing.DTypeLike = np.float32,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; at least 1 is needed")
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.dtype = np.dtype(dtype)
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.dataset) // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """The whole epoch's samples, shuffled; kept until another epoch is asked for."""
        if self._order is None or self._order[0] != epoch:
            generator = rng.stream(self.seed, "shuffle", epoch)
            self._order = (epoch, generator.permutation(len(self.dataset)))
        return self._order[1]

    def indices(self, epoch: int, step: int) -> np.ndarray:
        """Which samples make up this step's global batch."""
        if not 0 <= step < self.steps:
            raise InputError(f"step {step} is not in an epoch of {self.steps} steps")
        return self.order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]

    def shard(self, epoch: int, step: int, rank: int = 0, size: int = 1) -> Batch:
        """One rank's part of a global batch, augmented if the data set says so.

        Parameters
        ----------
        epoch
            Which one, from 0; decides the order.
        step
            Which global batch of the epoch, from 0 to ``steps - 1``.
        rank
            Which of the parts, from 0 to ``size - 1``.
        size
            Into how many nearly equal consecutive parts the batch is cut. Some are empty if
            it has fewer samples than that.
        """
        if not 0 <= rank < size:
            raise InputError(f"there is no rank {rank} among {size}")
        whole = self.indices(epoch, step)
        part = split(len(whole), size)[rank]
        x, y = self.dataset.batch(whole[part], self.dtype)
        place = step * self.batch_size + part.start
        x = augment(x, self.dataset.augmentations, self.seed, epoch, place)
        return Batch(x, y, part.start, len(whole))


@checked
def in_order(
    dataset: Dataset,
    dtype: np.typing.DTypeLike = np.float32,
    rows: slice | None = None,
    batch_size: int = 256,
) -> Iterator[Batch]:
    """Samples in the order in which they are stored, for evaluation.

    Parameters
    ----------
    dataset
        Whose samples.
    dtype
        Of inputs, and of targets that are floats.
    rows
        Which ones; all if None.
    batch_size
        How many at a time.
    """
    whole("in_order: batch_size", batch_size)
    with naming("in_order: rows"):
        first, stop = _span(slice(None) if rows is None else rows, len(dataset))
    for start in range(first, stop, batch_size):
        x, y = dataset.batch(slice(start, min(start + batch_size, stop)), dtype)
        yield Batch(x, y, start, len(dataset))


def _span(rows: slice, count: int) -> tuple[int, int]:
    """The first row and the one behind the last, of so many."""
    try:
        first, stop, step = rows.indices(count)
    except TypeError:
        first, stop, step = 0, 0, 0
    if step != 1:
        raise InputError(f"must be a slice of whole numbers without a step, not {rows}")
    return first, stop
