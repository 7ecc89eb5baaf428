"""AdamW (Loshchilov and Hutter 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from minidl import kernels
from minidl.nn.parameters import Array
from minidl.optim.adam import Adam
from minidl.optim.schedules import rate_at


@dataclass(frozen=True)
class AdamW(Adam):
    """`Adam` whose weight decay stands beside the gradient, not in it.

    w -= lr · weight_decay · w;  w -= lr · m̂ / (√v̂ + eps). So all weights shrink
    alike, however large their gradients are. As in ``torch.optim.AdamW``.

    Parameters and errors as for `Adam`.
    """

    weight_decay: float = 1e-2

    def step(self, values: Array, grads: Array, slots: dict[str, Array], step: int) -> None:
        kernels.of(values).adamw_step(
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
