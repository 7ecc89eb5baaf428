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


class ELU(Layer):
    """x where positive, else alpha · (exp(x) - 1) (Clevert et al. 2016).

    Parameters
    ----------
    alpha
        What the output tends to, with the other sign, far on the negative side; positive.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        if not (isfinite(alpha) and alpha > 0):
            raise InputError(f"ELU: alpha must be positive and finite, not {alpha}")
        self.alpha = alpha

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        xp = kernels.array_module(x)
        y = xp.where(x > 0, x, self.alpha * xp.expm1(xp.minimum(x, 0)))
        return y, y if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        y = saved
        return kernels.array_module(y).where(y > 0, dy, dy * (y + self.alpha))


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


class SiLU(Layer):
    """x · sigmoid(x), also called swish (Hendrycks and Gimpel 2016)."""

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        return x * kernels.of(x).sigmoid(x), x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        x, s = saved, kernels.of(saved).sigmoid(saved)
        return dy * s * (1 + x * (1 - s))


class Softplus(Layer):
    """log(1 + exp(x)), a smooth max(0, x); its derivative is sigmoid(x).

    Written as ``max(x, 0) + log(1 + exp(-|x|))``, which overflows for no x.
    """

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        xp = kernels.array_module(x)
        y = xp.maximum(x, 0) + xp.log1p(xp.exp(-abs(x)))
        return y, x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        return dy * kernels.of(saved).sigmoid(saved)
