"""Group normalisation (Wu and He 2018)."""

from __future__ import annotations

from math import prod
from typing import Any

from minidl import kernels
from minidl.checks import checked, whole
from minidl.errors import ShapeError
from minidl.nn import init
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Parameter, Shape
from minidl.nn.standardise import checked_eps, standardise, standardise_gradient

GROUP = (1, 3)
"""What is normalised together in (N, positions, groups, channels of a group)."""


@checked
class GroupNorm(Layer):
    """Groups of channels of (N, ..., C) shifted and scaled to zero mean and unit variance.

    The channels, on the last axis, are parted into groups of neighbours, each
    normalised over all positions of its sample. A learnt scale `gamma` and shift
    `beta`, of shape (C,), follow. Other samples play no part, so a batch may be
    cut anywhere. One group is layer normalisation of a whole image; as many
    groups as channels are instance normalisation.

    Parameters
    ----------
    groups
        How many; a divisor of the number of channels.
    eps
        Added to the variance; positive.

    Raises
    ------
    InputError
        If either is not positive.
    """

    gamma: Parameter
    beta: Parameter

    def __init__(self, groups: int, eps: float = 1e-5) -> None:
        self.groups = whole("GroupNorm: groups", groups)
        self.eps = checked_eps("GroupNorm", eps)

    def build(self, shape: Shape) -> Shape:
        if not shape or min(shape) < 1 or shape[-1] % self.groups:
            raise ShapeError(
                f"{self.describe()} parts the channels, on the last axis, into {self.groups} equal "
                f"groups and cannot take samples of shape {shape}"
            )
        self.parameter("gamma", shape[-1:], init.ones)
        self.parameter("beta", shape[-1:], init.zeros)
        return shape

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        gamma, beta = self.gamma.value, self.beta.value
        self.expect_features(x, len(gamma))
        x = self.gamma.cast(x)
        normal, inv_std = standardise(self._grouped(x), GROUP, self.eps)
        y = gamma * normal.reshape(x.shape) + beta
        return y, (x.shape, normal, inv_std) if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        (shape, normal, inv_std), dy = saved, self.gamma.cast(dy)
        self.expect_gradient(dy, shape)
        others = tuple(range(dy.ndim - 1))
        if self.gamma.trainable:
            self.gamma.grad += (kernels.wide(dy) * normal.reshape(dy.shape)).sum(axis=others)
        if self.beta.trainable:
            self.beta.grad += kernels.wide(dy).sum(axis=others)
        dnormal = self._grouped(dy * self.gamma.value)
        return standardise_gradient(dnormal, normal, inv_std, GROUP).reshape(dy.shape)

    def _grouped(self, x: Array) -> Array:
        *positions, channels = x.shape[1:]
        return x.reshape(len(x), prod(positions), self.groups, channels // self.groups)
