"""Sequential, Residual and Concat are what their parts are, composed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import InputError, ShapeError


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


@given(n=st.integers(0, 3), widths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
       seed=st.integers(0, 99))  # fmt: skip
def test_concat_is_its_branches_side_by_side(n, widths, seed):
    generator = np.random.default_rng(seed)
    x, mode = generator.normal(size=(n, 2)), nn.Mode(training=True, batch_size=max(1, n))
    layer = nn.Concat(*map(nn.Linear, widths))
    buffer = layer.initialise((2,), seed=seed, dtype=np.float64)
    assert [*buffer.parameters] == [
        f"{place}.{name}" for place in range(len(widths)) for name in ("weight", "bias")
    ]
    y, saved = layer.forward(x, mode)
    one_matrix = np.concatenate([branch.weight.value for branch in layer.branches], axis=1)
    np.testing.assert_allclose(y, x @ one_matrix, atol=1e-12)
    dy = generator.normal(size=y.shape)
    np.testing.assert_allclose(layer.backward(dy, saved), dy @ one_matrix.T, atol=1e-12)
    assert layer.forward(x, nn.EVALUATE)[1] is None


def test_concat_refuses_what_cannot_be_joined():
    with pytest.raises(InputError, match="at least one layer"):
        nn.Concat()
    with pytest.raises(InputError, match="argument 1 must be a layer, not 3"):
        nn.Concat(nn.ReLU(), 3)
    with pytest.raises(ShapeError, match="equal but for the last axis"):
        nn.Concat(nn.Conv2d(2, 1), nn.Conv2d(2, 3)).build((5, 5, 1))
    with pytest.raises(ShapeError, match="equal but for the last axis"):
        nn.Concat(nn.ReLU()).build(())
    with pytest.raises(ShapeError, match="GlobalAvgPool2d needs images"):
        nn.GlobalAvgPool2d().build((3, 4))


@given(h=st.integers(1, 6), w=st.integers(1, 6), stride=st.integers(1, 4), more=st.integers(0, 2))
def test_pad_channels_is_a_convolution_with_the_identity(h, w, stride, more):
    pad, conv = nn.PadChannels(2 + more, stride), nn.Conv2d(2 + more, 1, stride)
    assert pad.build((h, w, 2)) == conv.build((h, w, 2))
    conv.initialise((h, w, 2), dtype=np.float64)
    conv.weight.value[...] = np.eye(2, 2 + more)
    x = np.arange(4.0 * h * w).reshape(2, h, w, 2)
    y, _ = pad.forward(x, nn.EVALUATE)
    np.testing.assert_array_equal(y, conv.forward(x, nn.EVALUATE)[0])
    with pytest.raises(ShapeError, match="at most 1 channels"):
        nn.PadChannels(1).build((h, w, 2))


def test_an_empty_sequential_is_the_identity():
    x = np.arange(6.0).reshape(2, 3)
    network = nn.Sequential()
    assert len(network.initialise((3,))) == 0
    y, saved = network.forward(x, nn.Mode(training=True, batch_size=2))
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(network.backward(x, saved), x)
