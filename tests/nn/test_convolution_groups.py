"""Convolutions in groups and over sequences are what plain ones make of the parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.analysis import summary
from minidl.errors import InputError, ShapeError

some = st.integers(1, 3)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


def run(layer, x, weight=None):
    """A layer's output, with these or with its own weights."""
    layer.initialise(x.shape[1:], dtype=np.float64)
    if weight is not None:
        layer.weight.value[...] = weight
    return layer.forward(x, nn.EVALUATE)[0]


@given(n=st.integers(0, 2), side=st.integers(3, 6), groups=some, c=some, o=some, stride=some,
       seed=st.integers(0, 99))  # fmt: skip
def test_groups_are_convolutions_side_by_side(n, side, groups, c, o, stride, seed):
    x = np.random.default_rng(seed).normal(size=(n, side, side, groups * c))
    layer = nn.Conv2d(groups * o, 3, stride, bias=False, groups=groups)
    whole = run(layer, x)
    parts = zip(np.split(x, groups, -1), np.split(layer.weight.value, groups, -1), strict=True)
    each = [run(nn.Conv2d(o, 3, stride, bias=False), part, w) for part, w in parts]
    np.testing.assert_allclose(whole, np.concatenate(each, axis=-1), atol=1e-12)


@given(n=st.integers(0, 2), steps=st.integers(1, 6), c=some, size=some, dilation=some)
def test_a_filter_over_time_that_picks_one_step_delays_the_sequence(n, steps, c, size, dilation):
    x = np.random.default_rng(0).normal(size=(n, steps, c))
    picks_first = np.zeros((size, 1, c))
    picks_first[0] = 1
    delay = dilation * (size - 1)
    layer = nn.Conv1d(c, size, padding=delay, dilation=dilation, bias=False, groups=c)
    y = run(layer, x, picks_first)
    assert y.shape == (n, steps + delay, c)
    np.testing.assert_array_equal(y[:, delay:], x)
    np.testing.assert_array_equal(y[:, :delay], 0)


def test_mobilenets_factors():
    """Depthwise and 1×1 instead of 3×3: 1/O + 1/9 of the products (Howard et al. 2017, 3.1)."""
    shape, filters = (14, 14, 32), 64
    plain = summary(nn.Sequential(nn.Conv2d(filters, 3, padding=1, bias=False)), shape)
    separable = nn.Sequential(
        nn.Conv2d(32, 3, padding=1, bias=False, groups=32), nn.Conv2d(filters, 1, bias=False)
    )
    factored = summary(separable, shape)
    assert factored.multiply_adds / plain.multiply_adds == pytest.approx(1 / filters + 1 / 9)
    assert factored.parameters == 9 * 32 + 32 * filters
    assert factored.rows[-1].fields == plain.rows[-1].fields


def test_a_sequence_costs_a_window_at_each_step():
    counted = summary(nn.Sequential(nn.Conv1d(6, 5, 2, groups=3)), (21, 9))
    assert counted.output_shape == (9, 6)
    assert counted.multiply_adds == 9 * 5 * 3 * 6
    assert counted.parameters == 5 * 3 * 6 + 6
    assert counted.rows[-1].fields is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(4, 3, groups=3), "Conv2d: out_channels must be a multiple of the 3"),
        (lambda: nn.Conv1d(4, 3, groups=3), "Conv1d: out_channels must be a multiple of the 3"),
        (lambda: nn.Conv2d(4, 3, groups=0), "Conv2d: groups must be a whole number"),
        (lambda: nn.Conv1d(4, (3, 3)), "Conv1d: kernel_size must be a whole number"),
        (lambda: nn.Conv1d(4, 3, 0), "Conv1d: stride must be a whole number of at least 1"),
        (lambda: nn.Conv1d(4, 3, padding=-1), "Conv1d: padding must be a whole number"),
        (
            lambda: nn.Conv1d(4, 3, padding="valid"),
            "Conv1d: padding must be a whole number or 'same', not 'valid'",
        ),
        (lambda: nn.Conv1d(4, 3, dilation=0.5), "Conv1d: dilation must be a whole number"),
        (lambda: nn.Conv1d(0, 3), "Conv1d: out_channels must be a whole number"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Conv2d(4, 1, groups=2), (3, 3, 5), r"2 groups and cannot share the 5 channels"),
        (nn.Conv1d(4, 1, groups=2), (3, 5), r"2 groups and cannot share the 5 channels"),
        (nn.Conv1d(4, 1), (3, 3, 5), r"\(steps, channels\), not \(3, 3, 5\)"),
        (nn.Conv1d(4, 1), (0, 5), r"sequences of shape"),
        (nn.Conv1d(4, 5), (4, 5), "a window of 1×5 and cannot take an image of 1×4"),
        (nn.Conv2d(4, 5), (4, 9, 1), "a window of 5×5 and cannot take an image of 4×9"),
    ],
)
def test_samples_that_do_not_fit_are_refused(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        layer.build(shape)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_batch_of_nothing_has_gradients_of_nothing(groups):
    layer = nn.Conv2d(8, 3, 2, 1, groups=groups)
    buffer = layer.initialise((5, 6, 4))
    y, saved = layer.forward(np.zeros((0, 5, 6, 4), np.float32), nn.Mode(training=True))
    assert y.shape == (0, 3, 3, 8)
    assert layer.backward(y, saved).shape == (0, 5, 6, 4)
    assert not buffer.grads.any()


def test_channels_that_were_not_built_for_are_refused():
    layer = nn.Conv2d(4, 1, groups=2)
    layer.initialise((3, 3, 4))
    with pytest.raises(ShapeError, match="built for samples with 4 on the last axis"):
        layer.forward(np.zeros((1, 3, 3, 2), np.float32), nn.EVALUATE)
