"""Mixed precision: compute in float16, remember in float32 (Micikevicius et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl.checks import checked, whole
from minidl.errors import InputError, NonFiniteError
from minidl.nn.parameters import Parameter, Shape

PATIENCE = 20
"""Steps in a row that may overflow at a scale of 1, the least, before training ends."""


@checked
@dataclass(frozen=True)
class MixedPrecision:
    """How a loss is scaled while activations and gradients are float16.

    Weights are kept in float32 and rounded for every pass; updates, which may be too
    small for float16, are made in float32. A gradient below 6e-8 would round to 0, so
    the loss is multiplied by a `scale` before the backward pass and the gradient is
    divided by it after. A gradient that overflowed is not used: the step is skipped and does
    not count, neither in Adam's bias correction nor in a schedule, and the scale is divided
    by `factor`. After `every` steps without one it is multiplied by it. The scale is never
    below 1: if 20 steps in a row overflow there, training ends with a `NonFiniteError`.

    Sums of many numbers, such as the statistics of normalisation and the gradients of
    biases, are float32. What leaves float16's range (65504) in a forward pass ends the run.

    Parameters
    ----------
    scale
        Of the first step, at least 1.
    factor
        A number above 1; a power of 2 adds no rounding.
    every
        Steps in a row without overflow before the scale grows.

    Raises
    ------
    InputError
        If one of these is out of range.

    References
    ----------
    Micikevicius et al., "Mixed precision training", 2018.
    """

    scale: float = 2.0**15
    factor: float = 2.0
    every: int = 1000

    def __post_init__(self) -> None:
        if not 1 <= self.scale < 2.0**64:
            raise InputError(f"MixedPrecision: scale must be from 1 to 2⁶⁴, not {self.scale}")
        if not 1 < self.factor < 2.0**32:
            raise InputError(f"MixedPrecision: factor must be above 1, not {self.factor}")
        whole("MixedPrecision: every", self.every)


class LossScale(Parameter):
    """The scale by now, how many steps in a row it has done well, and how many were skipped.

    The second number is below 0 while steps overflow at a scale of 1: it counts these.
    It lies beside the weights, so whoever is sent, saves or restores these has it too.
    """

    has_gradient = False

    def __init__(self, settings: MixedPrecision) -> None:
        super().__init__((3,), self._first)
        self.settings = settings

    def _first(self, generator: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.array([self.settings.scale, 0.0, 0.0])

    @property
    def scale(self) -> float:
        """What the loss is multiplied with."""
        return float(self.value[0])

    @property
    def skipped(self) -> int:
        """How many steps made no update, because a gradient had overflowed."""
        return int(self.value[2])

    @skipped.setter
    def skipped(self, steps: int) -> None:
        self.value[2] = steps

    def follow(self, *, overflow: bool) -> None:
        """Take in whether a step's gradient overflowed.

        Raises
        ------
        NonFiniteError
            If it did at a scale of 1 for the `PATIENCE`-th time in a row.
        """
        scale, well, skipped = map(float, self.value)
        if overflow:
            stuck = min(well, 0) - 1 if scale == 1 else 0
            if stuck <= -PATIENCE:
                raise NonFiniteError(
                    f"the gradient has overflowed float16 in {PATIENCE} steps in a row with a "
                    "loss scale of 1, so these steps made no update. Make the inputs smaller or "
                    "normalise them, lower the learning rate, or train without precision."
                )
            self.value[...] = max(1.0, scale / self.settings.factor), stuck, skipped + 1
            return
        well = max(well, 0)
        if well + 1 == self.settings.every:
            self.value[:2] = min(2.0**64, scale * self.settings.factor), 0
        else:
            self.value[1] = well + 1
