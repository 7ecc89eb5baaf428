"""Layer normalisation (Ba et al. 2016), and by the root mean square (Zhang and Sennrich 2019)."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.checks import checked
from minidl.errors import ShapeError
from minidl.nn import init
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Parameter, Shape
from minidl.nn.standardise import checked_eps, standardise, standardise_gradient


@checked
class LayerNorm(Layer):
    """The last axis of (N, ..., D) shifted and scaled to zero mean and unit variance.

    A learnt scale `gamma` and shift `beta`, of shape (D,), follow. Other samples
    and other positions play no part, so training and evaluation are the same.

    Parameters
    ----------
    eps
        Added to the variance; positive.

    Raises
    ------
    InputError
        If it is not.
    """

    gamma: Parameter
    beta: Parameter

    def __init__(self, eps: float = 1e-5) -> None:
        self.eps = checked_eps("LayerNorm", eps)

    def build(self, shape: Shape) -> Shape:
        require_features(self, shape)
        self.parameter("gamma", shape[-1:], init.ones)
        self.parameter("beta", shape[-1:], init.zeros)
        return shape

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        gamma, beta = self.gamma.value, self.beta.value
        self.expect_features(x, len(gamma))
        x = self.gamma.cast(x)
        normal, inv_std = standardise(x, (-1,), self.eps)
        return gamma * normal + beta, (normal, inv_std) if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        (normal, inv_std), dy = saved, self.gamma.cast(dy)
        self.expect_gradient(dy, normal.shape)
        others = tuple(range(dy.ndim - 1))
        if self.gamma.trainable:
            self.gamma.grad += (kernels.wide(dy) * normal).sum(axis=others)
        if self.beta.trainable:
            self.beta.grad += kernels.wide(dy).sum(axis=others)
        return standardise_gradient(dy * self.gamma.value, normal, inv_std, (-1,))


@checked
class RMSNorm(Layer):
    """The last axis of (N, ..., D) divided by its root mean square, and scaled.

    The learnt scale `gamma` has the shape (D,). Unlike `LayerNorm` it neither takes the mean
    away nor adds a shift.

    Parameters
    ----------
    eps
        Added to the mean square; positive. By default as in PyTorch for float32.

    Raises
    ------
    InputError
        If it is not.

    References
    ----------
    Zhang and Sennrich, "Root mean square layer normalization", 2019.
    """

    gamma: Parameter

    def __init__(self, eps: float = 2**-23) -> None:
        self.eps = checked_eps("RMSNorm", eps)

    def build(self, shape: Shape) -> Shape:
        require_features(self, shape)
        self.parameter("gamma", shape[-1:], init.ones)
        return shape

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        gamma = self.gamma.value
        self.expect_features(x, len(gamma))
        x = self.gamma.cast(x)
        wide = kernels.wide(x)
        mean_square = (wide * wide).mean(axis=-1, keepdims=True)
        inv_rms = 1 / kernels.array_module(x).sqrt(mean_square + self.eps)
        normal = (wide * inv_rms).astype(x.dtype, copy=False)
        return gamma * normal, (normal, inv_rms) if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        (normal, inv_rms), dy = saved, self.gamma.cast(dy)
        self.expect_gradient(dy, normal.shape)
        if self.gamma.trainable:
            others = tuple(range(dy.ndim - 1))
            self.gamma.grad += (kernels.wide(dy) * normal).sum(axis=others)
        d = kernels.wide(dy * self.gamma.value)
        # The root mean square depends on x too: so dx has no part along x.
        dx = inv_rms * (d - normal * (d * normal).mean(axis=-1, keepdims=True))
        return dx.astype(dy.dtype, copy=False)


def require_features(layer: Layer, shape: Shape) -> None:
    """Raise a ShapeError unless samples of this shape have something on their last axis."""
    if not shape or shape[-1] < 1:
        raise ShapeError(
            f"{layer.describe()} needs samples with at least one feature on the last axis, "
            f"not of shape {shape}"
        )
