"""Steps of optimizers, each one pass over the weights."""

from __future__ import annotations

import numpy as np

from minidl.kernels import Array, array_module


def sgd_step(
    w: Array,
    g: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """One step of stochastic gradient descent, in place.

    Parameters
    ----------
    w
        Weights, (P,).
    g
        Their gradient, (P,).
    velocity
        (P,), zero before the first step; empty if there is no momentum.
    lr
        The learning rate, which multiplies the velocity, as in ``torch.optim.SGD``.
    momentum
        How much the velocity keeps of itself, from 0 to below 1.
    nesterov
        Whether the step looks ahead by the next velocity.
    weight_decay
        This many times the weights are added to the gradient.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum", 2013.
    """
    g = g + weight_decay * w
    if momentum:
        velocity[...] = momentum * velocity + g
        g = g + momentum * velocity if nesterov else velocity
    w -= lr * g


def adam_step(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    t: int,
) -> None:
    """One step of Adam, in place.

    Parameters
    ----------
    w
        Weights, (P,).
    g
        Their gradient, (P,).
    m
        Running mean of the gradient, (P,), zero before the first step.
    v
        Running mean of the gradient's square, (P,), zero before the first step.
    lr
        The learning rate.
    beta1
        How much m keeps of itself, from 0 to below 1.
    beta2
        How much v keeps of itself, from 0 to below 1.
    eps
        Added to the denominator, as in ``torch.optim.Adam``.
    weight_decay
        This many times the weights are added to the gradient.
    t
        The number of this step, from 1.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """
    g = g + weight_decay * w
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w -= lr * m_hat / (array_module(v).sqrt(v_hat) + eps)


def adamw_step(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    t: int,
) -> None:
    """One step of Adam with decoupled weight decay, in place.

    Parameters as for `adam_step`, but as in ``torch.optim.AdamW``: the weights shrink by
    themselves, and m and v do not know of it.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    """
    w *= 1 - lr * weight_decay
    adam_step(w, g, m, v, lr, beta1, beta2, eps, 0, t)


def adagrad_step(w: Array, g: Array, v: Array, lr: float, eps: float, weight_decay: float) -> None:
    """One step of Adagrad, in place.

    Parameters
    ----------
    w
        Weights, (P,).
    g
        Their gradient, (P,).
    v
        The sum of all squares of the gradient, (P,), zero before the first step.
    lr
        The learning rate.
    eps
        Added to the denominator, as in ``torch.optim.Adagrad``.
    weight_decay
        This many times the weights are added to the gradient.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", 2011.
    """
    g = g + weight_decay * w
    v += g * g
    w -= lr * g / (array_module(v).sqrt(v) + eps)


def rmsprop_step(
    w: Array,
    g: Array,
    v: Array,
    velocity: Array,
    lr: float,
    alpha: float,
    momentum: float,
    eps: float,
    weight_decay: float,
) -> None:
    """One step of RMSprop, in place.

    Parameters
    ----------
    w
        Weights, (P,).
    g
        Their gradient, (P,).
    v
        The running mean of the gradient's square, (P,), zero before the first step.
    velocity
        (P,), zero before the first step; empty if there is no momentum.
    lr
        The learning rate.
    alpha
        How much v keeps of itself, from 0 to below 1.
    momentum
        How much the velocity keeps of itself, from 0 to below 1.
    eps
        Added to the denominator, as in ``torch.optim.RMSprop``.
    weight_decay
        This many times the weights are added to the gradient.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5: rmsprop", Neural networks for machine learning, 2012.
    """
    g = g + weight_decay * w
    v[...] = alpha * v + (1 - alpha) * g * g
    g = g / (array_module(v).sqrt(v) + eps)
    if momentum:
        velocity[...] = momentum * velocity + g
        g = velocity
    w -= lr * g


def lars_step(
    w: Array,
    g: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    weight_decay: float,
    trust: float,
) -> None:
    """One step of LARS for one parameter, in place.

    Parameters
    ----------
    w
        Weights, (P,).
    g
        Their gradient, (P,).
    velocity
        (P,), zero before the first step.
    lr
        The learning rate, which is part of the velocity, as in the paper.
    momentum
        How much the velocity keeps of itself, from 0 to below 1.
    weight_decay
        This many times the weights are added to the gradient.
    trust
        η: by what part of its length w moves in a step with lr = 1.

    References
    ----------
    You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017,
    algorithm 1. Where w, or g and the decay, are zero, the ratio is 1.
    """
    w_norm, g_norm = np.sqrt(sum_of_squares(w)), np.sqrt(sum_of_squares(g))
    against = g_norm + weight_decay * w_norm
    ratio = float(trust * w_norm / against) if w_norm and against else 1.0
    velocity[...] = momentum * velocity + lr * ratio * (g + weight_decay * w)
    w -= velocity


def sum_of_squares(x: Array) -> Array:
    """Of all elements of x (P,), as an array without axes, in float64."""
    xp = array_module(x)
    return xp.asarray(xp.square(x, dtype=np.float64).sum())
