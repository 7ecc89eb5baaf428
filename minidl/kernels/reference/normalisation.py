"""Batch normalisation."""

from __future__ import annotations

from minidl.kernels import Array, array_module


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
    """Normalise each column of x (M, C) to mean 0 and variance 1, then scale and shift.

    Returns
    -------
    y : (M, C)
    mean : (C,)
        Of the columns.
    inv_std : (C,)
        1 / sqrt(biased variance + eps) of the columns.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", 2015.
    """
    count = max(len(x), 1)
    mean = x.sum(axis=0) / count
    off = x - mean
    inv_std = 1 / array_module(x).sqrt((off * off).sum(axis=0) / count + x.dtype.type(eps))
    return gamma * off * inv_std + beta, mean, inv_std


def batch_norm_gradient(
    dy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """The gradients of `batch_norm` by x, gamma and beta.

    The mean and the variance depend on x too: so dx has neither mean nor a part along x.
    """
    count = max(len(x), 1)
    normal = (x - mean) * inv_std
    dgamma = (dy * normal).sum(axis=0)
    dbeta = dy.sum(axis=0)
    dx = gamma * inv_std * (dy - dbeta / count - normal * dgamma / count)
    return dx, dgamma, dbeta
