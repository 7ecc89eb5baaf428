"""Normalisation within a sample: what it makes of any numbers, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import nn
from minidl.errors import InputError, ShapeError

TRAINING = nn.Mode(training=True)
some = st.integers(1, 4)
dtypes = st.sampled_from([np.float32, np.float64])
LAYERS = {"LayerNorm": nn.LayerNorm, "GroupNorm": lambda: nn.GroupNorm(2)}


def built(layer, x, seed=None):
    buffer = layer.initialise(x.shape[1:], dtype=x.dtype)
    if seed is not None:
        buffer.values[...] = np.random.default_rng(seed).normal(size=len(buffer))
    return layer


@given(n=some, t=some, d=st.integers(2, 6), size=st.floats(0.1, 1e4), seed=st.integers(0, 99))
def test_every_position_has_mean_zero_and_variance_one(n, t, d, size, seed):
    x = size * np.random.default_rng(seed).normal(3, 1, (n, t, d))
    y, _ = built(nn.LayerNorm(eps=1e-12), x).forward(x, TRAINING)
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-6)
    variance = x.var(axis=-1)
    np.testing.assert_allclose(y.var(axis=-1), variance / (variance + 1e-12), rtol=1e-5)


@given(n=some, h=st.integers(2, 4), groups=some, each=some, seed=st.integers(0, 99))
def test_every_group_has_mean_zero_and_variance_one(n, h, groups, each, seed):
    x = np.random.default_rng(seed).normal(3, 2, (n, h, 2, groups * each))
    y, _ = built(nn.GroupNorm(groups, eps=1e-12), x).forward(x, TRAINING)
    for group in np.split(y, groups, axis=-1):
        np.testing.assert_allclose(group.mean(axis=(1, 2, 3)), 0, atol=1e-9)
        np.testing.assert_allclose(group.var(axis=(1, 2, 3)), 1, rtol=1e-6)


@given(n=some, d=some, seed=st.integers(0, 99))
def test_one_group_of_vectors_is_layer_normalisation(n, d, seed):
    x = np.random.default_rng(seed).normal(size=(n, d))
    one, other = built(nn.GroupNorm(1), x, seed), built(nn.LayerNorm(), x, seed)
    np.testing.assert_allclose(
        one.forward(x, nn.EVALUATE)[0], other.forward(x, nn.EVALUATE)[0], atol=1e-12
    )


@pytest.mark.parametrize("name", LAYERS)
@given(n=some, value=st.floats(-1e4, 1e4, width=32), dtype=dtypes, seed=st.integers(0, 99))
def test_equal_numbers_become_the_shift(name, n, value, dtype, seed):
    x = np.full((n, 3, 4), value, dtype)
    layer = built(LAYERS[name](), x, seed)
    y, saved = layer.forward(x, TRAINING)
    slack = 0.2 if dtype == np.float32 else 1e-7  # rounding of the mean, over sqrt(eps)
    assert (abs(y - layer.beta.value) <= slack * np.maximum(1, abs(layer.gamma.value))).all()
    assert np.isfinite(layer.backward(np.ones_like(y), saved)).all()


@pytest.mark.parametrize("name", LAYERS)
@given(dtype=dtypes, seed=st.integers(0, 99))
def test_huge_numbers_are_safe_and_keep_their_type(name, dtype, seed):
    x = (1e4 * np.random.default_rng(seed).choice([-1, 0, 1], (3, 2, 4))).astype(dtype)
    layer = built(LAYERS[name](), x)
    with np.errstate(all="raise", under="ignore"):
        y, saved = layer.forward(x, TRAINING)
        dx = layer.backward(np.ones_like(y), saved)
    assert y.dtype == dx.dtype == dtype
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("name", LAYERS)
@given(n=st.integers(0, 4), seed=st.integers(0, 99))
def test_samples_do_not_see_each_other_and_evaluation_is_the_same(name, n, seed):
    x = np.random.default_rng(seed).normal(size=(n, 3, 4))
    layer = built(LAYERS[name](), x, seed)
    y, _ = layer.forward(x, TRAINING)
    alone = [layer.forward(x[i : i + 1], nn.EVALUATE)[0][0] for i in range(n)]
    np.testing.assert_allclose(np.array(alone).reshape(y.shape), y, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.LayerNorm(), (), "at least one feature"),
        (nn.LayerNorm(), (3, 0), "at least one feature"),
        (nn.GroupNorm(2), (3,), r"2 equal groups .* \(3,\)"),
        (nn.GroupNorm(1), (0, 2), r"1 equal groups .* \(0, 2\)"),
        (nn.GroupNorm(1), (), "1 equal groups"),
    ],
)
def test_samples_that_do_not_fit_are_refused(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        layer.build(shape)


@pytest.mark.parametrize("eps", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("make", [nn.LayerNorm, lambda eps: nn.GroupNorm(1, eps)])
def test_a_bad_eps_is_refused(make, eps):
    with pytest.raises(InputError, match="eps must be positive and finite"):
        make(eps)


@pytest.mark.parametrize("groups", [0, -1, 1.5])
def test_bad_groups_are_refused(groups):
    with pytest.raises(InputError, match="GroupNorm: groups must be a whole number"):
        nn.GroupNorm(groups)
