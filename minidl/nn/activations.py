"""Activations: functions of one number, applied to each element of any array."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.checks import checked, is_number
from minidl.errors import InputError, ShapeError
from minidl.nn.init import constant
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Parameter, Shape


class ReLU(Layer):
    """max(0, x). At 0 the gradient is taken to be 0."""

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        y = kernels.of(x).relu(x)
        return y, y if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        return kernels.of(dy).relu_gradient(dy, saved)


@checked
class LeakyReLU(Layer):
    """x where positive, else slope · x (Maas et al. 2013).

    Parameters
    ----------
    slope
        Of the negative side; any finite number, usually small and positive.
    """

    def __init__(self, slope: float = 0.01) -> None:
        if not is_number(slope):
            raise InputError(f"LeakyReLU: slope must be finite, not {slope}")
        self.slope = slope

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        return kernels.of(x).leaky_relu(x, self.slope), x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        return kernels.of(dy).leaky_relu_gradient(dy, saved, self.slope)


@checked
class ELU(Layer):
    """x where positive, else alpha · (exp(x) - 1) (Clevert et al. 2016).

    Parameters
    ----------
    alpha
        What the output tends to, with the other sign, far on the negative side; positive.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        if not (is_number(alpha) and alpha > 0):
            raise InputError(f"ELU: alpha must be positive and finite, not {alpha}")
        self.alpha = alpha

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_floats(x)
        xp = kernels.array_module(x)
        y = xp.where(x > 0, x, self.alpha * xp.expm1(xp.minimum(x, 0)))
        return y, x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        x, xp = saved, kernels.array_module(saved)
        self.expect_gradient(dy, x.shape)
        # Not y + alpha, which is 0 long before the exponential is.
        return dy * xp.where(x > 0, 1, self.alpha * xp.exp(xp.minimum(x, 0)))


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
        self.expect_gradient(dy, saved.shape)
        x, s = saved, kernels.of(saved).sigmoid(saved)
        return dy * s * (1 + x * (1 - s))


class Softplus(Layer):
    """log(1 + exp(x)), a smooth max(0, x); its derivative is sigmoid(x)."""

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_floats(x)
        return softplus(x), x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        self.expect_gradient(dy, saved.shape)
        return dy * kernels.of(saved).sigmoid(saved)


class Mish(Layer):
    """x · tanh(softplus(x)) (Misra 2019)."""

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_floats(x)
        return x * kernels.of(x).tanh(softplus(x)), x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        x, kernel = saved, kernels.of(saved)
        self.expect_gradient(dy, x.shape)
        t = kernel.tanh(softplus(x))
        return dy * (t + x * (1 - t * t) * kernel.sigmoid(x))


class Hardswish(Layer):
    """x · clip(x / 6 + 1/2, 0, 1), a `SiLU` without exponential (Howard et al. 2019)."""

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_floats(x)
        return x * (x / 6 + 0.5).clip(0, 1), x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        x, xp = saved, kernels.array_module(saved)
        self.expect_gradient(dy, x.shape)
        return dy * xp.where(abs(x) < 3, x / 3 + 0.5, x > 0)


class Softsign(Layer):
    """``x / (1 + |x|)``; its derivative is ``1 / (1 + |x|)²``."""

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_floats(x)
        return x / (1 + abs(x)), x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        self.expect_gradient(dy, saved.shape)
        shrunk = 1 / (1 + abs(saved))
        return dy * shrunk * shrunk


@checked
class PReLU(Layer):
    """x where positive, else weight · x, with a slope that is learnt (He et al. 2015).

    Parameters
    ----------
    per_channel
        Whether each channel, on the last axis, has a slope of its own: then `weight` has the
        shape (C,). If not, all share one, of shape (1,).
    slope
        What it is at first; finite.

    Raises
    ------
    InputError
        If `slope` is not finite.
    """

    weight: Parameter

    def __init__(self, per_channel: bool = False, slope: float = 0.25) -> None:
        if not is_number(slope):
            raise InputError(f"PReLU: slope must be finite, not {slope}")
        self.per_channel = per_channel
        self.slope = slope

    def build(self, shape: Shape) -> Shape:
        if self.per_channel and (not shape or shape[-1] < 1):
            raise ShapeError(
                f"{self.describe()} needs samples with at least one channel on the last axis, "
                f"not of shape {shape}"
            )
        self.parameter("weight", shape[-1:] if self.per_channel else (1,), constant(self.slope))
        return shape

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        w = self.weight.value
        if self.per_channel:
            self.expect_features(x, len(w))
        x = self.weight.cast(x)
        return kernels.array_module(x).where(x > 0, x, w * x), x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        x, w, xp = saved, self.weight.value, kernels.array_module(saved)
        self.expect_gradient(dy, x.shape)
        dy = self.weight.cast(dy)
        if self.weight.trainable:
            dw = xp.where(x > 0, 0, kernels.wide(dy) * x)
            others = tuple(range(x.ndim - 1)) if self.per_channel else None
            self.weight.grad += dw.sum(axis=others)
        return xp.where(x > 0, dy, dy * w)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), written as ``max(x, 0) + log(1 + exp(-|x|))``: it overflows for no x."""
    xp = kernels.array_module(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-abs(x)))
