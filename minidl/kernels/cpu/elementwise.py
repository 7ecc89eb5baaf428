"""Activations, dropout and the optimizers' steps: one pass over flat memory each.

Python's loops below become vector code. Only exp needs help, for a call of the C library
would stay scalar: so it is a polynomial here, and tanh and the sigmoid stand on it.

Moshier, "Methods and programs for mathematical functions" (the Cephes library), 1989.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload

Array = np.ndarray


def relu(x: Array) -> Array:
    """See `reference.relu`."""
    y = np.empty(x.shape, x.dtype)
    _relu(_flat(x), y.reshape(-1))
    return y


def relu_gradient(dy: Array, y: Array) -> Array:
    """See `reference.relu_gradient`."""
    return leaky_relu_gradient(dy, y, 0)


def leaky_relu(x: Array, slope: float) -> Array:
    """See `reference.leaky_relu`."""
    y = np.empty(x.shape, x.dtype)
    _leaky_relu(_flat(x), x.dtype.type(slope), y.reshape(-1))
    return y


def leaky_relu_gradient(dy: Array, x: Array, slope: float) -> Array:
    """See `reference.leaky_relu_gradient`."""
    dx = np.empty(dy.shape, dy.dtype)
    _leaky_relu_gradient(_flat(dy), _flat(x), dy.dtype.type(slope), dx.reshape(-1))
    return dx


def tanh(x: Array) -> Array:
    """See `reference.tanh`."""
    y = np.empty(x.shape, x.dtype)
    _tanh(_flat(x), y.reshape(-1))
    return y


def tanh_gradient(dy: Array, y: Array) -> Array:
    """See `reference.tanh_gradient`."""
    dx = np.empty(dy.shape, dy.dtype)
    _tanh_gradient(_flat(dy), _flat(y), dx.reshape(-1))
    return dx


def sigmoid(x: Array) -> Array:
    """See `reference.sigmoid`."""
    y = np.empty(x.shape, x.dtype)
    _sigmoid(_flat(x), y.reshape(-1))
    return y


def sigmoid_gradient(dy: Array, y: Array) -> Array:
    """See `reference.sigmoid_gradient`."""
    dx = np.empty(dy.shape, dy.dtype)
    _sigmoid_gradient(_flat(dy), _flat(y), dx.reshape(-1))
    return dx


def dropout(x: Array, bits: Array, threshold: int, scale: float) -> Array:
    """See `reference.dropout`."""
    y = np.empty(x.shape, x.dtype)
    _dropout(_flat(x), _flat(bits), threshold, x.dtype.type(scale), y.reshape(-1))
    return y


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
        _momentum_step(w, g, velocity, *factors, bool(nesterov))
    else:
        _sgd_step(w, g, number(lr), number(weight_decay))


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
    _adam_step(w, g, m, v, *(w.dtype.type(factor) for factor in factors))


def _flat(x: Array) -> Array:
    return np.ascontiguousarray(x).reshape(-1)


def _exp(x: Any) -> Any:
    """exp(x) for x <= 0, to about one unit in the last place; 0 for a subnormal result.

    x = n ln 2 + r. Adding 1.5 * 2**(mantissa bits) rounds to the whole number n and leaves
    its bits at the end of the sum, from where they are shifted into an exponent.
    """
    raise TypeError(f"to be called from compiled code only, not with {x}")


@overload(_exp, inline="always")
def _exp_of_type(x: Any) -> Callable[..., Any]:
    if x == types.float32:

        def exp(x: Any) -> Any:
            low, big = np.float32(-87.3), np.float32(12582912.0)
            t = (low if x < low else x) * np.float32(1.44269504) + big
            n = t - big
            r = (low if x < low else x) - n * np.float32(0.693359375)
            r = r + n * np.float32(2.12194440e-4)
            s = np.float32(1.9875691500e-4)
            s = s * r + np.float32(1.3981999507e-3)
            s = s * r + np.float32(8.3334519073e-3)
            s = s * r + np.float32(4.1665795894e-2)
            s = s * r + np.float32(1.6666665459e-1)
            s = s * r + np.float32(5.0000001201e-1)
            s = s * (r * r) + r + np.float32(1)
            power = np.int32((t.view(np.int32) << 23) + (127 << 23)).view(np.float32)
            return np.float32(0) if x < low else s * power

        return exp

    def exp(x: Any) -> Any:
        low, big = -708.3, 6755399441055744.0
        t = (low if x < low else x) * 1.4426950408889634 + big
        n = t - big
        r = (low if x < low else x) - n * 6.93145751953125e-1
        r = r - n * 1.42860682030941723212e-6
        rr = r * r
        p = 1.26177193074810590878e-4
        p = p * rr + 3.02994407707441961300e-2
        p = (p * rr + 9.99999999999999999910e-1) * r
        q = 3.00198505138664455042e-6
        q = q * rr + 2.52448340349684104192e-3
        q = q * rr + 2.27265548208155028766e-1
        q = q * rr + 2.00000000000000000009
        power = ((t.view(np.int64) << 52) + (1023 << 52)).view(np.float64)
        return 0.0 if x < low else (1.0 + 2.0 * p / (q - p)) * power

    return exp


def _tanh_near_zero(x: Any) -> Any:
    """tanh(x) for abs(x) < 0.625, where 1 - exp(-2 x) would lose digits."""
    raise TypeError(f"to be called from compiled code only, not with {x}")


@overload(_tanh_near_zero, inline="always")
def _tanh_near_zero_of_type(x: Any) -> Callable[..., Any]:
    if x == types.float32:

        def near(x: Any) -> Any:
            z = x * x
            s = np.float32(-5.70498872745e-3)
            s = s * z + np.float32(2.06390887954e-2)
            s = s * z + np.float32(-5.37397155531e-2)
            s = s * z + np.float32(1.33314422036e-1)
            s = s * z + np.float32(-3.33332819422e-1)
            return s * z * x + x

        return near

    def near(x: Any) -> Any:
        z = x * x
        p = -9.64399179425052238628e-1
        p = p * z - 9.92877231001918586564e1
        p = p * z - 1.61468768441708447952e3
        q = z + 1.12811678491632931402e2
        q = q * z + 2.23548839060100448583e3
        q = q * z + 4.84406305325125486048e3
        return x + x * z * (p / q)

    return near


@numba.njit(cache=True, parallel=True, nogil=True)
def _relu(x: Array, y: Array) -> None:
    zero = x.dtype.type(0)
    for i in numba.prange(x.size):
        y[i] = zero if x[i] <= zero else x[i]


@numba.njit(cache=True, parallel=True, nogil=True)
def _leaky_relu(x: Array, slope: Any, y: Array) -> None:
    for i in numba.prange(x.size):
        y[i] = x[i] if x[i] > 0 else x[i] * slope


@numba.njit(cache=True, parallel=True, nogil=True)
def _leaky_relu_gradient(dy: Array, x: Array, slope: Any, dx: Array) -> None:
    for i in numba.prange(x.size):
        dx[i] = dy[i] if x[i] > 0 else dy[i] * slope


@numba.njit(cache=True, parallel=True, nogil=True)
def _tanh(x: Array, y: Array) -> None:
    one, two, border = x.dtype.type(1), x.dtype.type(2), x.dtype.type(0.625)
    for i in numba.prange(x.size):
        size = abs(x[i])
        e = _exp(-two * size)
        far = (one - e) / (one + e)
        far = -far if x[i] < 0 else far
        y[i] = _tanh_near_zero(x[i]) if size < border else far


@numba.njit(cache=True, parallel=True, nogil=True)
def _tanh_gradient(dy: Array, y: Array, dx: Array) -> None:
    one = y.dtype.type(1)
    for i in numba.prange(y.size):
        dx[i] = dy[i] * (one - y[i] * y[i])


@numba.njit(cache=True, parallel=True, nogil=True)
def _sigmoid(x: Array, y: Array) -> None:
    one = x.dtype.type(1)
    for i in numba.prange(x.size):
        e = _exp(-abs(x[i]))
        y[i] = (e if x[i] < 0 else one) / (one + e)


@numba.njit(cache=True, parallel=True, nogil=True)
def _sigmoid_gradient(dy: Array, y: Array, dx: Array) -> None:
    one = y.dtype.type(1)
    for i in numba.prange(y.size):
        dx[i] = dy[i] * y[i] * (one - y[i])


@numba.njit(cache=True, parallel=True, nogil=True)
def _dropout(x: Array, bits: Array, threshold: int, scale: Any, y: Array) -> None:
    zero = x.dtype.type(0)
    for i in numba.prange(x.size):
        y[i] = x[i] * scale if bits[i] >= threshold else zero


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
