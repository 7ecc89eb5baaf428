"""Clipping: gradients that are too large are made smaller before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minidl import kernels
from minidl.errors import InputError
from minidl.kernels.contracts.types import floats
from minidl.nn.parameters import Array
from minidl.optim.optimizer import Wrapper


@dataclass(frozen=True)
class Clipped(Wrapper):
    """An update rule that is shown clipped gradients.

    Clipping by `norm` shortens the gradient of the whole model to that length and
    keeps its direction; clipping by `value` cuts each element. As
    ``torch.nn.utils.clip_grad_norm_`` and ``clip_grad_value_``. Clipped is the mean
    gradient of the global batch, whoever computed it.

    Parameters
    ----------
    optimizer
        The rule.
    norm
        The largest length that the gradient may have, greater than 0; None if `value` is
        given.
    value
        The largest absolute value of each number, greater than 0; None if `norm` is given.

    Raises
    ------
    InputError
        If not exactly one is given, it is not greater than 0 and finite, or the rule
        clips by norm itself.

    References
    ----------
    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural
    networks", 2013, algorithm 1.
    """

    norm: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.norm is None) == (self.value is None):
            raise InputError(
                f"Clipped: give norm or value, and not both: norm={self.norm}, value={self.value}"
            )
        self.require("norm" if self.value is None else "value", 0, strict=True)
        if self.optimizer.needs_norm:
            raise InputError("Clipped: the gradient's norm must be taken first, not after clipping")

    @property
    def needs_norm(self) -> bool:
        return self.norm is not None

    def step(self, values: Array, grads: Array, slots: dict[str, Array], step: int) -> None:
        """Move the weights, which must be all of the model's."""
        norm = float(kernels.of(grads).sum_of_squares(grads)) ** 0.5
        self.optimizer.step(values, self._clip(grads, norm), slots, step)

    def update(
        self,
        values: Array,
        grads: Array,
        slots: dict[str, Array],
        step: int,
        places: Mapping[str, slice],
        norm: float,
    ) -> None:
        self.optimizer.update(values, self._clip(grads, norm), slots, step, places, norm)

    def _clip(self, grads: Array, norm: float) -> Array:
        floats(grads)
        if self.value is not None:
            return grads.clip(-self.value, self.value)
        assert self.norm is not None
        scale = self.norm / (norm + 1e-6)
        return grads if scale >= 1 else grads * grads.dtype.type(scale)
