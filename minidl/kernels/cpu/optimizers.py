"""The optimizers' steps: one pass over the vector of all weights."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from minidl.kernels.cpu.calls import ready, share

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
        *(lr / (1 - beta1**t), 1 / (1 - beta2**t), eps, weight_decay),
    )
    share(_adam_step, w.size, w, ready(g), m, v, *(w.dtype.type(factor) for factor in factors))


@numba.njit(cache=True, parallel=True, nogil=True)
def _sgd_step(w: Array, g: Array, lr: Any, weight_decay: Any) -> None:
    for i in numba.prange(w.size):
        w[i] -= lr * (g[i] + weight_decay * w[i])


@numba.njit(cache=True, parallel=True, nogil=True)
def _momentum_step(
    w: Array, g: Array, velocity: Array, lr: Any, momentum: Any, weight_decay: Any, nesterov: bool
) -> None:
    for i in numba.prange(w.size):
        slope = g[i] + weight_decay * w[i]
        v = momentum * velocity[i] + slope
        velocity[i] = v
        w[i] -= lr * (slope + momentum * v if nesterov else v)


@numba.njit(cache=True, parallel=True, nogil=True)
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
) -> None:
    for i in numba.prange(w.size):
        slope = g[i] + weight_decay * w[i]
        m[i] = keep_m * m[i] + add_m * slope
        v[i] = keep_v * v[i] + add_v * slope * slope
        w[i] -= lr * m[i] / (np.sqrt(v[i] * v_scale) + eps)
