"""What stands on the exponential: tanh, the sigmoid, and softmax with its loss.

In compiled loops a call of the C library's exp would stay scalar; polynomials become
vector code.

Moshier, "Methods and programs for mathematical functions" (the Cephes library), 1989.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload

from minidl.kernels.cpu.cache import njit
from minidl.kernels.cpu.calls import flat, ready, share

Array = np.ndarray


def tanh(x: Array) -> Array:
    """See `reference.tanh`."""
    y = np.empty(x.shape, x.dtype)
    share(_tanh, 8 * x.size, flat(x), y.reshape(-1))
    return y


def tanh_gradient(dy: Array, y: Array) -> Array:
    """See `reference.tanh_gradient`."""
    dx = np.empty(dy.shape, dy.dtype)
    share(_tanh_gradient, y.size, flat(dy), flat(y), dx.reshape(-1))
    return dx


def sigmoid(x: Array) -> Array:
    """See `reference.sigmoid`."""
    y = np.empty(x.shape, x.dtype)
    share(_sigmoid, 8 * x.size, flat(x), y.reshape(-1))
    return y


def sigmoid_gradient(dy: Array, y: Array) -> Array:
    """See `reference.sigmoid_gradient`."""
    dx = np.empty(dy.shape, dy.dtype)
    share(_sigmoid_gradient, y.size, flat(dy), flat(y), dx.reshape(-1))
    return dx


def softmax_cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """See `reference.softmax_cross_entropy`."""
    losses = np.empty(len(logits), logits.dtype)
    probabilities = np.empty(logits.shape, logits.dtype)
    z, wanted = ready(logits), ready(labels, np.int64)
    share(
        _softmax_cross_entropy,
        8 * z.size,
        z,
        wanted,
        logits.dtype.type(smoothing),
        losses,
        probabilities,
    )
    return losses, probabilities


def softmax_cross_entropy_gradient(
    dlosses: Array, probabilities: Array, labels: Array, smoothing: float
) -> Array:
    """See `reference.softmax_cross_entropy_gradient`."""
    dlogits = np.empty(probabilities.shape, probabilities.dtype)
    p, wanted = ready(probabilities), ready(labels, np.int64)
    weight = ready(dlosses)
    share(
        _softmax_cross_entropy_gradient, p.size, weight, p, wanted, p.dtype.type(smoothing), dlogits
    )
    return dlogits


def _exp(x: Any) -> Any:
    """exp(x) for x <= 0, to about one unit in the last place; 0 for a subnormal result.

    x = n ln 2 + r. Adding 1.5 * 2**(mantissa bits) rounds to the whole number n and leaves
    its bits at the end of the sum, from where they are shifted into an exponent.
    """
    raise TypeError(f"to be called from compiled code only, not with {x}")


@overload(_exp, inline="always")
def _exp_of_type(x: Any) -> Callable[..., Any]:
    if x == types.float32:

        def exp_single(x: Any) -> Any:
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
            power = np.int32((np.float32(t).view(np.int32) << 23) + (127 << 23)).view(np.float32)
            return np.float32(0) if x < low else s * power

        return exp_single

    def exp_double(x: Any) -> Any:
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
        power = np.int64((np.float64(t).view(np.int64) << 52) + (1023 << 52)).view(np.float64)
        return 0.0 if x < low else (1.0 + 2.0 * p / (q - p)) * power

    return exp_double


def _tanh_near_zero(x: Any) -> Any:
    """tanh(x) for abs(x) < 0.625, where 1 - exp(-2 x) would lose digits."""
    raise TypeError(f"to be called from compiled code only, not with {x}")


@overload(_tanh_near_zero, inline="always")
def _tanh_near_zero_of_type(x: Any) -> Callable[..., Any]:
    if x == types.float32:

        def near_single(x: Any) -> Any:
            z = x * x
            s = np.float32(-5.70498872745e-3)
            s = s * z + np.float32(2.06390887954e-2)
            s = s * z + np.float32(-5.37397155531e-2)
            s = s * z + np.float32(1.33314422036e-1)
            s = s * z + np.float32(-3.33332819422e-1)
            return s * z * x + x

        return near_single

    def near_double(x: Any) -> Any:
        z = x * x
        p = -9.64399179425052238628e-1
        p = p * z - 9.92877231001918586564e1
        p = p * z - 1.61468768441708447952e3
        q = z + 1.12811678491632931402e2
        q = q * z + 2.23548839060100448583e3
        q = q * z + 4.84406305325125486048e3
        return x + x * z * (p / q)

    return near_double


@njit(parallel=True, nogil=True, fastmath={"contract"})
def _tanh(x: Array, y: Array) -> None:
    one, two, border = x.dtype.type(1), x.dtype.type(2), x.dtype.type(0.625)
    for i in numba.prange(x.size):
        size = abs(x[i])
        e = _exp(-two * size)
        far = (one - e) / (one + e)
        far = -far if x[i] < 0 else far
        y[i] = _tanh_near_zero(x[i]) if size < border else far


@njit(parallel=True, nogil=True)
def _tanh_gradient(dy: Array, y: Array, dx: Array) -> None:
    one = y.dtype.type(1)
    for i in numba.prange(y.size):
        dx[i] = dy[i] * (one - y[i] * y[i])


@njit(parallel=True, nogil=True, fastmath={"contract"})
def _sigmoid(x: Array, y: Array) -> None:
    one = x.dtype.type(1)
    for i in numba.prange(x.size):
        e = _exp(-abs(x[i]))
        y[i] = (e if x[i] < 0 else one) / (one + e)


@njit(parallel=True, nogil=True)
def _sigmoid_gradient(dy: Array, y: Array, dx: Array) -> None:
    one = y.dtype.type(1)
    for i in numba.prange(y.size):
        dx[i] = dy[i] * y[i] * (one - y[i])


@njit(parallel=True, nogil=True, fastmath={"contract"})
def _softmax_cross_entropy(
    logits: Array, labels: Array, smoothing: Any, losses: Array, probabilities: Array
) -> None:
    one, share = logits.dtype.type(1), smoothing / logits.dtype.type(logits.shape[1])
    for row in numba.prange(logits.shape[0]):
        top = logits[row, 0]
        for c in range(logits.shape[1]):
            top = max(top, logits[row, c])
        total, spread = logits.dtype.type(0), logits.dtype.type(0)
        for c in range(logits.shape[1]):
            probabilities[row, c] = _exp(logits[row, c] - top)
        for c in range(logits.shape[1]):
            total += probabilities[row, c]
            spread += share * (logits[row, c] - top)
        for c in range(logits.shape[1]):
            probabilities[row, c] /= total
        mixed = (one - smoothing) * (logits[row, labels[row]] - top)
        if smoothing > 0:  # else it would be 0 * -inf where a class is masked
            mixed += spread
        losses[row] = np.log(total) - mixed


@njit(parallel=True, nogil=True)
def _softmax_cross_entropy_gradient(
    dlosses: Array, probabilities: Array, labels: Array, smoothing: Any, dlogits: Array
) -> None:
    one, classes = dlogits.dtype.type(1), dlogits.dtype.type(dlogits.shape[1])
    for row in numba.prange(dlogits.shape[0]):
        for c in range(dlogits.shape[1]):
            dlogits[row, c] = dlosses[row] * (probabilities[row, c] - smoothing / classes)
        dlogits[row, labels[row]] -= dlosses[row] * (one - smoothing)
