"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from dataclasses import dataclass

from minidl import kernels
from minidl.checks import fits
from minidl.errors import InputError
from minidl.nn.parameters import Array
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules import Rate, rate_at


@dataclass(frozen=True)
class SGD(Optimizer):
    """g += weight_decay · w;  v = momentum · v + g;  w -= lr · v.

    With `nesterov`, the last is w -= lr · (g + momentum · v) (Sutskever et al.
    2013). All as in ``torch.optim.SGD``.

    Parameters
    ----------
    lr
        The learning rate, greater than 0, or a `Schedule` of it.
    momentum
        How much of the last step's velocity is kept; at least 0 and less than 1.
    nesterov
        Whether to look ahead; needs a momentum.
    weight_decay
        At least 0.

    Raises
    ------
    InputError
        If a setting is outside of that.
    """

    lr: Rate
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self.require_rate()
        self.require("momentum", 0, 1)
        self.require("weight_decay", 0)
        if not fits(self.nesterov, bool):
            raise InputError(f"SGD: nesterov must be True or False, not {self.nesterov!r}")
        if self.nesterov and not self.momentum:
            raise InputError("SGD: nesterov needs a momentum greater than 0")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def step(self, values: Array, grads: Array, slots: dict[str, Array], step: int) -> None:
        # Without momentum the kernel does not look at what stands for the velocity.
        velocity = self._slot(slots, "velocity") if self.momentum else values
        kernels.of(values).sgd_step(
            values,
            grads,
            velocity,
            rate_at(self.lr, step),
            self.momentum,
            self.nesterov,
            self.weight_decay,
        )
