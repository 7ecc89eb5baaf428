"""Looking up rows: a product with one-hot vectors, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
from finite_differences import assert_gradient, randomise
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import InputError

some = st.integers(1, 4)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


@given(
    n=st.integers(0, 5), middle=st.lists(some, max_size=2), words=some, features=some,
    dtype=st.sampled_from([np.uint8, np.int32, np.int64]), seed=st.integers(0, 99),
)  # fmt: skip
def test_it_is_a_product_with_one_hot_vectors_and_its_gradient_adds_up(
    n, middle, words, features, dtype, seed
):
    generator = np.random.default_rng(seed)
    x = generator.integers(0, words, (n, *middle)).astype(dtype)
    layer = nn.Embedding(words, features)
    buffer = layer.initialise(x.shape[1:], dtype=np.float64)
    randomise(buffer, generator)
    before = layer.weight.grad.copy()
    y, saved = layer.forward(x, nn.Mode(training=True))
    np.testing.assert_allclose(y, np.eye(words)[x] @ layer.weight.value)
    dy = generator.normal(size=y.shape)
    dx = layer.backward(dy, saved)
    assert dx.shape == x.shape
    assert not dx.any()

    def value():
        return float((layer.forward(x, nn.EVALUATE)[0] * dy).sum())

    assert_gradient(value, layer.weight.value, layer.weight.grad - before, "w", generator)


def test_initial_vectors_are_standard_normal():
    layer = nn.Embedding(100, 30)
    layer.initialise((2,))
    assert abs(layer.weight.value.mean()) < 0.1
    assert abs(layer.weight.value.std() - 1) < 0.1


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([[0.0, 1.0]]), "looks up whole numbers and cannot take float64"),
        (np.array([[True]]), "cannot take bool"),
        (np.array([[0, 3]]), "from 0 to 2; they run from 0 to 3"),
        (np.array([[-1, 2]]), "from 0 to 2; they run from -1 to 2"),
    ],
)
def test_what_cannot_be_looked_up_is_refused(x, message):
    layer = nn.Embedding(3, 2)
    layer.initialise((2,))
    with pytest.raises(InputError, match=message):
        layer.forward(x, nn.EVALUATE)


@pytest.mark.parametrize(("words", "features"), [(0, 1), (1, 0), (2.5, 1)])
def test_bad_sizes_are_refused(words, features):
    with pytest.raises(InputError, match="must be a whole number of at least 1"):
        nn.Embedding(words, features)
