"""The gradient of a table by its rows that were looked up."""

from __future__ import annotations

import numpy as np

from minidl.kernels.cpu.cache import njit
from minidl.kernels.cpu.calls import ready

Array = np.ndarray


def embedding_gradient(dy: Array, indices: Array, vocabulary: int) -> Array:
    """See `reference.embedding_gradient`."""
    dw = np.zeros((vocabulary, dy.shape[1]), dy.dtype)
    _add_rows(ready(dy), ready(indices, np.int64), dw)
    return dw


@njit(nogil=True)
def _add_rows(dy: Array, indices: Array, dw: Array) -> None:
    # On one thread: two might meet at one row, and little more than reading is to be done.
    for row in range(dy.shape[0]):
        place = indices[row]
        for c in range(dy.shape[1]):
            dw[place, c] += dy[row, c]
