"""Dropout (Srivastava et al. 2014), with masks that depend on the sample alone."""

from __future__ import annotations

from math import prod
from typing import Any

from minidl import kernels, rng
from minidl.checks import checked
from minidl.errors import InputError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array


@checked
class Dropout(Layer):
    """In training, sets each element to 0 with probability `rate` and scales the rest.

    The scale 1 / (1 - rate) keeps the mean, so that evaluation is the identity.
    A sample's mask is named by seed, layer, step and its index in the global
    batch: it is the same whoever computes it, however the batch is cut. It is the same,
    too, wherever a network has this very layer; places that are to differ have their own.

    Parameters
    ----------
    rate
        The probability, at least 0 and less than 1.

    Raises
    ------
    InputError
        If the rate is outside of that.
    """

    def __init__(self, rate: float = 0.5) -> None:
        if not 0 <= rate < 1:
            raise InputError(f"Dropout: rate must be at least 0 and less than 1, not {rate}")
        self.rate = rate

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_batch(x)
        if not mode.training:
            return x, None
        if self.rate == 0:
            return x, (x.shape, None)
        name = (mode.seed, "dropout", self.path, mode.step)
        bits = rng.per_sample_bits(name, mode.first, len(x), prod(x.shape[1:]))
        bits = kernels.array_module(x).asarray(bits.reshape(x.shape))
        return self._mask(x, bits), (x.shape, bits)

    def backward(self, dy: Array, saved: Any) -> Array:
        shape, bits = saved
        self.expect_gradient(dy, shape)
        return dy if bits is None else self._mask(dy, bits)

    def _mask(self, x: Array, bits: Array) -> Array:
        threshold = min(round(self.rate * 2**32), 2**32 - 1)
        return kernels.of(x).dropout(x, bits, threshold, 1 / (1 - self.rate))
