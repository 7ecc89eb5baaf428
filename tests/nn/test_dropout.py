"""Dropout's masks: of the right rate, and the same however a batch is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import InputError


@pytest.fixture(autouse=True, scope="module")
def on_the_definitions():
    with kernels.using("reference"):
        yield


def dropped(layer, x, **mode):
    return layer.forward(x, nn.Mode(training=True, **mode))[0]


@given(
    n=st.integers(0, 9),
    features=st.integers(1, 19),
    cut=st.integers(0, 9),
    seed=st.integers(0, 99),
    step=st.integers(0, 10**6),
)
def test_the_mask_of_a_slice_is_the_slice_of_the_mask(n, features, cut, seed, step):
    cut = min(cut, n)
    layer, x = nn.Dropout(0.5), np.ones((n, features, 2), np.float32)
    whole = dropped(layer, x, seed=seed, step=step, batch_size=n)
    left = dropped(layer, x[:cut], seed=seed, step=step, first=0, batch_size=n)
    right = dropped(layer, x[cut:], seed=seed, step=step, first=cut, batch_size=n)
    np.testing.assert_array_equal(whole, np.concatenate([left, right]))


@given(rate=st.floats(0, 0.99), seed=st.integers(0, 99))
def test_the_rate_and_the_mean_are_right(rate, seed):
    y = dropped(nn.Dropout(rate), np.ones((100, 200), np.float64), seed=seed)
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs((y == 0).mean() - rate) <= 6 * deviation + 10 / y.size
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate))


@given(rate=st.floats(0, 0.99), seed=st.integers(0, 99))
def test_evaluation_is_the_identity(rate, seed):
    x = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
    y, saved = nn.Dropout(rate).forward(x, nn.EVALUATE)
    np.testing.assert_array_equal(y, x)
    assert saved is None


def test_seed_step_and_layer_each_change_the_mask():
    network = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    network.initialise((100,))
    x = np.ones((2, 100), np.float32)
    one, other = network
    masks = [
        dropped(one, x, seed=0, step=0),
        dropped(one, x, seed=1, step=0),
        dropped(one, x, seed=0, step=1),
        dropped(other, x, seed=0, step=0),
        dropped(one, x, seed=0, step=0, first=2),
    ]
    assert len({mask.tobytes() for mask in masks}) == len(masks)
    assert (masks[0][0] != masks[0][1]).any()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(InputError, match=r"at least 0 and less than 1.*" + str(rate)):
        nn.Dropout(rate)
