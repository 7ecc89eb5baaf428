"""Batch normalisation (Ioffe and Szegedy 2015)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minidl import kernels
from minidl.checks import checked, is_number
from minidl.errors import InputError, ShapeError
from minidl.nn import init
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Parameter, RunningMean, Shape


@checked
class BatchNorm(Layer):
    """Each channel (last axis) shifted and scaled to zero mean and unit variance.

    In training, mean and variance are those of the samples given, over all axes
    but the last: a batch that is cut is normalised piece by piece, unless the layer is
    `synchronised`. In evaluation they are running means over past steps. A learnt
    scale `gamma` and shift `beta` follow.

    The statistics are handed in by `backward`, weighted by the piece's share of
    the global batch, so that a forward pass that is repeated counts once. As in
    PyTorch the running variance follows the unbiased estimate. A piece that
    shows a channel only once has variance 0. If the layer stands in several places of
    a network, running values follow the mean of what is seen there. Of inputs in float16
    all statistics are float32.

    A frozen one (`freeze`) normalises by its running values in training too, and leaves
    them as they are, as in Keras; in PyTorch ``requires_grad_(False)`` does not do that.

    Parameters
    ----------
    momentum
        How far running values move to those of each step, from 0 to 1.
    eps
        Added to the variance; positive.
    synchronised
        Whether workers that share a batch sum what they see, so that each normalises by
        the statistics of the whole batch. That costs two small sums over all workers in
        the forward pass and one in the backward pass. Micro-batches, which are not there
        at the same time, are still normalised one by one.

    Raises
    ------
    InputError
        If either is outside of that.
    """

    gamma: Parameter
    beta: Parameter
    mean: RunningMean
    variance: RunningMean
    _places = 1  # of the layer in its network; `initialise` counts them

    def __init__(
        self, momentum: float = 0.1, eps: float = 1e-5, synchronised: bool = False
    ) -> None:
        if not 0 <= momentum <= 1:
            raise InputError(f"BatchNorm: momentum must be from 0 to 1, not {momentum}")
        if not (is_number(eps) and eps > 0):
            raise InputError(f"BatchNorm: eps must be positive and finite, not {eps}")
        self.momentum = momentum
        self.eps = eps
        self.synchronised = synchronised

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
        x = self.gamma.cast(x)
        if self.mean.frozen or not mode.training:
            scale = self._running_scale(x)
            y = x * scale + (kernels.wide(beta) - self.mean.value * scale)
            return y.astype(x.dtype, copy=False), (x.shape, None) if mode.training else None
        rows = kernels.wide(x.reshape(x.size // len(gamma), len(gamma)))
        share = len(x) / (mode.batch_size * self._places)
        if self.synchronised and mode.total is not None:
            y, mean, inv_std, count = self._normalise_together(rows, mode.total)
        else:
            gamma, beta = kernels.wide(gamma), kernels.wide(beta)
            y, mean, inv_std = kernels.of(rows).batch_norm(rows, gamma, beta, self.eps)
            count = len(rows)
        y = y.reshape(x.shape).astype(x.dtype, copy=False)
        total = mode.total if self.synchronised else None
        return y, (x.shape, (x, mean, inv_std, share, count, total))

    def backward(self, dy: Array, saved: Any) -> Array:
        (shape, kept), dy = saved, self.gamma.cast(dy)
        self.expect_gradient(dy, shape)
        if kept is None:  # normalised by running values, which are constant
            return (dy * self._running_scale(dy)).astype(dy.dtype, copy=False)
        x, mean, inv_std, share, count, total = kept
        gamma = kernels.wide(self.gamma.value)
        rows = kernels.wide(x.reshape(x.size // len(gamma), len(gamma)))
        d = kernels.wide(dy.reshape(rows.shape))
        if total is None:
            dx, dgamma, dbeta = kernels.of(rows).batch_norm_gradient(d, rows, gamma, mean, inv_std)
        else:
            off = (rows - mean) * inv_std
            dx, dgamma, dbeta = self._gradient_together(d, off, inv_std, count, total)
        self.gamma.grad += dgamma
        self.beta.grad += dbeta
        if count:
            unbiased = count / max(1, count - 1)
            variance = (1 / inv_std**2 - self.eps).clip(0) * unbiased
            self.mean.grad += share * mean
            self.variance.grad += share * variance
        return dx.reshape(x.shape).astype(x.dtype, copy=False)

    def _running_scale(self, like: Array) -> Array:
        """gamma / √(running variance + eps)."""
        xp = kernels.array_module(like)
        return kernels.wide(self.gamma.value) / xp.sqrt(self.variance.value + self.eps)

    def _normalise_together(self, x: Array, total: Total) -> tuple[Array, Array, Array, int]:
        """As the kernel `batch_norm`, over all rows that anyone has; also how many these are."""
        xp = kernels.array_module(x)
        sums = total(xp.concatenate((x.sum(axis=0), xp.full(1, len(x), x.dtype))))
        count = int(sums[-1])
        mean = sums[:-1] / max(1, count)
        off = x - mean
        variance = total((off * off).sum(axis=0)) / max(1, count)
        inv_std = 1 / xp.sqrt(variance + self.eps)
        y = off * inv_std * kernels.wide(self.gamma.value) + kernels.wide(self.beta.value)
        return y, mean, inv_std, count

    def _gradient_together(
        self, dy: Array, off: Array, inv_std: Array, count: int, total: Total
    ) -> tuple[Array, Array, Array]:
        """As the kernel `batch_norm_gradient`, `off` being the normalised input.

        The parameters get what these rows give; the input, what all rows say of the statistics.
        """
        dbeta, dgamma = dy.sum(axis=0), (dy * off).sum(axis=0)
        sums = total(kernels.array_module(dy).concatenate((dbeta, dgamma))) / max(1, count)
        along, across = sums[: len(dbeta)], sums[len(dbeta) :]
        gamma = kernels.wide(self.gamma.value)
        return gamma * inv_std * (dy - along - off * across), dgamma, dbeta


Total = Callable[[Array], Array]


@checked
def synchronised(model: Layer) -> tuple[BatchNorm, ...]:
    """The layers of a model that need sums over all who share a batch."""
    return tuple(
        layer
        for _, layer in model.walk()
        if isinstance(layer, BatchNorm) and layer.synchronised and not layer.frozen
    )
