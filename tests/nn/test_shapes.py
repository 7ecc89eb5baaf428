"""Layers that only move numbers: what they give, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import nn
from minidl.errors import InputError, ShapeError

some = st.integers(1, 4)


@given(n=st.integers(0, 3), h=some, w=some, c=some)
def test_a_reshape_keeps_numbers_and_order_and_a_second_one_undoes_it(n, h, w, c):
    x = np.arange(n * h * w * c).reshape(n, h, w, c)
    assert nn.Reshape(w * c, h).build((h, w, c)) == (w * c, h)
    y, _ = nn.Reshape(w * c, h).forward(x, nn.EVALUATE)
    np.testing.assert_array_equal(y.ravel(), x.ravel())
    np.testing.assert_array_equal(nn.Reshape(h, w, c).forward(y, nn.EVALUATE)[0], x)


@given(n=st.integers(0, 3), h=some, w=some, c=some, scale=st.tuples(some, some))
def test_an_enlarged_image_shows_each_pixel_as_often_as_asked(n, h, w, c, scale):
    x = np.random.default_rng(0).normal(size=(n, h, w, c))
    y, _ = nn.Upsample(scale).forward(x, nn.EVALUATE)
    assert y.shape[1:] == nn.Upsample(scale).build((h, w, c))
    for i, j in np.ndindex(scale):
        np.testing.assert_array_equal(y[:, i :: scale[0], j :: scale[1]], x)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Reshape(2, 3), (5,), r"5 elements and cannot become \(2, 3\), which needs 6"),
        (nn.Reshape(), (2,), "which needs 1"),
        (nn.Upsample(2), (3, 3), r"\(height, width, channels\), not \(3, 3\)"),
        (nn.Upsample(2), (0, 3, 1), "images of shape"),
    ],
)
def test_samples_that_do_not_fit_are_refused(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        layer.build(shape)


@pytest.mark.parametrize("make", [lambda: nn.Reshape(-1), lambda: nn.Reshape(2, 0.5)])
def test_bad_sizes_are_refused(make):
    with pytest.raises(InputError, match="Reshape: shape: each size must be a whole number"):
        make()


@pytest.mark.parametrize("scale", [0, 1.5, (1, 0)])
def test_a_bad_scale_is_refused(scale):
    with pytest.raises(InputError, match="Upsample: scale must be a whole number"):
        nn.Upsample(scale)
