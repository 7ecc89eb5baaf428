"""How long a learner takes for a mini-batch: laws of service times, drawn from a seed.

A time depends only on the seed, the learner and the number of the mini-batch, so that
real workers and simulated ones take the same times, whoever draws them and when. All
laws but one are drawn by inversion: the quantile function at a uniform random number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path
from reprlib import repr as short
from statistics import NormalDist

import numpy as np

from minidl.checks import checked, is_number
from minidl.errors import InputError
from minidl.reprs import brief
from minidl.rng import per_sample_uniform

BLOCK = 64
"""How many times of a learner `Law.stream` draws at once."""


@dataclass(frozen=True)
class Law:
    """The base of every law; one of your own needs a `quantile` and, if it exists, a `mean`.

    What is drawn that is no time, negative or not finite, is an `InputError` that says when.
    """

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """The times that a share `u`, in [0, 1), of all mini-batches stays below."""
        raise TypeError(f"{type(self).__name__} defines no quantile")

    def mean(self, learner: int = 0) -> float:
        """The mean time in seconds of a learner's mini-batches; may be infinite."""
        raise TypeError(f"{type(self).__name__} defines no mean")

    def draws(self, seed: int, learner: int, first: int, count: int) -> np.ndarray:
        """The seconds that mini-batches `first` to ``first + count - 1`` of a learner take.

        Returns
        -------
        ndarray of float64, shape (count,)
        """
        uniform = per_sample_uniform((seed, "service time", learner), first, count, 1)
        return self.quantile(uniform[:, 0])

    def draw(self, seed: int, learner: int, number: int) -> float:
        """The seconds that a learner takes for its mini-batch of this number, from 0."""
        return float(self._times(seed, learner, number, 1)[0])

    def stream(self, seed: int, learner: int, first: int = 0) -> Iterator[float]:
        """The seconds of a learner's mini-batches from `first` on, without end."""
        while True:
            yield from self._times(seed, learner, first, BLOCK).tolist()
            first += BLOCK

    def check(self, seed: int, learners: int) -> None:
        """Draw the first times of so many learners, so that a law which gives none fails early."""
        for learner in range(learners):
            next(self.stream(seed, learner))

    def _times(self, seed: int, learner: int, first: int, count: int) -> np.ndarray:
        drawn = self.draws(seed, learner, first, count)
        times = np.asarray(drawn)
        if times.dtype.kind not in "iuf" or times.shape != (count,):
            raise InputError(
                f"{type(self).__name__}: {count} numbers are needed for so many times, an array "
                f"of shape ({count},), not {short(drawn)}"
            )
        wrong = np.flatnonzero(~(np.isfinite(times) & (times >= 0)))
        if len(wrong):
            name = f"learner {learner}'s time for mini-batch {first + wrong[0]}"
            _require(self, name, float(times[wrong[0]]))
        return times


@dataclass(frozen=True)
class Constant(Law):
    """Always the same time.

    Parameters
    ----------
    seconds
        At least 0.
    """

    seconds: float

    def __post_init__(self) -> None:
        _require(self, "seconds", self.seconds)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return np.full(u.shape, float(self.seconds))

    def mean(self, learner: int = 0) -> float:
        return float(self.seconds)


@dataclass(frozen=True)
class Exponential(Law):
    """Times without memory: however long it has taken, what remains is as long as ever.

    Parameters
    ----------
    rate
        Mini-batches a second, above 0; the mean time is its inverse.
    """

    rate: float = 1.0

    def __post_init__(self) -> None:
        _require(self, "rate", self.rate, strict=True)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return -np.log1p(-u) / self.rate

    def mean(self, learner: int = 0) -> float:
        return 1 / self.rate


@dataclass(frozen=True)
class ShiftedExponential(Law):
    """A time that every mini-batch takes, and an exponential one upon it.

    Parameters
    ----------
    shift
        The least time in seconds, at least 0.
    rate
        Of the exponential part, above 0.
    """

    shift: float
    rate: float = 1.0

    def __post_init__(self) -> None:
        _require(self, "shift", self.shift)
        _require(self, "rate", self.rate, strict=True)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.shift - np.log1p(-u) / self.rate

    def mean(self, learner: int = 0) -> float:
        return self.shift + 1 / self.rate


@dataclass(frozen=True)
class Pareto(Law):
    """Heavy tails: a share (least / t) ** shape of all mini-batches takes longer than t.

    Parameters
    ----------
    least
        The least time in seconds, above 0.
    shape
        Above 0; from 1 down the mean is infinite, from 2 down the variance.
    """

    least: float
    shape: float

    def __post_init__(self) -> None:
        _require(self, "least", self.least, strict=True)
        _require(self, "shape", self.shape, strict=True)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.least * (1 - u) ** (-1 / self.shape)

    def mean(self, learner: int = 0) -> float:
        return self.least * self.shape / (self.shape - 1) if self.shape > 1 else inf


@dataclass(frozen=True)
class TruncatedNormal(Law):
    """A normal law of which what lies below 0 is left out.

    Parameters
    ----------
    centre
        The most frequent time in seconds, at least 0; the mean is greater.
    spread
        The standard deviation before the cut, above 0.
    """

    centre: float
    spread: float

    def __post_init__(self) -> None:
        _require(self, "centre", self.centre)
        _require(self, "spread", self.spread, strict=True)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        # From the upper tail, where 1 - u is exact and never 0; below 1, or all times lie above.
        above = np.minimum((1 - u) * (1 - self._cut), 1 - 2.0**-53)
        times = [self.centre - self.spread * NormalDist().inv_cdf(share) for share in above]
        return np.maximum(times, 0.0)

    def mean(self, learner: int = 0) -> float:
        density = NormalDist().pdf(self.centre / self.spread)
        return self.centre + self.spread * density / (1 - self._cut)

    @property
    def _cut(self) -> float:
        """The share of the whole normal law that lies below 0."""
        return NormalDist().cdf(-self.centre / self.spread)


@checked
@dataclass(frozen=True)
class SlowWorkers(Law):
    """Another law, with some learners slower (or quicker) than it says.

    Parameters
    ----------
    law
        What the other learners follow.
    factors
        By learner, what its times are multiplied with: at least 0.
    """

    law: Law
    factors: Mapping[int, float]

    __repr__ = brief

    def __post_init__(self) -> None:
        if not isinstance(self.law, Law):
            raise InputError(f"SlowWorkers: law must be a Law, not {self.law!r}")
        for learner, factor in self.factors.items():
            _require(self, f"factors: the factor of learner {learner}", factor)

    def check(self, seed: int, learners: int) -> None:
        if absent := self.factors.keys() - range(learners):
            raise InputError(
                f"SlowWorkers: there is no learner {min(absent)}, they are 0 to {learners - 1}"
            )
        super().check(seed, learners)

    def mean(self, learner: int = 0) -> float:
        return self.factors.get(learner, 1) * self.law.mean(learner)

    def draws(self, seed: int, learner: int, first: int, count: int) -> np.ndarray:
        return self.factors.get(learner, 1) * self.law.draws(seed, learner, first, count)


@checked
@dataclass(frozen=True)
class Recorded(Law):
    """Times that were measured: every mini-batch takes one of them, drawn at random.

    Parameters
    ----------
    times
        In seconds, each at least 0; one or more.
    """

    times: tuple[float, ...] = field(repr=False)

    __repr__ = brief

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", tuple(self.times))
        if not self.times:
            raise InputError("Recorded: times must be at least one number, not none")
        for place, seconds in enumerate(self.times):
            _require(self, f"times: time number {place}", seconds)

    @classmethod
    def load(cls, path: str | Path) -> Recorded:
        """Read the times from a text file: numbers, between them spaces, commas or new lines.

        Raises
        ------
        InputError
            If there is no such file, or something in it is no number or negative.
        """
        try:
            words = re.split(r"[\s,;]+", Path(path).read_text().strip())
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the times in {path} cannot be read: {error}") from error
        try:
            return cls(tuple(float(word) for word in words if word))
        except ValueError as error:
            raise InputError(f"{path} is no list of times in seconds: {error}") from error

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self._sorted[(u * len(self.times)).astype(int)]

    def mean(self, learner: int = 0) -> float:
        return float(self._sorted.mean())

    @cached_property
    def _sorted(self) -> np.ndarray:
        return np.sort(np.array(self.times, float))


def _require(law: Law, name: str, value: float, *, strict: bool = False) -> None:
    if not is_number(value) or value < 0 or (strict and value == 0):
        least = "above 0" if strict else "of at least 0"
        kind = type(law).__name__
        raise InputError(f"{kind}: {name} is a finite number {least}, not {value!r}")
