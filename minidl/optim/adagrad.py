"""Adagrad (Duchi, Hazan and Singer 2011)."""

from __future__ import annotations

from dataclasses import dataclass

from minidl import kernels
from minidl.nn.parameters import Array
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules import Rate, rate_at


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Steps that shrink as squares add up: v += g²;  w -= lr · g / (√v + eps).

    An element that seldom has a gradient keeps its large steps. All as in
    ``torch.optim.Adagrad``.

    Parameters
    ----------
    lr
        The learning rate, greater than 0, or a `Schedule` of it.
    eps
        Keeps the quotient finite; greater than 0.
    weight_decay
        Added to the gradient, times w; at least 0.

    Raises
    ------
    InputError
        If a setting is outside of that.
    """

    lr: Rate = 1e-2
    eps: float = 1e-10
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self.require_rate()
        self.require("eps", 0, strict=True)
        self.require("weight_decay", 0)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("v",)

    def step(self, values: Array, grads: Array, slots: dict[str, Array], step: int) -> None:
        kernels.of(values).adagrad_step(
            values,
            grads,
            self._slot(slots, "v"),
            rate_at(self.lr, step),
            self.eps,
            self.weight_decay,
        )
