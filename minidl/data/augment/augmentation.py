"""What every augmentation is, and how a slice of an epoch is augmented.

A sample's random numbers follow from the seed, the epoch and its place in the epoch's order.
So it is changed alike whoever computes it and whatever the batch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from minidl import rng
from minidl.checks import is_number
from minidl.errors import InputError, ShapeError


@dataclass(frozen=True)
class Augmentation:
    """The base of every augmentation of images.

    One of your own is a frozen dataclass of its settings, with `draws`, which says how many
    random numbers a sample needs, and `apply`, which uses them:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Brightness(Augmentation):
    ...     most: float
    ...
    ...     def draws(self, shape):
    ...         return 1
    ...
    ...     def apply(self, x, numbers):
    ...         return x + self.most * (2 * numbers[:, :, None, None] - 1)

    If what it does depends on nothing but `x` and `numbers`, sample by sample, it is equal under
    every strategy.
    """

    normal: ClassVar[bool] = False
    """Whether its random numbers are normal (mean 0, variance 1) rather than uniform in [0, 1)."""

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a ShapeError if samples of this shape cannot be augmented; (H, W, C) can be."""
        if len(shape) != 3 or 0 in shape:
            raise ShapeError(
                f"{self} changes images of shape (height, width, channels), not samples of shape "
                f"{shape}"
            )

    def draws(self, shape: tuple[int, ...]) -> int:
        """How many random numbers each sample of this shape needs."""
        raise TypeError(f"{type(self).__name__} defines no draws")

    def apply(self, x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """The changed images.

        Parameters
        ----------
        x
            Floats, shape (n, H, W, C); must not be changed itself. `n` may be 0.
        numbers
            Random numbers, float64, shape ``(n, draws)``; row i is for image i alone.

        Returns
        -------
        ndarray
            Shape (n, H, W, C) again.
        """
        raise TypeError(f"{type(self).__name__} defines no apply")

    def _require_at_most(self, name: str, shape: tuple[int, ...], allowed: int) -> None:
        value = getattr(self, name)
        if value > allowed:
            raise ShapeError(
                f"{self}: {name} is too large for images of {shape[0]}×{shape[1]}; "
                f"at most {allowed} is allowed"
            )


def augment(
    x: np.ndarray, augmentations: Sequence[Augmentation], seed: int, epoch: int, first: int
) -> np.ndarray:
    """A slice of an epoch's samples, changed by one augmentation after the other.

    Parameters
    ----------
    x
        Inputs of the slice, shape (n, H, W, C).
    augmentations
        In the order in which they act; each has random numbers of its own.
    seed
        Of the run; with epoch and position, it decides what happens to a sample.
    epoch
        Of the run, from 0; each epoch changes the samples in another way.
    first
        The place of the slice's first sample in the epoch's order.

    Raises
    ------
    ShapeError
        If an augmentation gives another shape than it was given.
    """
    for position, each in enumerate(augmentations):
        name = (seed, "augment", epoch, position)
        draw = rng.per_sample_normal if each.normal else rng.per_sample_uniform
        y = each.apply(x, draw(name, first, len(x), each.draws(x.shape[1:])))
        if y.shape != x.shape:
            raise ShapeError(f"{each} made {y.shape} of {x.shape}; it must keep the shape")
        x = y.astype(x.dtype, copy=False)
    return x


def require_within(name: str, value: float, most: float = inf) -> None:
    """Raise an InputError if `value` is no finite number from 0 to `most`."""
    if not is_number(value) or not 0 <= value <= most:
        allowed = "a finite number of at least 0" if most == inf else f"a number from 0 to {most}"
        raise InputError(f"{name} must be {allowed}, not {value!r}")


def one_of(count: int, uniform: np.ndarray) -> np.ndarray:
    """Whole numbers below `count`, all equally likely, from numbers in [0, 1)."""
    return (uniform * count).astype(np.intp)
