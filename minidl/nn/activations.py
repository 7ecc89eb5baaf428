"""Activations: functions of one number, applied to each element of any array."""

from __future__ import annotations

from math import isfinite
from typing import Any

from minidl import kernels
from minidl.errors import InputError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array


class ReLU(Layer):
    """max(0, x). At 0 the gradient is taken to be 0."""

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        y = kernels.of(x).relu(x)
        return y, y if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        return kernels.of(dy).relu_gradient(dy, saved)


class LeakyReLU(Layer):
    """x where positive, else slope · x (Maas et al. 2013).

    Parameters
    ----------
    slope
        Of the negative side; any finite number, usually small and positive.
    """

    def __init__(self, slope: float = 0.01) -> None:
        if not isfinite(slope):
            raise InputError(f"LeakyReLU: slope must be finite, not {slope}")
        self.slope = slope

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        return kernels.of(x).leaky_relu(x, self.slope), x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        return kernels.of(dy).leaky_relu_gradient(dy, saved, self.slope)


class Tanh(Layer):
    """The hyperbolic tangent; its derivative is 1 - y²."""

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        y = kernels.of(x).tanh(x)
        return y, y if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        return kernels.of(dy).tanh_gradient(dy, saved)


class Sigmoid(Layer):
    """1 / (1 + exp(-x)); its derivative is y (1 - y)."""

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        y = kernels.of(x).sigmoid(x)
        return y, y if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        return kernels.of(dy).sigmoid_gradient(dy, saved)
