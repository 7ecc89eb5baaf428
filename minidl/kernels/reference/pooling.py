"""Largest and mean values of windows."""

from __future__ import annotations

import numpy as np

from minidl.kernels.reference.windows import at, crop, pad, windows_of

Array = np.ndarray
Pair = tuple[int, int]


def max_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """The maximum of each window of x (N, H, W, C).

    Returns
    -------
    y : (N, H', W', C)
    argmax : (N, H', W', C), int32
        Where in its window, counted row by row, the first maximum stands. Padding never wins.
    """
    windows = windows_of(pad(x, padding, -np.inf), size, stride, (1, 1))
    inside = windows_of(pad(np.ones(x.shape, bool), padding), size, stride, (1, 1))
    y = windows.max(axis=(-2, -1))
    winners = (windows == y[..., None, None]) & inside
    return y, winners.reshape(*y.shape, size[0] * size[1]).argmax(axis=-1).astype(np.int32)


def max_pool2d_gradient(
    dy: Array, argmax: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """The gradient of `max_pool2d`: it goes to the winner of each window."""
    dx = pad(np.zeros(x_shape, dy.dtype), padding)
    for p, q in np.ndindex(size):
        won = argmax == p * size[1] + q
        at(dx, p, q, dy.shape, stride, (1, 1))[...] += np.where(won, dy, 0)
    return crop(dx, padding)


def avg_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """The mean of each window of x (N, H, W, C), zeros of the padding counted."""
    return windows_of(pad(x, padding), size, stride, (1, 1)).mean(axis=(-2, -1))


def avg_pool2d_gradient(
    dy: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """The gradient of `avg_pool2d`: every cell of a window gets the same share."""
    dx = pad(np.zeros(x_shape, dy.dtype), padding)
    for p, q in np.ndindex(size):
        at(dx, p, q, dy.shape, stride, (1, 1))[...] += dy / (size[0] * size[1])
    return crop(dx, padding)
