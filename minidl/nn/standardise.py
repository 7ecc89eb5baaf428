"""Numbers shifted and scaled to zero mean and unit variance along some axes, and the gradient."""

from __future__ import annotations

from minidl import kernels
from minidl.checks import is_number
from minidl.errors import InputError
from minidl.nn.parameters import Array

Axes = tuple[int, ...]


def standardise(x: Array, axes: Axes, eps: float) -> tuple[Array, Array]:
    """(x - mean) / sqrt(variance + eps), both taken along `axes`, and the divisor's inverse."""
    off = kernels.wide(x)
    off = off - off.mean(axis=axes, keepdims=True)
    variance = (off * off).mean(axis=axes, keepdims=True)
    inv_std = 1 / kernels.array_module(x).sqrt(variance + eps)
    return (off * inv_std).astype(x.dtype, copy=False), inv_std


def standardise_gradient(dy: Array, y: Array, inv_std: Array, axes: Axes) -> Array:
    """The gradient of `standardise` by x.

    Mean and variance depend on x too: so dx has neither a mean nor a part along y.
    """
    d = kernels.wide(dy)
    along = (d * y).mean(axis=axes, keepdims=True)
    dx = inv_std * (d - d.mean(axis=axes, keepdims=True) - y * along)
    return dx.astype(dy.dtype, copy=False)


def checked_eps(name: str, eps: float) -> float:
    """`eps`, which must be positive and finite; else an InputError."""
    if not (is_number(eps) and eps > 0):
        raise InputError(f"{name}: eps must be positive and finite, not {eps}")
    return eps
