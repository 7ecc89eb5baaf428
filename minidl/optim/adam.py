"""Adam (Kingma and Ba 2015)."""

from __future__ import annotations

from dataclasses import dataclass

from minidl import kernels
from minidl.checks import is_number
from minidl.errors import InputError
from minidl.nn.parameters import Array
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules import Rate, rate_at


@dataclass(frozen=True)
class Adam(Optimizer):
    """Steps of about `lr`, each element's scaled by its own running mean square.

    m and v are running means of the gradient and of its square, corrected for
    having started at 0: w -= lr · m̂ / (√v̂ + eps). Weight decay is added to the
    gradient, as in ``torch.optim.Adam``.

    Parameters
    ----------
    lr
        The learning rate, greater than 0, or a `Schedule` of it.
    betas
        How much m and v keep of themselves; each at least 0 and less than 1.
    eps
        Keeps the quotient finite; greater than 0.
    weight_decay
        At least 0.

    Raises
    ------
    InputError
        If a setting is outside of that.
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self.require_rate()
        betas = self.betas if isinstance(self.betas, list | tuple) else ()
        if len(betas) != 2 or not all(is_number(b) and 0 <= b < 1 for b in betas):
            raise InputError(
                f"{type(self).__name__}: betas must be two numbers of at least 0 and less than 1, "
                f"not {self.betas}"
            )
        self.require("eps", 0, strict=True)
        self.require("weight_decay", 0)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("m", "v")

    def step(self, values: Array, grads: Array, slots: dict[str, Array], step: int) -> None:
        kernels.of(values).adam_step(
            values,
            grads,
            self._slot(slots, "m"),
            self._slot(slots, "v"),
            rate_at(self.lr, step),
            *self.betas,
            self.eps,
            self.weight_decay,
            step + 1,
        )
