"""Padding "same": the output's size, and the explicit zeros that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import InputError, ShapeError

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
images = st.tuples(st.integers(0, 2), st.integers(1, 7), st.integers(1, 7), st.integers(1, 2))
seeds = st.integers(0, 99)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


def output(layer, x, weights=None):
    buffer = layer.initialise(x.shape[1:], dtype=np.float64)
    if weights is not None:
        buffer.values[...] = weights
    y, _ = layer.forward(x, nn.Mode(training=True))
    assert y.shape[1:] == layer.build(x.shape[1:])
    return y, buffer.values


def surrounded(x, spans, stride, value):
    """With explicit cells: half of what is missing in front, the rest behind."""
    counts = [-(-length // step) for length, step in zip(x.shape[1:3], stride, strict=True)]
    ends = [
        max(length, (count - 1) * step + span)
        for length, count, step, span in zip(x.shape[1:3], counts, stride, spans, strict=True)
    ]
    missing = [end - length for end, length in zip(ends, x.shape[1:3], strict=True)]
    each_axis = [(m // 2, m - m // 2) for m in missing]
    return np.pad(x, [(0, 0), *each_axis, (0, 0)], constant_values=value), counts


@given(shape=images, size=pairs, stride=pairs, dilation=pairs, seed=seeds)
def test_a_convolution_is_one_without_padding_of_the_padded_image(
    shape, size, stride, dilation, seed
):
    x = np.random.default_rng(seed).normal(size=shape)
    y, weights = output(nn.Conv2d(2, size, stride, "same", dilation), x)
    spans = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    padded, counts = surrounded(x, spans, stride, 0)
    assert list(y.shape[1:3]) == counts
    expected, _ = output(nn.Conv2d(2, size, stride, 0, dilation), padded, weights)
    np.testing.assert_allclose(y, expected, atol=1e-12)


@pytest.mark.parametrize(("kind", "value"), [(nn.MaxPool2d, -np.inf), (nn.AvgPool2d, 0)])
@given(shape=images, size=pairs, stride=pairs, seed=seeds)
def test_pooling_is_one_without_padding_of_the_padded_image(kind, value, shape, size, stride, seed):
    x = np.random.default_rng(seed).normal(size=shape)
    y, _ = output(kind(size, stride, "same"), x)
    padded, counts = surrounded(x, size, stride, value)
    assert list(y.shape[1:3]) == counts
    np.testing.assert_allclose(y, output(kind(size, stride), padded)[0], atol=1e-12)


@given(shape=images, size=st.sampled_from([1, 3, 5]), seed=seeds)
def test_for_odd_windows_and_no_stride_it_is_half_the_window(shape, size, seed):
    x = np.random.default_rng(seed).normal(size=shape)
    y, weights = output(nn.Conv2d(2, size, padding="same"), x)
    assert y.shape[1:3] == x.shape[1:3]
    np.testing.assert_array_equal(y, output(nn.Conv2d(2, size, padding=size // 2), x, weights)[0])


@pytest.mark.parametrize("make", [nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d])
@pytest.mark.parametrize("padding", ["valid", "SAME", ""])
def test_other_words_are_refused(make, padding):
    with pytest.raises(
        InputError, match=r"padding must be a whole number or \(a whole .*\) or 'same', not '"
    ):
        make(2, 2, padding=padding)


@pytest.mark.parametrize("make", [nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d])
@pytest.mark.parametrize("shape", [(), (3,), (4, 0, 1)])
def test_what_is_no_image_is_refused(make, shape):
    with pytest.raises(ShapeError, match=r"images of shape \(height, width, channels\)"):
        make(2, 2, padding="same").build(shape)
