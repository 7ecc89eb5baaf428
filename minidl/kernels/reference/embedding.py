"""The gradient of looking up."""

from __future__ import annotations

import numpy as np

from minidl.kernels import Array


def embedding_gradient(dy: Array, indices: Array, vocabulary: int) -> Array:
    """The gradient of ``w[indices]`` by w: each row gathers from wherever it was looked up.

    Parameters
    ----------
    dy
        (M, C).
    indices
        (M,), whole numbers from 0 to vocabulary - 1.
    vocabulary
        The number of rows of w.
    """
    dw = np.zeros((vocabulary, dy.shape[1]), dy.dtype)
    np.add.at(dw, indices, dy)
    return dw
