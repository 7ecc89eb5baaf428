"""Convolutions and their gradients."""

from __future__ import annotations

import numpy as np

from minidl.kernels import Array, Pair
from minidl.kernels.reference.windows import at, crop, pad, windows_of


def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """Convolution: what deep learning calls so, a sliding scalar product.

    ``y[n,i,j,o] = b[o] + sum over p,q,c of x[n, i*s + p*d - pad, j*s + q*d - pad, c] w[p,q,c,o]``

    In groups, the channels of x and those of y are cut into as many equal parts; each part of
    y sees one part of x only.

    Parameters
    ----------
    x
        (N, H, W, C), surrounded by `padding` zeros on each side.
    w
        (KH, KW, C / groups, O).
    b
        (O,), or None.
    stride
        (vertical, horizontal) step between windows.
    padding
        (vertical, horizontal) zeros on each side.
    dilation
        (vertical, horizontal) step within a window.
    groups
        A divisor of C and of O.

    Returns
    -------
    array
        (N, H', W', O) with ``H' = (H + 2 pad - d (KH - 1) - 1) // s + 1``.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    windows = windows_of(pad(x, padding), w.shape[:2], stride, dilation)
    parts = zip(np.split(windows, groups, axis=3), np.split(w, groups, axis=-1), strict=True)
    y = [np.einsum("nijcpq,pqco->nijo", part, v, optimize=True) for part, v in parts]
    whole = np.concatenate(y, axis=-1)
    return whole if b is None else whole + b


def conv2d_input_gradient(
    dy: Array,
    w: Array,
    x_shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """The gradient of `conv2d` by x: each output gives back to the inputs it was made of."""
    dx = pad(np.zeros(x_shape, dy.dtype), padding)
    for p, q in np.ndindex(w.shape[:2]):
        parts = zip(np.split(dy, groups, axis=-1), np.split(w[p, q], groups, axis=-1), strict=True)
        given = np.concatenate([part @ v.T for part, v in parts], axis=-1)
        at(dx, p, q, dy.shape, stride, dilation)[...] += given
    return crop(dx, padding)


def conv2d_weight_gradient(
    dy: Array,
    x: Array,
    w_shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """The gradient of `conv2d` by w: inputs times the outputs they went into."""
    windows = windows_of(pad(x, padding), (w_shape[0], w_shape[1]), stride, dilation)
    parts = zip(np.split(windows, groups, axis=3), np.split(dy, groups, axis=-1), strict=True)
    dw = [np.einsum("nijcpq,nijo->pqco", part, u, optimize=True) for part, u in parts]
    return np.concatenate(dw, axis=-1)
