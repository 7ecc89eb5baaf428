"""RMSprop (Tieleman and Hinton 2012)."""

from __future__ import annotations

from dataclasses import dataclass

from minidl import kernels
from minidl.nn.parameters import Array
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules import Rate, rate_at


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """v = alpha · v + (1 - alpha) · g²;  w -= lr · g / (√v + eps).

    Adagrad that forgets: v is a running mean, not a sum. With a `momentum`,
    velocity = momentum · velocity + g / (√v + eps), and w -= lr · velocity. All as
    in ``torch.optim.RMSprop``.

    Parameters
    ----------
    lr
        The learning rate, greater than 0, or a `Schedule` of it.
    alpha
        How much v keeps of itself; at least 0 and less than 1.
    momentum
        How much of the last step's velocity is kept; at least 0 and less than 1.
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
    alpha: float = 0.99
    momentum: float = 0.0
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self.require_rate()
        self.require("alpha", 0, 1)
        self.require("momentum", 0, 1)
        self.require("eps", 0, strict=True)
        self.require("weight_decay", 0)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("v", "velocity") if self.momentum else ("v",)

    def step(self, values: Array, grads: Array, slots: dict[str, Array], step: int) -> None:
        # Without momentum the kernel does not look at what stands for the velocity.
        velocity = self._slot(slots, "velocity") if self.momentum else values
        kernels.of(values).rmsprop_step(
            values,
            grads,
            self._slot(slots, "v"),
            velocity,
            rate_at(self.lr, step),
            self.alpha,
            self.momentum,
            self.eps,
            self.weight_decay,
        )
