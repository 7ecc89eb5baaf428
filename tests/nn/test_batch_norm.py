"""Batch norm: what comes out is normal, what is remembered is the mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import InputError
from minidl.plans.instructions import split


@pytest.fixture(autouse=True, scope="module")
def on_the_definitions():
    with kernels.using("reference"):
        yield


def train_on(layer, x, slices):
    """Forward and backward over a batch in slices; the outputs, joined."""
    outputs = []
    for part in slices:
        mode = nn.Mode(training=True, first=part.start, batch_size=max(1, len(x)))
        y, saved = layer.forward(x[part], mode)
        layer.backward(np.zeros_like(y), saved)
        outputs.append(y)
    return np.concatenate(outputs)


def made(shape, **settings):
    layer = nn.BatchNorm(**settings)
    return layer, layer.initialise(shape, dtype=np.float64)


@given(n=st.integers(2, 9), middle=st.integers(1, 3), c=st.integers(1, 4), seed=st.integers(0, 99))
def test_outputs_have_mean_0_and_variance_1(n, middle, c, seed):
    x = np.random.default_rng(seed).normal(3, 5, size=(n, middle, c))
    layer, _ = made((middle, c), eps=1e-12)
    y = train_on(layer, x, split(n, 1))
    np.testing.assert_allclose(y.mean(axis=(0, 1)), 0, atol=1e-9)
    np.testing.assert_allclose(y.var(axis=(0, 1)), 1, rtol=1e-5)


@given(n=st.integers(1, 9), parts=st.integers(1, 12), seed=st.integers(0, 99))
def test_slices_gather_the_mean_of_the_whole(n, parts, seed):
    x = np.random.default_rng(seed).normal(3, 5, size=(n, 2, 3))
    layer, buffer = made((2, 3), momentum=1.0)
    train_on(layer, x, split(n, parts))
    np.testing.assert_allclose(layer.mean.grad, x.mean(axis=(0, 1)))
    buffer.follow_means()
    np.testing.assert_allclose(layer.mean.value, x.mean(axis=(0, 1)))


@given(momentum=st.floats(0, 1), steps=st.integers(1, 4), seed=st.integers(0, 99))
def test_running_values_follow_mean_and_unbiased_variance(momentum, steps, seed):
    generator = np.random.default_rng(seed)
    layer, buffer = made((3,), momentum=momentum)
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(steps):
        x = generator.normal(2, 3, size=(5, 3))
        train_on(layer, x, split(5, 1))
        buffer.follow_means()
        buffer.grads[...] = 0
        mean = (1 - momentum) * mean + momentum * x.mean(axis=0)
        variance = (1 - momentum) * variance + momentum * x.var(axis=0, ddof=1)
    np.testing.assert_allclose(layer.mean.value, mean)
    np.testing.assert_allclose(layer.variance.value, variance)
    x = generator.normal(size=(4, 3))
    y, saved = layer.forward(x, nn.EVALUATE)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + layer.eps))
    assert saved is None


@pytest.mark.parametrize(
    "network",
    [
        lambda a, b, c: nn.Sequential(a, nn.Tanh(), b, nn.Tanh(), c),
        lambda a, b, c: nn.Sequential(nn.Sequential(a, nn.Tanh()), b, nn.Residual(c)),
        lambda a, b, c: nn.Concat(a, nn.Sequential(nn.Tanh(), b), nn.Sequential(nn.ReLU(), c)),
    ],
)
@given(seed=st.integers(0, 99))
def test_running_values_of_a_layer_in_several_places_follow_the_mean_of_them(network, seed):
    """They followed the sum: in evaluation everything was shifted, and scaled too little."""
    x = np.random.default_rng(seed).normal(3, 5, size=(6, 3))
    shared, apart = nn.BatchNorm(), [nn.BatchNorm() for _ in range(3)]
    for layers in ([shared] * 3, apart):
        model = network(*layers)
        model.initialise((3,), dtype=np.float64)
        train_on(model, x, split(len(x), 2))
    for name in ("mean", "variance"):
        expected = np.mean([getattr(each, name).grad for each in apart], axis=0)
        np.testing.assert_allclose(getattr(shared, name).grad, expected, atol=1e-12)


def test_running_values_in_a_block_that_stands_in_two_places():
    x = np.random.default_rng(0).normal(3, 5, size=(6, 3))
    norm = nn.BatchNorm()
    block = nn.Sequential(norm)
    model = nn.Sequential(block, block)
    model.initialise((3,), dtype=np.float64)
    train_on(model, x, split(len(x), 1))
    np.testing.assert_allclose(norm.mean.grad, x.mean(axis=0) / 2)  # what comes second has mean 0


def test_a_forward_pass_that_is_repeated_counts_once():
    layer, _ = made((3,))
    x = np.random.default_rng(0).normal(size=(5, 3))
    mode = nn.Mode(training=True, batch_size=5)
    layer.forward(x, mode)
    y, saved = layer.forward(x, mode)
    layer.backward(np.zeros_like(y), saved)
    np.testing.assert_allclose(layer.mean.grad, x.mean(axis=0))


@pytest.mark.parametrize("n", [0, 1])
def test_batches_of_none_and_one_are_finite(n):
    layer, buffer = made((3,))
    y = train_on(layer, np.ones((n, 3)), [slice(0, n)])
    assert y.shape == (n, 3)
    assert np.isfinite(y).all()
    assert np.isfinite(buffer.grads).all()


@pytest.mark.parametrize("settings", [{"momentum": 1.1}, {"momentum": -0.1}, {"eps": 0.0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"BatchNorm: .*not"):
        nn.BatchNorm(**settings)
