"""Layer normalisation (Ba et al. 2016)."""

from __future__ import annotations

from typing import Any

from minidl.errors import ShapeError
from minidl.nn import init
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Parameter, Shape
from minidl.nn.standardise import checked_eps, standardise, standardise_gradient


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
        if not shape or shape[-1] < 1:
            raise ShapeError(
                f"{self.describe()} needs samples with at least one feature on the last axis, "
                f"not of shape {shape}"
            )
        self.parameter("gamma", shape[-1:], init.ones)
        self.parameter("beta", shape[-1:], init.zeros)
        return shape

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        gamma, beta = self.gamma.value, self.beta.value
        self.expect_features(x, len(gamma))
        normal, inv_std = standardise(x, (-1,), self.eps)
        return gamma * normal + beta, (normal, inv_std) if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        normal, inv_std = saved
        others = tuple(range(dy.ndim - 1))
        self.gamma.grad += (dy * normal).sum(axis=others)
        self.beta.grad += dy.sum(axis=others)
        return standardise_gradient(dy * self.gamma.value, normal, inv_std, (-1,))
