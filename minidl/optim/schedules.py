"""Learning rates that change from step to step: numbers that follow from the step's number alone.

So nothing is remembered between steps, a run that is resumed goes on with the rate
it would have had, and all ranks of a strategy agree without a message.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.checks import is_number, whole
from minidl.errors import InputError
from minidl.optim.settings import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Schedule:
    """The base of every schedule: called with a step's number, it gives the learning rate.

    One of your own is a frozen dataclass of its settings with a ``__call__``:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class InverseRoot(Schedule):
    ...     lr: float
    ...
    ...     def __call__(self, step):
    ...         return self.lr / (1 + step) ** 0.5
    """

    def __call__(self, step: int) -> float:
        """The learning rate in step number `step`, the first being 0."""
        raise TypeError(f"{type(self).__name__} defines no __call__")

    def plot(self, steps: int, path: str | Path | None = None) -> Figure:
        """Draw the learning rate of each step.

        Several schedules in one picture: ``minidl.report.curves.draw_learning_rates``.

        Parameters
        ----------
        steps
            How many steps to draw, from step 0 on.
        path
            Where to save the picture, if anywhere.

        Raises
        ------
        InputError
            If `steps` is less than 1.
        """
        from minidl.report.curves import draw_learning_rates

        return draw_learning_rates({type(self).__name__: self}, steps, path)


Rate = float | Schedule
"""What an update rule takes for its `lr`."""


def rate_at(lr: Rate, step: int) -> float:
    """The learning rate in step number `step`, the first being 0.

    Raises
    ------
    InputError
        If `step` is negative, or a schedule gives anything but a finite number of at least 0.
    """
    if step < 0:
        raise InputError(f"steps are numbered from 0; there is no step {step}")
    if not isinstance(lr, Schedule):
        return lr
    rate = lr(step)
    if not is_number(rate) or rate < 0:
        raise InputError(
            f"a learning rate must be at least 0 and finite; {lr} gives {rate!r} at step {step}"
        )
    return float(rate)


@dataclass(frozen=True)
class Formula(Schedule):
    """The base of the schedules below, whose settings are numbers.

    Rates and factors are greater than 0, but `start` and `end` may be 0; counts of steps and
    of samples are whole numbers of at least 1, but `warmup_steps` may be 0.

    Raises
    ------
    InputError
        If a setting is outside of that.
    """

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in ("lr", "base", "factor", "power"):
                require(self, name, 0, strict=True)
            elif name in ("start", "end"):
                require(self, name, 0)
            else:
                whole(f"{type(self).__name__}: {name}", value, least=int(name != "warmup_steps"))


@dataclass(frozen=True)
class Constant(Formula):
    """Always `lr`; a part of a `Composed` schedule."""

    lr: float

    def __call__(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class StepDecay(Formula):
    """``lr · factor^(step // every)``: the rate falls all at once, now and then."""

    lr: float
    every: int
    factor: float = 0.1

    def __call__(self, step: int) -> float:
        return float(self.lr * self.factor ** (step // self.every))


@dataclass(frozen=True)
class Exponential(Formula):
    """``lr · factor^step``, with a `factor` near 1, as it counts in every step."""

    lr: float
    factor: float

    def __call__(self, step: int) -> float:
        return float(self.lr * self.factor**step)


@dataclass(frozen=True)
class Cosine(Formula):
    """Half a cosine's wave from `lr` down to `end` in so many steps, and `end` ever after.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    """

    lr: float
    steps: int
    end: float = 0.0

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.end
        return self.end + (self.lr - self.end) * (1 + cos(pi * step / self.steps)) / 2


@dataclass(frozen=True)
class Polynomial(Formula):
    """``end + (lr - end) · (1 - step / steps)^power``, and `end` after so many steps."""

    lr: float
    steps: int
    power: float = 1.0
    end: float = 0.0

    def __call__(self, step: int) -> float:
        left = max(0.0, 1 - step / self.steps)
        return float(self.end + (self.lr - self.end) * left**self.power)


@dataclass(frozen=True)
class LinearWarmup(Formula):
    """A straight line from `start` up to `lr` in so many steps, and `lr` ever after.

    If `start` is 0, the first step moves nothing.
    """

    lr: float
    steps: int
    start: float = 0.0

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.lr
        return self.start + (self.lr - self.start) * step / self.steps


@dataclass(frozen=True)
class LinearScaling(Formula):
    """The linear scaling rule: k times the batch, k times the rate, reached gradually.

    The rate rises in a straight line from `base` to ``base · batch_size / reference``
    and stays there.

    Parameters
    ----------
    batch_size
        Samples in a global batch: n on each of k workers make kn.
    warmup_steps
        After how many steps the rate is reached; 0 for at once. The paper takes
        five epochs.
    base
        The rate that is right for a batch of `reference`.
    reference
        A batch size.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017,
    sections 2.1, 2.2 and 5.1: 0.1 · kn / 256.
    """

    batch_size: int
    warmup_steps: int = 0
    base: float = 0.1
    reference: int = 256

    @property
    def peak(self) -> float:
        """The rate that is reached."""
        return self.base * self.batch_size / self.reference

    def __call__(self, step: int) -> float:
        if step >= self.warmup_steps:
            return self.peak
        return self.base + (self.peak - self.base) * step / self.warmup_steps


@dataclass(frozen=True)
class Composed(Schedule):
    """Several schedules one after the other, each counting its own steps from 0.

    >>> rate = Composed((LinearWarmup(0.1, 500), Cosine(0.1, 4500)), milestones=(500,))
    >>> rate(0), rate(500), rate(5000)
    (0.0, 0.1, 0.0)

    Parameters
    ----------
    parts
        The schedules.
    milestones
        At which step each but the first begins; rising.

    Raises
    ------
    InputError
        If a part is no schedule, or the milestones do not rise from 1 on or are not
        one fewer than the parts.
    """

    parts: tuple[Schedule, ...]
    milestones: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("parts", "milestones"):
            given = getattr(self, name)
            if not isinstance(given, list | tuple):
                raise InputError(f"Composed: {name} must be a tuple, not {given!r}")
            object.__setattr__(self, name, tuple(given))
        for part in self.parts:
            if not isinstance(part, Schedule):
                raise InputError(f"Composed: parts: each part must be a Schedule, not {part!r}")
        if len(self.milestones) != len(self.parts) - 1:
            raise InputError(
                f"Composed: {len(self.parts)} parts need {max(0, len(self.parts) - 1)} milestones "
                f"(and there must be a part), not {len(self.milestones)}"
            )
        least = 1
        for milestone in self.milestones:
            least = 1 + whole("Composed: milestones: a milestone", milestone, least)

    def __call__(self, step: int) -> float:
        place = bisect_right(self.milestones, step)
        return self.parts[place](step - (0, *self.milestones)[place])


@dataclass(frozen=True)
class Slowed(Schedule):
    """Another schedule, multiplied by a factor."""

    schedule: Schedule
    factor: float

    def __call__(self, step: int) -> float:
        return self.factor * self.schedule(step)


def slowed(lr: Rate, factor: float) -> Rate:
    """A learning rate, multiplied: a number stays one."""
    return Slowed(lr, factor) if isinstance(lr, Schedule) else lr * factor
