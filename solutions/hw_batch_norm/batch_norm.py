"""Homework: batch normalisation, forward and backward by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

# stub: from minidl import data, errors, nn, optim
# solution: begin
from minidl import data, nn, optim

# solution: end
from minidl.train import Trainer


def forward(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float
) -> tuple[np.ndarray, Any]:
    """Normalise each column to mean 0 and variance 1, then scale and shift it.

    With the mean and the variance of a column over its M rows,

        mean = sum(x) / M,    variance = sum((x - mean)²) / M,
        normal = (x - mean) / sqrt(variance + eps),
        y = gamma · normal + beta.

    A column of one row has variance 0, and y is beta.

    Parameters
    ----------
    x
        (M, C): M samples with C channels, M at least 1. Not to be changed.
    gamma, beta
        (C,): scale and shift of each channel.
    eps
        Keeps the root away from 0.

    Returns
    -------
    y
        (M, C).
    saved
        Whatever `backward` will need, of your choice. Return it, keep nothing elsewhere:
        another batch may come before this one's `backward`.

    Hints
    -----
    - `x.mean(axis=0)` has shape (C,), and `x - x.mean(axis=0)` has shape (M, C).
    - Subtract the mean before you square: E[x²] - E[x]² loses all digits where the mean
      is large.
    """
    # stub: raise errors.NotWrittenError("forward is not written yet: see its hints")
    # solution: begin
    off = x - x.mean(axis=0)
    inv_std = 1 / np.sqrt((off * off).mean(axis=0) + eps)
    normal = off * inv_std
    return gamma * normal + beta, (normal, inv_std, gamma)
    # solution: end


def backward(dy: np.ndarray, saved: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of the loss by x, gamma and beta.

    Parameters
    ----------
    dy
        (M, C), the gradient of the loss by y. Not to be changed.
    saved
        What `forward` returned for the same batch.

    Returns
    -------
    dx
        (M, C).
    dgamma, dbeta
        (C,).

    Hints
    -----
    - A column's x reaches its y by three ways: directly, through the mean, and through
      the variance. Begin with dnormal = gamma · dy and add up the three.
    - What comes out has mean 0 in each column, and no part along `normal`. Why must
      that be so? (What does y do when all x of a column grow by the same number?)
    """
    # stub: raise errors.NotWrittenError("backward is not written yet: see its hints")
    # solution: begin
    normal, inv_std, gamma = saved
    dbeta, dgamma = dy.sum(axis=0), (dy * normal).sum(axis=0)
    dx = gamma * inv_std * (dy - dy.mean(axis=0) - normal * (dy * normal).mean(axis=0))
    return dx, dgamma, dbeta
    # solution: end


class MyBatchNorm(nn.Layer):
    """Your functions as a layer of minidl. Nothing is to be written here.

    In evaluation it uses running means of the batches' statistics, which every layer of
    minidl may declare: what is added to their `grad` is what they follow.
    """

    gamma: nn.Parameter
    beta: nn.Parameter
    mean: nn.RunningMean
    variance: nn.RunningMean
    eps = 1e-5

    def build(self, shape: nn.Shape) -> nn.Shape:
        channels = shape[-1:]
        self.parameter("gamma", channels, nn.init.ones)
        self.parameter("beta", channels, nn.init.zeros)
        self.running_mean("mean", channels, nn.init.zeros, momentum=0.1)
        self.running_mean("variance", channels, nn.init.ones, momentum=0.1)
        return shape

    def forward(self, x: nn.Array, mode: nn.Mode) -> tuple[nn.Array, Any]:
        gamma, beta = self.gamma.value, self.beta.value
        if not mode.training:
            scale = gamma / np.sqrt(self.variance.value + self.eps)
            return (x - self.mean.value) * scale + beta, None
        rows = x.reshape(-1, x.shape[-1])
        y, saved = forward(rows, gamma, beta, self.eps)
        return np.asarray(y, x.dtype).reshape(x.shape), (saved, rows, len(x) / mode.batch_size)

    def backward(self, dy: nn.Array, saved: Any) -> nn.Array:
        saved, rows, share = saved
        dx, dgamma, dbeta = backward(dy.reshape(rows.shape), saved)
        self.gamma.grad += dgamma
        self.beta.grad += dbeta
        self.mean.grad += share * rows.mean(axis=0)
        self.variance.grad += share * rows.var(axis=0)
        return np.asarray(dx, dy.dtype).reshape(dy.shape)


def train(norm: type[nn.Layer] | None, epochs: int = 3) -> list[float]:
    """Train ten sigmoid layers on digits; the accuracy on unseen digits after each epoch."""
    blocks: list[nn.Layer] = []
    for _ in range(10):
        blocks += [nn.Linear(32), *([norm()] if norm else []), nn.Sigmoid()]
    model = nn.Sequential(nn.Flatten(), *blocks, nn.Linear(10))
    digits, unseen = data.digits()
    trainer = Trainer(model, nn.CrossEntropy(), optim.SGD(0.2, momentum=0.9), seed=0)
    history = trainer.fit(digits, epochs=epochs, batch_size=64, validation=unseen, progress=False)
    return [epoch.validation["accuracy"] for epoch in history.epochs]


if __name__ == "__main__":
    for title, norm in (
        ("without", None),
        ("with minidl's", nn.BatchNorm),
        ("with yours", MyBatchNorm),
    ):
        accuracies = ", ".join(f"{accuracy:.1%}" for accuracy in train(norm))
        print(f"{title + ' batch norm':26} {accuracies}")
