"""Products of matrices."""

from __future__ import annotations

from minidl.kernels import Array, wide


def matmul(a: Array, b: Array) -> Array:
    """The product of two matrices, (M, K) and (K, N)."""
    return a @ b


def bias_gradient(dy: Array) -> Array:
    """The gradient by what is added along the last axis: the sum over all others."""
    return wide(dy).reshape(-1, dy.shape[-1]).sum(axis=0)
