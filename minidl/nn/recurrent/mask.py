"""Sequences of different lengths in one batch."""

from __future__ import annotations

import numpy as np

from minidl import kernels
from minidl.checks import checked
from minidl.errors import InputError, ShapeError
from minidl.nn.parameters import Array


@checked
def with_mask(x: np.ndarray, lengths: Array) -> Array:
    """Sequences with one more feature that is 1 where a step exists and 0 where it is padding.

    That is the form in which a recurrent layer with ``masked=True`` wants its input.

    Parameters
    ----------
    x
        (N, T, D).
    lengths
        (N,), whole numbers: how many of the T steps exist. What stands after them is ignored.

    Returns
    -------
    array
        (N, T, D + 1).

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    InputError
        If a length is no whole number from 0 to T.
    """
    try:
        lengths = np.asarray(
            lengths.get() if hasattr(lengths, "get") and hasattr(lengths, "dtype") else lengths
        )
    except Exception as error:  # also one from within an object that says it is an array
        raise InputError(f"with_mask: lengths cannot be one array: {error}") from error
    if x.ndim != 3 or lengths.shape != (len(x),):
        raise ShapeError(
            "with_mask: x must be sequences (N, T, D), and lengths (N,) theirs, "
            f"not shapes {x.shape} and {lengths.shape}"
        )
    steps = x.shape[1]
    if len(x) and (lengths.dtype.kind not in "iu" or lengths.min() < 0 or lengths.max() > steps):
        raise InputError(
            f"with_mask: lengths must be whole numbers from 0 to {steps}, not {lengths}"
        )
    xp = kernels.array_module(x)
    mask = xp.asarray(np.arange(steps) < lengths[:, None])[:, :, None]
    return xp.concatenate((xp.where(mask, x, x.dtype.type(0)), mask.astype(x.dtype)), axis=2)
