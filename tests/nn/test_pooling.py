"""Pooling, against windows written out one by one, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import InputError, ShapeError

TRAINING = nn.Mode(training=True)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


@st.composite
def cases(draw: st.DrawFn):
    length, size, stride = (draw(st.integers(1, most)) for most in (8, 4, 5))
    return length, size, stride, draw(st.integers(0, size // 2)), draw(st.booleans())


def windows(length, size, stride, padding, ceil_mode):
    """The (start, end) of each window, as PyTorch's documentation has them."""
    found = []
    for start in range(-padding, length + padding, stride):
        end = start + size
        uncovered = end - stride < length + padding
        if end <= length + padding or (ceil_mode and start < length and uncovered):
            found.append((start, start + size))
    return found


@given(case=cases(), include=st.booleans(), seed=st.integers(0, 99))
def test_every_window_by_itself(case, include, seed):
    """Their number, their largest numbers and their means; what is beyond the padding is not."""
    length, size, stride, padding, ceil_mode = case
    x = np.random.default_rng(seed).normal(size=(2, length, 3))
    maxima, means = [], []
    for start, end in windows(*case):
        inside = x[:, max(start, 0) : end]
        count = min(end, length + padding) - start if include else inside.shape[1]
        maxima.append(inside.max(axis=1))
        means.append(inside.sum(axis=1) / count)
    assume(maxima)
    largest = nn.MaxPool1d(size, stride, padding, ceil_mode)
    mean = nn.AvgPool1d(size, stride, padding, ceil_mode, include)
    for layer, expected in ((largest, maxima), (mean, means)):
        assert layer.build(x.shape[1:]) == (len(expected), 3)
        y, _ = layer.forward(x, nn.EVALUATE)
        np.testing.assert_allclose(y, np.stack(expected, axis=1), atol=1e-12)


def test_a_known_pooling_of_one_row_more_and_one_column():
    """3×3 by windows of 2×2: the last of them see one row, one column, or one cell."""
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    largest, _ = nn.MaxPool2d(2, ceil_mode=True).forward(x, nn.EVALUATE)
    mean, _ = nn.AvgPool2d(2, ceil_mode=True).forward(x, nn.EVALUATE)
    assert largest[0, :, :, 0].tolist() == [[4, 5], [7, 8]]
    assert mean[0, :, :, 0].tolist() == [[2, 3.5], [6.5, 8]]
    assert nn.MaxPool2d(2).build((3, 3, 1)) == (1, 1, 1)


@given(case=cases(), same=st.booleans(), n=st.integers(1, 2), seed=st.integers(0, 99))
def test_means_of_what_is_inside_leave_equal_numbers_as_they_are(case, same, n, seed):
    length, size, stride, padding, ceil_mode = case
    value = np.random.default_rng(seed).normal()
    layer = nn.AvgPool2d(size, stride, "same" if same else padding, ceil_mode, False)
    x = np.full((n, length, 5, 1), value)
    assume(same or size <= min(length, 5) + 2 * padding)
    np.testing.assert_allclose(layer.forward(x, nn.EVALUATE)[0], value)


@given(h=st.integers(1, 3), w=st.integers(1, 3), seed=st.integers(0, 99))
def test_the_largest_of_an_image(h, w, seed):
    x = np.random.default_rng(seed).integers(0, 3, (2, h, w, 3)).astype(float)
    layer = nn.GlobalMaxPool2d()
    y, saved = layer.forward(x, TRAINING)
    np.testing.assert_array_equal(y, x.max(axis=(1, 2)))
    dy = np.array([[1.0, 2, 3], [4, 5, 6]])
    dx = layer.backward(dy, saved).reshape(2, h * w, 3)
    first = x.reshape(2, h * w, 3).argmax(axis=1)
    np.testing.assert_array_equal(np.take_along_axis(dx, first[:, None], axis=1)[:, 0], dy)
    np.testing.assert_array_equal(dx.sum(axis=1), dy)


@pytest.mark.parametrize("kind", [nn.MaxPool1d, nn.AvgPool1d])
def test_what_is_no_sequence_is_refused(kind):
    with pytest.raises(ShapeError, match=r"sequences of shape \(steps, channels\), not \(3,\)"):
        kind(2).build((3,))
    with pytest.raises(ShapeError, match="window of 1×4 and cannot take an image of 1×3"):
        kind(4).build((3, 2))
    with pytest.raises(InputError, match=r"size must be a whole number, not \(2, 2\)"):
        kind((2, 2))
    with pytest.raises(InputError, match="at most half the window"):
        kind(2, padding=2)


def test_images_are_wanted_by_the_largest_of_an_image():
    with pytest.raises(ShapeError, match="GlobalMaxPool2d needs images"):
        nn.GlobalMaxPool2d().build((3, 4))
