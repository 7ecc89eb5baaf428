"""LARS: layer-wise adaptive rate scaling (You, Gitman and Ginsburg 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minidl import kernels
from minidl.nn.parameters import Array
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules import Rate, rate_at


@dataclass(frozen=True)
class LARS(Optimizer):
    """Momentum, with steps as long as a part of the parameter that they move.

    For each parameter, ratio = trust · ‖w‖ / (‖g‖ + weight_decay · ‖w‖), and
    velocity = momentum · velocity + lr · ratio · (g + weight_decay · w);
    w -= velocity. The ratio is 1 where w, or what it is divided by, is zero.

    Parameters
    ----------
    lr
        The learning rate, greater than 0, or a `Schedule` of it; for large batches,
        a warm-up.
    momentum
        How much of the last step's velocity is kept; at least 0 and less than 1.
    weight_decay
        At least 0.
    trust
        η in the paper, greater than 0.

    Raises
    ------
    InputError
        If a setting is outside of that.
    """

    lr: Rate
    momentum: float = 0.9
    weight_decay: float = 0.0
    trust: float = 1e-3

    def __post_init__(self) -> None:
        self.require_rate()
        self.require("momentum", 0, 1)
        self.require("weight_decay", 0)
        self.require("trust", 0, strict=True)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity",)

    def step(self, values: Array, grads: Array, slots: dict[str, Array], step: int) -> None:
        """Move one parameter: all its weights, and no others."""
        kernels.of(values).lars_step(
            values,
            grads,
            self._slot(slots, "velocity"),
            rate_at(self.lr, step),
            self.momentum,
            self.weight_decay,
            self.trust,
        )

    def update(
        self,
        values: Array,
        grads: Array,
        slots: dict[str, Array],
        step: int,
        places: Mapping[str, slice],
        norm: float,
    ) -> None:
        self._expect_vectors(values, grads, slots)
        for place in places.values():
            self.step_in(place, values, grads, slots, step)
