"""What products, functions of one number and of rows take."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.checks import is_whole
from minidl.errors import InputError
from minidl.kernels import Array
from minidl.kernels.contracts.types import floats, indices, misfit

__all__: list[str] = []


def matmul(a: Array, b: Array) -> tuple[Any, ...]:
    a, b = floats(a, b)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise misfit("matmul", "(M, K) and (K, N)", a, b)
    return a, b


def bias_gradient(dy: Array) -> tuple[Any, ...]:
    (dy,) = floats(dy)
    if dy.ndim < 1 or not dy.shape[-1]:
        raise misfit("bias_gradient", "(..., C) with at least one column", dy)
    return (dy,)


def relu(x: Array) -> tuple[Any, ...]:
    return floats(x)


def tanh(x: Array) -> tuple[Any, ...]:
    return floats(x)


def sigmoid(x: Array) -> tuple[Any, ...]:
    return floats(x)


def leaky_relu(x: Array, slope: float) -> tuple[Any, ...]:
    return (*floats(x), slope)


def _two_alike(kernel: str, one: Array, other: Array) -> tuple[Array, ...]:
    one, other = floats(one, other)
    if one.shape != other.shape:
        raise misfit(kernel, "two arrays of one shape", one, other)
    return one, other


def relu_gradient(dy: Array, y: Array) -> tuple[Any, ...]:
    return _two_alike("relu_gradient", dy, y)


def tanh_gradient(dy: Array, y: Array) -> tuple[Any, ...]:
    return _two_alike("tanh_gradient", dy, y)


def sigmoid_gradient(dy: Array, y: Array) -> tuple[Any, ...]:
    return _two_alike("sigmoid_gradient", dy, y)


def leaky_relu_gradient(dy: Array, x: Array, slope: float) -> tuple[Any, ...]:
    return (*_two_alike("leaky_relu_gradient", dy, x), slope)


def dropout(x: Array, bits: Array, threshold: int, scale: float) -> tuple[Any, ...]:
    (x,) = floats(x)
    if getattr(bits, "dtype", None) != np.uint32:
        raise InputError(f"dropout takes bits of uint32, not {getattr(bits, 'dtype', bits)}")
    if x.shape != bits.shape:
        raise misfit("dropout", "x and bits of one shape", x, bits)
    return x, bits, threshold, scale


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Any, ...]:
    x, gamma, beta = floats(x, gamma, beta)
    if x.ndim != 2 or gamma.shape != x.shape[1:] or beta.shape != x.shape[1:]:
        raise misfit("batch_norm", "x (M, C), gamma and beta (C,)", x, gamma, beta)
    return x, gamma, beta, eps


def batch_norm_gradient(
    dy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array
) -> tuple[Any, ...]:
    given = dy, x, gamma, mean, inv_std = floats(dy, x, gamma, mean, inv_std)
    columns = x.shape[1:]
    if x.ndim != 2 or dy.shape != x.shape or not gamma.shape == mean.shape == columns:
        raise misfit("batch_norm_gradient", "dy and x (M, C), all others (C,)", *given)
    if inv_std.shape != columns:
        raise misfit("batch_norm_gradient", "dy and x (M, C), all others (C,)", *given)
    return given


def softmax_cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Any, ...]:
    (logits,) = floats(logits)
    _classified("softmax_cross_entropy", logits, labels)
    return logits, indices("labels", labels, logits.shape[1]), smoothing


def softmax_cross_entropy_gradient(
    dlosses: Array, probabilities: Array, labels: Array, smoothing: float
) -> tuple[Any, ...]:
    dlosses, probabilities = floats(dlosses, probabilities)
    _classified("softmax_cross_entropy_gradient", probabilities, labels)
    if dlosses.shape != probabilities.shape[:1]:
        raise misfit("softmax_cross_entropy_gradient", "a number a row", dlosses, probabilities)
    return dlosses, probabilities, indices("labels", labels, probabilities.shape[1]), smoothing


def _classified(kernel: str, rows: Array, labels: Array) -> None:
    if rows.ndim != 2 or not rows.shape[1] or getattr(labels, "shape", None) != rows.shape[:1]:
        wanted = "(M, C) with at least one class, and labels (M,)"
        raise misfit(kernel, wanted, rows, labels)


def embedding_gradient(dy: Array, indices_: Array, vocabulary: int) -> tuple[Any, ...]:
    (dy,) = floats(dy)
    if not is_whole(vocabulary, 0):
        raise InputError(f"embedding_gradient: vocabulary must be a whole number, not {vocabulary}")
    if dy.ndim != 2 or getattr(indices_, "shape", None) != dy.shape[:1]:
        raise misfit("embedding_gradient", "dy (M, C) and indices (M,)", dy, indices_)
    return dy, indices("indices", indices_, vocabulary), vocabulary
