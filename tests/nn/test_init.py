"""Initial values: their spread follows fan-in and fan-out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import InputError, ShapeError
from minidl.nn import Linear, init

VARIANCE = {
    init.xavier_uniform: lambda i, o: 2 / (i + o),
    init.xavier_normal: lambda i, o: 2 / (i + o),
    init.he_uniform: lambda i, o: 2 / i,
    init.he_normal: lambda i, o: 2 / i,
}
drawing = pytest.mark.parametrize("draw", VARIANCE, ids=lambda draw: draw.__name__)


@given(st.lists(st.integers(1, 5), max_size=2), st.integers(1, 9), st.integers(1, 9))
def test_fans_count_connections(window, inputs, outputs):
    fan_in, fan_out = init.fans((*window, inputs, outputs))
    assert fan_in * outputs == fan_out * inputs == np.prod((*window, inputs, outputs))


@drawing
@given(
    window=st.sampled_from([(), (3,), (3, 3)]),
    inputs=st.integers(1, 200),
    outputs=st.integers(1, 200),
    seed=st.integers(0, 99),
)
def test_mean_and_variance(draw, window, inputs, outputs, seed):
    shape = (*window, inputs, outputs)
    x = draw(np.random.default_rng(seed), shape)
    variance = VARIANCE[draw](*init.fans(shape))
    assert x.shape == shape
    assert abs(x.mean()) <= 6 * np.sqrt(variance / x.size)
    assert abs(x.var() / variance - 1) <= 9 * np.sqrt(2 / x.size) + 1 / x.size
    if "uniform" in draw.__name__:
        assert abs(x).max() <= np.sqrt(3 * variance)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_orthogonal_matrices_keep_lengths(rows, columns, seed):
    w = init.orthogonal(np.random.default_rng(seed), (rows, columns))
    assert w.shape == (rows, columns)
    product = w.T @ w if rows >= columns else w @ w.T
    np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=1e-12)


def test_orthogonal_matrices_are_uniform():
    """QR alone would give most of them one sign on the diagonal."""
    drawn = [init.orthogonal(np.random.default_rng(seed), (2, 2)) for seed in range(400)]
    assert abs(np.mean(drawn, axis=0)).max() < 0.15


@given(st.integers(1, 4), st.integers(1, 4))
def test_blocks_draw_each_part_of_the_last_axis(rows, columns):
    generator = np.random.default_rng(0)
    x = init.blocks(init.zeros, init.ones)(generator, (rows, 2 * columns))
    np.testing.assert_array_equal(x, np.repeat([[0, 1]] * rows, columns, axis=1))
    with pytest.raises(ShapeError, match="last axis of 3 cannot be drawn in 2 equal parts"):
        init.blocks(init.zeros, init.ones)(generator, (rows, 3))


@given(
    window=st.sampled_from([(), (3,), (2, 2)]),
    inputs=st.integers(1, 12),
    outputs=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_an_orthogonal_weight_keeps_lengths(window, inputs, outputs, seed):
    w = init.orthogonal(np.random.default_rng(seed), (*window, inputs, outputs))
    assert w.shape == (*window, inputs, outputs)
    flat = w.reshape(-1, outputs)
    few = flat.T @ flat if len(flat) >= outputs else flat @ flat.T
    np.testing.assert_allclose(few, np.eye(len(few)), atol=1e-12)


def test_no_rotation_is_preferred():
    """By symmetry each element has mean 0 and, of 3 in a row, variance 1 / 3."""
    generator = np.random.default_rng(0)
    drawn = np.array([init.orthogonal(generator, (3, 3)) for _ in range(2000)])
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose(drawn.var(axis=0), 1 / 3, atol=0.06)


@given(st.floats(0.01, 10), st.integers(0, 9))
def test_normal_numbers_of_any_deviation(deviation, seed):
    x = init.normal(deviation)(np.random.default_rng(seed), (4000,))
    assert abs(x.std() - deviation) <= 0.1 * deviation
    assert abs(x.mean()) <= 0.1 * deviation


@drawing
def test_a_vector_has_no_fans(draw):
    with pytest.raises(ShapeError, match=r"two axes or more, not one of shape \(3,\)"):
        draw(np.random.default_rng(0), (3,))


@given(st.floats(allow_nan=False), st.lists(st.integers(0, 3), max_size=3).map(tuple))
def test_constants(value, shape):
    generator = np.random.default_rng(0)
    for draw, expected in ((init.zeros, 0), (init.ones, 1), (init.constant(value), value)):
        x = pickle.loads(pickle.dumps(draw))(generator, shape)
        assert x.shape == shape
        assert (x == expected).all()


def test_an_initialiser_that_draws_another_shape_is_refused():
    layer = Linear(3, weight_init=lambda generator, shape: np.zeros((1, 1)))
    with pytest.raises(InputError, match=r"weight drew shape \(1, 1\), not \(2, 3\)"):
        layer.initialise((2,))
