"""The optimizers' steps: one pass over the vector of all weights."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from minidl.kernels.cpu.cache import njit
from minidl.kernels.cpu.calls import flat, ready, share

Array = np.ndarray


def sgd_step(
    w: Array,
    g: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """See `reference.sgd_step`."""
    number = w.dtype.type
    if momentum:
        factors = number(lr), number(momentum), number(weight_decay)
        share(_momentum_step, w.size, w, ready(g), velocity, *factors, bool(nesterov))
    else:
        share(_sgd_step, w.size, w, ready(g), number(lr), number(weight_decay))


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
    """See `reference.adam_step`."""
    factors = (
        *(beta1, 1 - beta1, beta2, 1 - beta2),
        *(lr / (1 - beta1**t), 1 / (1 - beta2**t), eps, weight_decay, 1),
    )
    share(_adam_step, w.size, w, ready(g), m, v, *(w.dtype.type(factor) for factor in factors))


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
    """See `reference.adamw_step`."""
    factors = (
        *(beta1, 1 - beta1, beta2, 1 - beta2),
        *(lr / (1 - beta1**t), 1 / (1 - beta2**t), eps, 0, 1 - lr * weight_decay),
    )
    share(_adam_step, w.size, w, ready(g), m, v, *(w.dtype.type(factor) for factor in factors))


def adagrad_step(w: Array, g: Array, v: Array, lr: float, eps: float, weight_decay: float) -> None:
    """See `reference.adagrad_step`."""
    number = w.dtype.type
    share(_adagrad_step, w.size, w, ready(g), v, number(lr), number(eps), number(weight_decay))


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
    """See `reference.rmsprop_step`."""
    numbers = (lr, alpha, 1 - alpha, momentum, eps, weight_decay)
    factors = tuple(w.dtype.type(factor) for factor in numbers)
    share(_rmsprop_step, w.size, w, ready(g), v, velocity, *factors)


def lars_step(
    w: Array,
    g: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    weight_decay: float,
    trust: float,
) -> None:
    """See `reference.lars_step`."""
    w_norm, g_norm = (float(sum_of_squares(x)) ** 0.5 for x in (w, g))
    against = g_norm + weight_decay * w_norm
    ratio = trust * w_norm / against if w_norm and against else 1.0
    factors = (w.dtype.type(factor) for factor in (lr * ratio, momentum, weight_decay))
    share(_lars_step, w.size, w, ready(g), velocity, *factors)


def sum_of_squares(x: Array) -> Array:
    """See `reference.sum_of_squares`."""
    sums = np.empty((x.size + BLOCK - 1) // BLOCK)
    share(_sums_of_squares, x.size, flat(x), sums)
    return np.asarray(sums.sum())


BLOCK = 4096
"""Numbers that one thread sums; how many threads there are then changes no sum."""


@njit(parallel=True, nogil=True)
def _sgd_step(w: Array, g: Array, lr: Any, weight_decay: Any) -> None:
    for i in numba.prange(w.size):
        w[i] -= lr * (g[i] + weight_decay * w[i])


@njit(parallel=True, nogil=True)
def _momentum_step(
    w: Array, g: Array, velocity: Array, lr: Any, momentum: Any, weight_decay: Any, nesterov: bool
) -> None:
    for i in numba.prange(w.size):
        slope = g[i] + weight_decay * w[i]
        v = momentum * velocity[i] + slope
        velocity[i] = v
        w[i] -= lr * (slope + momentum * v if nesterov else v)


@njit(parallel=True, nogil=True)
def _adam_step(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    keep_m: Any,
    add_m: Any,
    keep_v: Any,
    add_v: Any,
    lr: Any,
    v_scale: Any,
    eps: Any,
    weight_decay: Any,
    keep_w: Any,
) -> None:
    for i in numba.prange(w.size):
        slope = g[i] + weight_decay * w[i]
        m[i] = keep_m * m[i] + add_m * slope
        v[i] = keep_v * v[i] + add_v * slope * slope
        w[i] = keep_w * w[i] - lr * m[i] / (np.sqrt(v[i] * v_scale) + eps)


@njit(parallel=True, nogil=True)
def _adagrad_step(w: Array, g: Array, v: Array, lr: Any, eps: Any, weight_decay: Any) -> None:
    for i in numba.prange(w.size):
        slope = g[i] + weight_decay * w[i]
        v[i] += slope * slope
        w[i] -= lr * slope / (np.sqrt(v[i]) + eps)


@njit(parallel=True, nogil=True)
def _rmsprop_step(
    w: Array,
    g: Array,
    v: Array,
    velocity: Array,
    lr: Any,
    keep_v: Any,
    add_v: Any,
    momentum: Any,
    eps: Any,
    weight_decay: Any,
) -> None:
    for i in numba.prange(w.size):
        slope = g[i] + weight_decay * w[i]
        v[i] = keep_v * v[i] + add_v * slope * slope
        slope /= np.sqrt(v[i]) + eps
        if velocity.size:
            slope += momentum * velocity[i]
            velocity[i] = slope
        w[i] -= lr * slope


@njit(parallel=True, nogil=True)
def _lars_step(
    w: Array, g: Array, velocity: Array, lr: Any, momentum: Any, weight_decay: Any
) -> None:
    for i in numba.prange(w.size):
        v = momentum * velocity[i] + lr * (g[i] + weight_decay * w[i])
        velocity[i] = v
        w[i] -= v


@njit(parallel=True, nogil=True, fastmath={"reassoc"})
def _sums_of_squares(x: Array, sums: Array) -> None:
    for block in numba.prange(sums.size):
        total = 0.0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, x.size)):
            total += np.float64(x[i]) * np.float64(x[i])
        sums[block] = total
