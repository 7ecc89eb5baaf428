"""Sequential and Residual are what their parts are, composed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn


@pytest.fixture(autouse=True, scope="module")
def on_the_definitions():
    with kernels.using("reference"):
        yield


@given(widths=st.lists(st.integers(1, 4), max_size=5), n=st.integers(0, 3), seed=st.integers(0, 99))
def test_sequential_is_composition_and_cuts_anywhere(widths, n, seed):
    generator = np.random.default_rng(seed)
    layers = [layer for w in widths for layer in (nn.Linear(w), nn.Tanh(), nn.Dropout(0.2))]
    network = nn.Sequential(*layers)
    buffer = network.initialise((2,), seed=seed, dtype=np.float64)
    mode = nn.Mode(training=True, seed=seed, batch_size=max(1, n))
    x = generator.normal(size=(n, 2))
    y, saved = network.forward(x, mode)
    dy = generator.normal(size=y.shape)
    dx = network.backward(dy, saved)
    grads = buffer.grads.copy()

    buffer.grads[...] = 0
    cut = int(generator.integers(len(layers) + 1))
    first, second = network[:cut], network[cut:]
    between, saved_first = first.forward(x, mode)
    end, saved_second = second.forward(between, mode)
    np.testing.assert_array_equal(end, y)
    np.testing.assert_array_equal(
        first.backward(second.backward(dy, saved_second), saved_first), dx
    )
    np.testing.assert_array_equal(buffer.grads, grads)
    assert [*first.parameters(), *second.parameters()] == list(network.parameters())

    z = x
    for layer in layers:
        z, _ = layer.forward(z, mode)
    np.testing.assert_array_equal(z, y)


@given(n=st.integers(0, 3), width=st.integers(1, 4), seed=st.integers(0, 99))
def test_residual_is_the_sum_of_its_ways(n, width, seed):
    generator = np.random.default_rng(seed)
    x, mode = generator.normal(size=(n, width)), nn.Mode(training=True, batch_size=max(1, n))
    for shortcut in (None, nn.Linear(width), nn.Sequential()):
        layer = nn.Residual(nn.Linear(width), shortcut)
        layer.initialise((width,), seed=seed, dtype=np.float64)
        (through, kept) = layer.body.forward(x, mode)
        around, _ = layer.shortcut.forward(x, mode) if shortcut else (x, None)
        y, saved = layer.forward(x, mode)
        np.testing.assert_array_equal(y, through + around)
        assert layer.forward(x, nn.EVALUATE)[1] is None
        if not shortcut:
            dy = generator.normal(size=y.shape)
            np.testing.assert_array_equal(
                layer.backward(dy, saved), layer.body.backward(dy, kept) + dy
            )


def test_an_empty_sequential_is_the_identity():
    x = np.arange(6.0).reshape(2, 3)
    network = nn.Sequential()
    assert len(network.initialise((3,))) == 0
    y, saved = network.forward(x, nn.Mode(training=True, batch_size=2))
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(network.backward(x, saved), x)
