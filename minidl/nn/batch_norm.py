"""Batch normalisation (Ioffe and Szegedy 2015)."""

from __future__ import annotations

from math import isfinite
from typing import Any

from minidl import kernels
from minidl.errors import InputError, ShapeError
from minidl.nn import init
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Parameter, RunningMean, Shape


class BatchNorm(Layer):
    """Each channel (last axis) shifted and scaled to zero mean and unit variance.

    In training, mean and variance are those of the samples given, over all axes
    but the last: a batch that is cut is normalised piece by piece. In evaluation
    they are running means over past steps. A learnt scale `gamma` and shift
    `beta` follow.

    The statistics are handed in by `backward`, weighted by the piece's share of
    the global batch, so that a forward pass that is repeated counts once. As in
    PyTorch the running variance follows the unbiased estimate. A piece that
    shows a channel only once has variance 0.

    Parameters
    ----------
    momentum
        How far running values move to those of each step, from 0 to 1.
    eps
        Added to the variance; positive.

    Raises
    ------
    InputError
        If either is outside of that.
    """

    gamma: Parameter
    beta: Parameter
    mean: RunningMean
    variance: RunningMean

    def __init__(self, momentum: float = 0.1, eps: float = 1e-5) -> None:
        if not 0 <= momentum <= 1:
            raise InputError(f"BatchNorm: momentum must be from 0 to 1, not {momentum}")
        if not (isfinite(eps) and eps > 0):
            raise InputError(f"BatchNorm: eps must be positive and finite, not {eps}")
        self.momentum = momentum
        self.eps = eps

    def build(self, shape: Shape) -> Shape:
        if not shape or shape[-1] < 1:
            raise ShapeError(
                f"{self.describe()} needs samples with at least one channel on the last axis, "
                f"not of shape {shape}"
            )
        channels = (shape[-1],)
        self.parameter("gamma", channels, init.ones)
        self.parameter("beta", channels, init.zeros)
        self.running_mean("mean", channels, init.zeros, self.momentum)
        self.running_mean("variance", channels, init.ones, self.momentum)
        return shape

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        gamma, beta = self.gamma.value, self.beta.value
        self.expect_features(x, len(gamma))
        if not mode.training:
            xp = kernels.array_module(x)
            scale = gamma / xp.sqrt(self.variance.value + self.eps)
            return x * scale + (beta - self.mean.value * scale), None
        rows = x.reshape(x.size // len(gamma), len(gamma))
        y, mean, inv_std = kernels.of(x).batch_norm(rows, gamma, beta, self.eps)
        return y.reshape(x.shape), (x, mean, inv_std, len(x) / mode.batch_size)

    def backward(self, dy: Array, saved: Any) -> Array:
        x, mean, inv_std, share = saved
        gamma = self.gamma.value
        rows = x.reshape(x.size // len(gamma), len(gamma))
        dx, dgamma, dbeta = kernels.of(x).batch_norm_gradient(
            dy.reshape(rows.shape), rows, gamma, mean, inv_std
        )
        self.gamma.grad += dgamma
        self.beta.grad += dbeta
        if len(rows):
            unbiased = len(rows) / max(1, len(rows) - 1)
            variance = (1 / inv_std**2 - self.eps).clip(0) * unbiased
            self.mean.grad += share * mean
            self.variance.grad += share * variance
        return dx.reshape(x.shape)
