"""FitImage: enlarged by a whole factor, centred, nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import nn


def fitted(x, size):
    layer = nn.FitImage(size)
    assert layer.build(x.shape[1:]) == (size, size, x.shape[3])
    return layer.forward(x, nn.EVALUATE)[0]


@given(st.integers(0, 2), st.integers(1, 6), st.integers(1, 6), st.integers(6, 20))
def test_pixels_are_repeated_by_the_largest_factor_and_centred(n, h, w, size):
    x = 1 + np.arange(n * h * w * 2.0).reshape(n, h, w, 2)
    factor = size // max(h, w)
    y = fitted(x, size)
    np.testing.assert_allclose(y.sum(), x.sum() * factor**2)
    for image in y:
        inked = np.argwhere(image[:, :, 0])
        low, high = inked.min(axis=0), inked.max(axis=0) + 1
        np.testing.assert_array_equal(high - low, [factor * h, factor * w])
        assert (abs(low - (size - high)) <= 1).all()


@pytest.mark.parametrize(("side", "factor", "border"), [(8, 4, 0), (28, 1, 2), (32, 1, 0)])
def test_digits_of_the_usual_sizes(side, factor, border):
    x = np.random.default_rng(0).uniform(1, 2, (2, side, side, 1))
    y = fitted(x, 32)
    inside = y[:, border : 32 - border, border : 32 - border]
    np.testing.assert_array_equal(inside[:, ::factor, ::factor], x)
    np.testing.assert_allclose(inside.sum(), y.sum())
