"""Activations far out, at ties and at the edges of what is allowed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import nn
from minidl.errors import InputError, ShapeError
from minidl.nn.gelu import erf

ALL = {
    "ReLU": nn.ReLU(),
    "LeakyReLU": nn.LeakyReLU(),
    "ELU": nn.ELU(),
    "GELU": nn.GELU(),
    "Hardswish": nn.Hardswish(),
    "Mish": nn.Mish(),
    "SiLU": nn.SiLU(),
    "Softplus": nn.Softplus(),
    "Softsign": nn.Softsign(),
    "Tanh": nn.Tanh(),
    "Sigmoid": nn.Sigmoid(),
    "Softmax": nn.Softmax(),
}
LIKE_RELU = ["ReLU", "ELU", "GELU", "Hardswish", "Mish", "SiLU", "Softplus"]
dtypes = st.sampled_from([np.float32, np.float64])


def run(name, x, dy=1.0):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, saved = ALL[name].forward(x, nn.Mode(training=True))
        dx = ALL[name].backward(np.full(x.shape, dy, x.dtype), saved)
    assert y.dtype == dx.dtype == x.dtype
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    return y, dx


@pytest.mark.parametrize("name", ALL)
@given(dtype=dtypes, seed=st.integers(0, 99), size=st.sampled_from([1e2, 1e4, 1e30]))
def test_far_out_all_is_finite_and_keeps_its_type(name, dtype, seed, size):
    x = size * np.random.default_rng(seed).choice([-1, -0.3, 0, 0.5, 1], (6, 4))
    run(name, x.astype(dtype))


@pytest.mark.parametrize("name", ALL)
@given(n=st.integers(1, 4), c=st.integers(1, 4), value=st.floats(-1e4, 1e4), dtype=dtypes)
def test_equal_numbers_are_treated_alike(name, n, c, value, dtype):
    y, dx = run(name, np.full((n, c), value, dtype))
    np.testing.assert_allclose(y, y[0, 0], rtol=1e-6)
    np.testing.assert_allclose(dx, dx[0, 0], rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
@given(n=st.integers(0, 3), c=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_sample_alone_is_what_it_is_among_others_and_evaluation_keeps_nothing(name, n, c, seed):
    x = 3 * np.random.default_rng(seed).normal(size=(n, c))
    y, saved = ALL[name].forward(x, nn.EVALUATE)
    assert saved is None
    assert y.shape == x.shape
    for i in range(n):
        np.testing.assert_allclose(ALL[name].forward(x[i : i + 1], nn.EVALUATE)[0][0], y[i])


@pytest.mark.parametrize("name", LIKE_RELU)
def test_far_from_zero_they_are_the_rectifier(name):
    x = np.array([[1e4, 50.0, -1e4, -50.0]])
    y, dx = run(name, x)
    if name == "ELU":
        y[y < 0] += 1
    np.testing.assert_allclose(y, np.maximum(x, 0), atol=1e-12)
    np.testing.assert_allclose(dx, x > 0, atol=1e-12)


@given(st.lists(st.floats(-8, 8) | st.floats(allow_nan=False), max_size=8))
def test_the_error_function_is_that_of_the_c_library(values):
    """To a few units of the last digit; below `tiny`, floats have fewer digits than that."""
    x = np.array(values)
    tiny = np.finfo(x.dtype).tiny
    np.testing.assert_allclose(erf(x), [math.erf(v) for v in values], rtol=4e-15, atol=tiny)
    with np.errstate(over="ignore"):
        single = x.astype(np.float32)
    assert erf(single).dtype == np.float32
    tiny = np.finfo(np.float32).tiny
    np.testing.assert_allclose(erf(single), [math.erf(v) for v in single], rtol=2e-6, atol=tiny)


@given(n=st.integers(0, 3), c=st.integers(1, 6), shift=st.floats(-1e4, 1e4), seed=st.integers(0, 9))
def test_a_softmax_adds_up_to_one_and_a_common_shift_changes_nothing(n, c, shift, seed):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 2, c))
    y, saved = nn.Softmax().forward(x, nn.Mode(training=True))
    np.testing.assert_allclose(y.sum(axis=-1), 1)
    np.testing.assert_allclose(nn.Softmax().forward(x + shift, nn.EVALUATE)[0], y, atol=1e-10)
    dx = nn.Softmax().backward(generator.normal(size=x.shape), saved)
    np.testing.assert_allclose(dx.sum(axis=-1), 0, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_a_softmax_of_nothing_is_refused(shape):
    with pytest.raises(ShapeError, match="at least one number on the last axis"):
        nn.Softmax().build(shape)


@pytest.mark.parametrize("alpha", [0, -1, math.inf, math.nan])
def test_a_bad_alpha_is_refused(alpha):
    with pytest.raises(InputError, match="alpha must be positive and finite"):
        nn.ELU(alpha)


@pytest.mark.parametrize("slope", [math.inf, math.nan])
def test_a_bad_first_slope_is_refused(slope):
    with pytest.raises(InputError, match="PReLU: slope must be finite"):
        nn.PReLU(slope=slope)


@given(n=st.integers(1, 3), c=st.integers(1, 3), slope=st.floats(-1, 1), per_channel=st.booleans())
def test_a_prelu_begins_as_a_leaky_relu(n, c, slope, per_channel):
    layer, x = nn.PReLU(per_channel, slope), np.random.default_rng(n).normal(size=(n, 2, c))
    layer.initialise(x.shape[1:], dtype=np.float64)
    assert layer.weight.shape == ((c,) if per_channel else (1,))
    expected, _ = nn.LeakyReLU(slope).forward(x, nn.EVALUATE)
    np.testing.assert_allclose(layer.forward(x, nn.EVALUATE)[0], expected)


def test_slopes_of_channels_need_channels():
    with pytest.raises(ShapeError, match="at least one channel"):
        nn.PReLU(per_channel=True).build(())
