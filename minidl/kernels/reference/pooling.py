"""Largest and mean values of windows."""

from __future__ import annotations

import numpy as np

from minidl.kernels import Array, Pair, array_module
from minidl.kernels.reference.windows import at, crop, pad, windows_of


def max_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """The maximum of each window of x (N, H, W, C).

    Returns
    -------
    y : (N, H', W', C)
    argmax : (N, H', W', C), int32
        Where in its window, counted row by row, the first maximum stands. Padding never wins.
    """
    windows = windows_of(pad(x, padding, -np.inf), size, stride, (1, 1))
    ones = array_module(x).ones(x.shape, bool)
    inside = windows_of(pad(ones, padding), size, stride, (1, 1))
    y = windows.max(axis=(-2, -1))
    winners = (windows == y[..., None, None]) & inside
    return y, winners.reshape(*y.shape, size[0] * size[1]).argmax(axis=-1).astype(np.int32)


def max_pool2d_gradient(
    dy: Array, argmax: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """The gradient of `max_pool2d`: it goes to the winner of each window."""
    xp = array_module(dy)
    dx = pad(xp.zeros(x_shape, dy.dtype), padding)
    for p, q in np.ndindex(size):
        place = at(dx, p, q, dy.shape, stride, (1, 1))
        place += xp.where(argmax == p * size[1] + q, dy, 0)
    return crop(dx, padding)


def avg_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """The mean of each window of x (N, H, W, C), zeros of the padding counted."""
    return windows_of(pad(x, padding), size, stride, (1, 1)).mean(axis=(-2, -1))


def avg_pool2d_gradient(
    dy: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """The gradient of `avg_pool2d`: every cell of a window gets the same share."""
    dx = pad(array_module(dy).zeros(x_shape, dy.dtype), padding)
    share = dy / (size[0] * size[1])
    for p, q in np.ndindex(size):
        place = at(dx, p, q, dy.shape, stride, (1, 1))
        place += share
    return crop(dx, padding)
