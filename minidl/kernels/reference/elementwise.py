"""Functions of one number: activations and dropout."""

from __future__ import annotations

from minidl.kernels import Array, array_module


def relu(x: Array) -> Array:
    """The larger of x and 0."""
    return array_module(x).maximum(x, 0)


def relu_gradient(dy: Array, y: Array) -> Array:
    """The gradient of `relu`, from its output."""
    return array_module(y).where(y > 0, dy, 0)


def leaky_relu(x: Array, slope: float) -> Array:
    """x where it is positive, `slope` times x elsewhere."""
    return array_module(x).where(x > 0, x, x * x.dtype.type(slope))


def leaky_relu_gradient(dy: Array, x: Array, slope: float) -> Array:
    """The gradient of `leaky_relu`, from its input."""
    return array_module(x).where(x > 0, dy, dy * x.dtype.type(slope))


def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return array_module(x).tanh(x)


def tanh_gradient(dy: Array, y: Array) -> Array:
    """The gradient of `tanh`, from its output."""
    return dy * (1 - y * y)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), in two forms so that exp never overflows."""
    xp = array_module(x)
    e = xp.exp(-abs(x))
    return xp.where(x >= 0, 1, e) / (1 + e)


def sigmoid_gradient(dy: Array, y: Array) -> Array:
    """The gradient of `sigmoid`, from its output."""
    return dy * y * (1 - y)


def dropout(x: Array, bits: Array, threshold: int, scale: float) -> Array:
    """x times `scale` where a random number is at least `threshold`, 0 elsewhere.

    The gradient is the same function of dy.

    Parameters
    ----------
    x
        Any shape.
    bits
        Uniform uint32, of the shape of x.
    threshold
        The probability of dropping, times 2**32.
    scale
        1 / (1 - that probability), so that the mean stays.
    """
    return array_module(x).where(bits >= threshold, x * x.dtype.type(scale), 0)
