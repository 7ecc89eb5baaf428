"""Every public layer: the definition, the kernels, PyTorch, differences and the strategies."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from finite_differences import check_layer, randomise
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_rows import LAYERS
from rows import STRATEGIES, OneLayer, Row
from trained import Layout, around, case_of, check_equal, layouts

from minidl import kernels, nn
from minidl.errors import ShapeError

each_row = pytest.mark.parametrize("row", LAYERS, ids=lambda row: row.title)
seeds = st.integers(0, 999)


def computed(one: OneLayer, dtype, seed, home=None):
    """Output, upstream gradient, input gradient and buffer in training; `home` is CuPy."""
    layer, n = copy.deepcopy(one.layer), len(one.x)
    generator = np.random.default_rng(seed)
    buffer = layer.initialise(one.x.shape[1:], dtype=np.float64)
    randomise(buffer, generator)
    values = buffer.values
    values[buffer.trainable :] = 1
    buffer = layer.initialise(one.x.shape[1:], dtype=dtype)
    buffer.values[...] = values
    x = one.x if layer.takes_integers else one.x.astype(dtype)
    mode = nn.Mode(training=True, seed=3, step=5, batch_size=n)
    move = home.asarray if home else lambda array: array
    if home:
        buffer.bind(move(buffer.values), move(buffer.grads))
    y, saved = layer.forward(move(x), mode)
    dy = generator.normal(size=y.shape).astype(dtype)
    dx = layer.backward(move(dy), saved)
    assert home is None or all(isinstance(array, home.ndarray) for array in (y, dx))
    evaluated, kept = layer.forward(move(x), nn.EVALUATE)
    assert kept is None
    found = (y, dx, evaluated, buffer.grads)
    return layer, dy, tuple(array.get() if home else array for array in found)


def assert_all_close(found, expected, dtype):
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        scale = max(1.0, float(abs(other).max(initial=0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


@each_row
@settings(max_examples=15)
@given(data=st.data(), cut=st.integers(0, 3), seed=seeds)
def test_reference(row: Row, data, cut, seed):
    """Shapes and types are as promised, float32 is near float64, slices add up to the batch."""
    one = data.draw(row.drawn)
    with kernels.using("reference"):
        layer, dy, expected = computed(one, np.float64, seed)
        near = computed(one, np.float32, seed)[2]
        assert {array.dtype for array in near} == {np.dtype(np.float32)}
        assert_all_close(near, expected, np.float32)
        y, dx, evaluated, grads = expected
        assert dx.shape == one.x.shape
        assert evaluated.shape == (len(one.x), *layer.build(one.x.shape[1:]))
        if row.groups:
            return
        buffer = layer.initialise(one.x.shape[1:], dtype=np.float64)
        randomise(buffer, np.random.default_rng(seed))
        buffer.grads[...] = 0
        for part in (slice(0, cut), slice(cut, None)):
            mode = nn.Mode(training=True, seed=3, step=5, first=part.start, batch_size=len(one.x))
            piece, saved = layer.forward(one.x[part], mode)
            np.testing.assert_allclose(piece, y[part], atol=1e-12)
            np.testing.assert_allclose(layer.backward(dy[part], saved), dx[part], atol=1e-12)
        np.testing.assert_allclose(buffer.grads, grads, atol=1e-12)


@each_row
@settings(max_examples=5)
@given(data=st.data(), seed=seeds)
def test_frozen(row: Row, data, seed):
    """No gradient is computed for what is frozen, and the gradient passes through as before."""
    one = data.draw(row.drawn)
    layer, dy, (y, dx, evaluated, grads) = computed(one, np.float64, seed)
    layer.freeze()
    parameters = list(layer.parameters().values())
    assert layer.frozen and not layer.learns and not any(p.trainable for p in parameters)
    for parameter in parameters:
        parameter.grad[...] = 0
    mode = nn.Mode(training=True, seed=3, step=5, batch_size=len(one.x))
    again, saved = layer.forward(one.x, mode)
    through = layer.backward(dy, saved)
    assert not any(parameter.grad.any() for parameter in parameters)
    if any(isinstance(inner, nn.BatchNorm) for _, inner in layer.walk()):
        np.testing.assert_array_equal(again, evaluated)  # by its running values
    else:
        np.testing.assert_array_equal(again, y)
        np.testing.assert_array_equal(through, dx)
    layer.unfreeze()
    layer.backward(dy, layer.forward(one.x, mode)[1])
    assert layer.learns == bool(parameters) and not layer.frozen
    found = np.concatenate([p.grad.reshape(-1) for p in parameters] or [grads])
    np.testing.assert_array_equal(np.sort(found), np.sort(grads))


OTHER_SHAPES = {
    "a row less": lambda dy: dy[1:],
    "a row more": lambda dy: np.concatenate((dy[:1], dy)),
    "one row, to be spread": lambda dy: dy[:1],
    "a column less": lambda dy: dy[..., 1:],
    "a column more": lambda dy: np.concatenate((dy[..., :1], dy), axis=-1),
    "one column, to be spread": lambda dy: dy[..., :1],
    "the second axis longer": lambda dy: np.concatenate((dy[:, :1], dy), axis=1),
    "the second axis shorter": lambda dy: dy[:, 1:],
    "an axis more": lambda dy: dy[..., np.newaxis],
    "an axis less": lambda dy: dy.reshape(-1),
}


@each_row
@settings(max_examples=3)
@given(data=st.data())
def test_a_gradient_of_another_shape_is_refused(row: Row, data):
    """It was cut, spread or given back as it came, and the numbers were wrong."""
    one = data.draw(row.drawn)
    layer = copy.deepcopy(one.layer)
    layer.initialise(one.x.shape[1:], dtype=np.float64)
    if data.draw(st.booleans()):
        layer.freeze()
    mode = nn.Mode(training=True, seed=3, step=5, batch_size=len(one.x))
    with kernels.using("reference"):
        y, saved = layer.forward(one.x, mode)
        for other in (change(np.ones_like(y)) for change in OTHER_SHAPES.values()):
            if other.shape != y.shape:
                with pytest.raises(ShapeError):
                    layer.backward(other, saved)


@each_row
@settings(max_examples=20)
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]), seed=seeds)
def test_cpu(row: Row, data, dtype, seed):
    one = data.draw(row.drawn)
    with kernels.using("reference"):
        expected = computed(one, dtype, seed)[2]
    with kernels.using("cpu"):
        assert_all_close(computed(one, dtype, seed)[2], expected, dtype)


@pytest.mark.gpu
@each_row
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]), seed=seeds)
def test_gpu(row: Row, data, dtype, seed):
    import cupy

    one = data.draw(row.drawn)
    with kernels.using("reference"):
        expected = computed(one, dtype, seed)[2]
    assert_all_close(computed(one, dtype, seed, home=cupy)[2], expected, dtype)


@each_row
@settings(max_examples=10)
@given(data=st.data(), seed=seeds)
def test_finite_differences(row: Row, data, seed):
    one = data.draw(row.drawn)
    with kernels.using("reference"):
        check_layer(one.layer, one.x, np.random.default_rng(seed))


@each_row
@given(data=st.data(), at_kinks=st.booleans(), seed=seeds)
def test_oracle(row: Row, data, at_kinks, seed):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    one = data.draw(row.drawn)
    generator = np.random.default_rng(seed)
    layer, x = one.layer, one.x
    if at_kinks and not layer.takes_integers and not list(layer.children()):
        x = np.where(abs(x) < 0.5, 0, x)
    with kernels.using("reference"):
        buffer = layer.initialise(x.shape[1:], dtype=np.float64)
        randomise(buffer, generator)
        buffer.values[buffer.trainable :] = 1
        buffer.grads[...] = 0
        p = {
            name: torch.tensor(parameter.value.copy(), requires_grad=parameter.trainable)
            for name, parameter in buffer.parameters.items()
        }
        of_x = torch.tensor(x, requires_grad=not layer.takes_integers)
        of_y = one.twin(torch, of_x, p)
        y, saved = layer.forward(x, nn.Mode(training=True, seed=3, step=5, batch_size=len(x)))
        np.testing.assert_allclose(y, of_y.detach().numpy(), rtol=1e-7, atol=1e-9)
        dy = generator.normal(size=y.shape)
        of_y.backward(torch.tensor(dy))
        dx = layer.backward(dy, saved)
        buffer.follow_means()
    found = [(dx, of_x.grad)] if of_x.requires_grad else []
    for name, parameter in buffer.parameters.items():
        wanted = p[name].grad if parameter.trainable else p[name]
        found.append((parameter.grad if parameter.trainable else parameter.value, wanted))
    for ours, theirs in found:
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", STRATEGIES)
@each_row
@settings(max_examples=2)
@given(data=st.data(), layout=layouts, seed=seeds)
def test_strategies(row: Row, name, data, layout: Layout, seed):
    one = data.draw(row.drawn)
    generator = np.random.default_rng(seed)
    shape = (13, *one.x.shape[1:])
    whole = one.layer.takes_integers
    inputs = generator.integers(0, 3, shape) if whole else generator.normal(size=shape)
    layers, loss = around(one.layer, inputs), None
    targets = generator.normal(size=(13, 2))
    if isinstance(one.layer, nn.AuxiliaryHeads):
        out = one.layer.build(one.x.shape[1:])
        one.layer.forget(set())
        loss, targets = nn.WithAuxiliary(nn.MSE(), out[-1]), generator.normal(size=(13, *out))
    groups = row.groups and not (getattr(one.layer, "synchronised", False) and name != "pipeline")
    with kernels.using("reference"):
        check_equal(case_of(layers, inputs, targets, loss), name, layout, groups)
