"""What holds for every layer: names, buffers, initial values, purity, errors."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import dill
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import InputError, NotBuiltError, ShapeError

IMAGE = (6, 5, 2)
LAYERS = {
    "Linear": lambda: nn.Linear(3),
    "Conv2d": lambda: nn.Conv2d(3, 2),
    "BatchNorm": nn.BatchNorm,
    "Dropout": lambda: nn.Dropout(0.5),
    "MaxPool2d": lambda: nn.MaxPool2d(2),
    "AvgPool2d": lambda: nn.AvgPool2d(2),
    "Flatten": nn.Flatten,
    "ReLU": nn.ReLU,
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "Tanh": nn.Tanh,
    "Sigmoid": nn.Sigmoid,
    "FitImage": lambda: nn.FitImage(13),
    "Residual": lambda: nn.Residual(nn.Conv2d(2, 3, padding=1), nn.BatchNorm()),
    "Sequential": lambda: nn.Sequential(nn.Conv2d(3, 2), nn.BatchNorm(), nn.Dropout(0.1)),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture(autouse=True, scope="module")
def on_the_definitions():
    with kernels.using("reference"):
        yield


def everything(layer: nn.Layer) -> bytes:
    """All that a layer and its parts hold, gradients included."""
    return dill.dumps(layer)


@each_layer
@given(n=st.integers(0, 4), seed=st.integers(0, 99))
def test_forward_stores_nothing_and_keeps_the_promised_shape_and_type(name, n, seed):
    x = np.random.default_rng(seed).normal(size=(n, *IMAGE)).astype(np.float32)
    layer, shape = LAYERS[name](), LAYERS[name]().build(IMAGE)
    layer.initialise(IMAGE, seed=seed)
    before, x_before = everything(layer), x.copy()
    for mode in (nn.EVALUATE, nn.Mode(training=True, seed=seed, batch_size=max(1, n))):
        y, saved = layer.forward(x, mode)
        assert y.shape == (n, *shape)
        assert y.dtype == x.dtype
        assert everything(layer) == before
        np.testing.assert_array_equal(x, x_before)
        if not mode.training:
            assert saved is None
    dx = layer.backward(y, saved)
    assert dx.shape == x.shape
    assert dx.dtype == x.dtype


@pytest.mark.parametrize("name", sorted(set(LAYERS) - {"BatchNorm", "Residual", "Sequential"}))
def test_micro_batches_add_up_to_the_whole(name):
    """Whoever has no batch statistics; those are summed in test_batch_norm.py."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(7, *IMAGE))
    layer = LAYERS[name]()
    buffer = layer.initialise(IMAGE, dtype=np.float64)
    dy = generator.normal(size=layer.forward(x, nn.EVALUATE)[0].shape)
    found = []
    for cuts in ([0, 7], [0, 1, 1, 4, 7]):
        buffer.grads[...] = 0
        outputs, gradients = [], []
        for a, b in pairwise(cuts):
            mode = nn.Mode(training=True, seed=4, step=2, first=a, batch_size=7)
            y, saved = layer.forward(x[a:b], mode)
            outputs.append(y)
            gradients.append(layer.backward(dy[a:b], saved))
        found.append((np.concatenate(outputs), np.concatenate(gradients), buffer.grads.copy()))
    for whole, parts in zip(*found, strict=True):
        np.testing.assert_allclose(parts, whole, atol=1e-12)


@pytest.mark.parametrize("copied", [pickle.loads, dill.loads, copy.deepcopy])
@each_layer
def test_copies_compute_the_same(name, copied):
    layer = LAYERS[name]()
    layer.initialise(IMAGE)
    twin = copied(layer if copied is copy.deepcopy else pickle.dumps(layer))
    x = np.random.default_rng(1).normal(size=(3, *IMAGE)).astype(np.float32)
    mode = nn.Mode(training=True, batch_size=3)
    np.testing.assert_array_equal(twin.forward(x, mode)[0], layer.forward(x, mode)[0])
    assert list(twin.parameters()) == list(layer.parameters())


@given(
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    normal=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_parameters_are_views_of_one_buffer_in_order_of_definition(widths, normal, dtype):
    parts = [nn.Sequential(nn.Linear(w), *[nn.BatchNorm()] * normal) for w in widths]
    network = nn.Sequential(*parts)
    buffer = network.initialise((3,), dtype=dtype)
    learnt = ["0.weight", "0.bias"] + ["1.gamma", "1.beta"] * normal
    followed = ["1.mean", "1.variance"] * normal
    places = range(len(widths))
    expected = [f"{i}.{name}" for names in (learnt, followed) for i in places for name in names]
    assert list(buffer.parameters) == list(buffer.index) == expected
    assert set(network.parameters()) == set(expected)
    assert len(buffer) == sum(p.size for p in network.parameters().values())
    assert buffer.trainable == sum(p.size for p in buffer.parameters.values() if p.trainable)
    buffer.values[...] = np.arange(len(buffer))
    buffer.grads[...] = -buffer.values
    joined = np.concatenate([p.value.ravel() for p in buffer.parameters.values()])
    np.testing.assert_array_equal(joined, buffer.values)
    for parameter in buffer.parameters.values():
        assert np.shares_memory(parameter.value, buffer.values)
        assert np.shares_memory(parameter.grad, buffer.grads)
        np.testing.assert_array_equal(parameter.grad, -parameter.value)


@pytest.mark.parametrize("what", ["value", "grad"])
def test_a_masked_array_is_no_value(what):
    layer = nn.Linear(2, bias=False)
    layer.initialise((1,))
    before = getattr(layer.weight, what).copy()
    with pytest.raises(InputError, match=f"the {what} of .* with 1 numbers masked"):
        setattr(layer.weight, what, np.ma.masked_array([[1.0, 2.0]], [[True, False]]))
    np.testing.assert_array_equal(getattr(layer.weight, what), before)
    setattr(layer.weight, what, np.ma.masked_array([[1.0, 2.0]]))
    np.testing.assert_array_equal(getattr(layer.weight, what), [[1, 2]])


@given(seed=st.integers(0, 99), depth=st.integers(2, 5))
def test_initial_values_come_from_seed_and_name(seed, depth):
    def drawn(**settings):
        network = nn.Sequential(*[nn.Linear(4) for _ in range(depth)])
        network.initialise((4,), **settings)
        return {name: p.value for name, p in network.parameters().items()}

    weights, again, other = drawn(seed=seed), drawn(seed=seed), drawn(seed=seed + 1)
    for name, value in weights.items():
        np.testing.assert_array_equal(value, again[name])
        assert name.endswith("bias") or (value != other[name]).all()
    equal_shaped = [value.tobytes() for name, value in weights.items() if name.endswith("weight")]
    assert len(set(equal_shaped)) == depth


def test_a_slice_of_a_network_has_the_names_of_the_whole():
    network = nn.Sequential(nn.Linear(3), nn.ReLU(), nn.Sequential(nn.Linear(4)), nn.Linear(5))
    network.initialise((2,))
    assert list(network[2:].parameters()) == ["2.0.weight", "2.0.bias", "3.weight", "3.bias"]
    assert list(network[1:][1:3][1:].parameters()) == ["3.weight", "3.bias"]
    inner = nn.Sequential(network[0:2], names=["whole"])
    assert list(inner.parameters()) == ["whole.0.weight", "whole.0.bias"]
    assert network[-1] is network.layers[3]
    assert len(network[1:3]) == 2


def test_layers_are_deleted_with_their_names():
    network = nn.Sequential(nn.Linear(3), nn.ReLU(), nn.Linear(5), names=("body", "act", "head"))
    body, head = network[0], network[2]
    del network[1]
    assert (network.layers, network.names) == ((body, head), ("body", "head"))
    network = nn.Sequential(body, nn.ReLU(), nn.Tanh(), head)
    del network[1:3]
    assert (network.layers, network.names) == ((body, head), ("0", "1"))
    network.initialise((2,))
    assert _weights(network) == ["0.weight", "1.weight"]


def test_layers_are_found_in_attributes_lists_and_dicts_in_order_and_once():
    class Branches(nn.Layer):
        def __init__(self):
            self.stem = nn.Linear(2)
            self.by_number = [nn.Linear(2), "no layer", self.stem]
            self.by_name = {"left": nn.Linear(2), "right": nn.Linear(2)}

        def build(self, shape):
            for _, child in self.children():
                child.build(shape)
            return shape

    network = Branches()
    names = [name.removesuffix(".weight") for name in _weights(network)]
    assert names == ["stem", "by_number.0", "by_name.left", "by_name.right"]


def test_a_shared_parameter_stands_in_the_buffer_once():
    class Tied(nn.Layer):
        def __init__(self):
            self.one, self.two = nn.Linear(3, bias=False), nn.Linear(3, bias=False)

        def build(self, shape):
            self.one.build(shape)
            self.two.weight = self.one.weight
            return self.two.build(shape)

    network = Tied()
    buffer = network.initialise((3,))
    assert list(buffer.index) == ["one.weight"]
    assert network.two.weight.value is network.one.weight.value


def _weights(network: nn.Layer) -> list[str]:
    network.initialise((2,))
    return [name for name in network.parameters() if name.endswith("weight")]


@pytest.mark.parametrize("layer", [nn.Linear(3), nn.Conv2d(3, 2), nn.BatchNorm()], ids=str)
def test_use_before_initialise_is_refused(layer):
    x = np.zeros((1, *IMAGE), np.float32)
    with pytest.raises(NotBuiltError, match="initialise"):
        layer.forward(x, nn.EVALUATE)
    layer.build(IMAGE)
    with pytest.raises(NotBuiltError, match="initialise"):
        layer.forward(x, nn.EVALUATE)


def test_an_attribute_that_never_exists_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'"):
        _ = nn.Linear(3).wieght


@pytest.mark.parametrize("kind", [nn.Linear, lambda o: nn.Conv2d(o, 1)])
def test_building_again_for_another_shape_names_the_layer(kind):
    network = nn.Sequential(nn.ReLU(), nn.Sequential(kind(3)))
    network.initialise((4, 4, 2))
    network.initialise((5, 4, 2))
    with pytest.raises(ShapeError, match=r"(Linear|Conv2d) \(1\.0\) was built with weight"):
        network.initialise((4, 4, 3))


def test_a_failed_build_leaves_nothing_so_another_shape_can_be_tried():
    network = nn.Sequential(nn.Conv2d(3, 1), nn.Flatten(), nn.Linear(3), nn.Conv2d(1, 1))
    with pytest.raises(ShapeError, match=r"Conv2d \(3\) needs images"):
        network.initialise((4, 4, 1))
    assert network.parameters() == {}
    network[:3].initialise((6, 6, 2))


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Linear(3), (), "at least one feature"),
        (nn.Linear(3), (4, 0), "at least one feature"),
        (nn.BatchNorm(), (), "at least one channel"),
        (nn.Conv2d(3, 2), (5,), r"\(height, width, channels\), not \(5,\)"),
        (nn.Conv2d(3, 5, padding=1), (2, 2, 1), "window of 5×5 .* 4×4"),
        (nn.Conv2d(3, 3, dilation=(1, 2)), (4, 4, 1), "window of 3×5 .* 4×4"),
        (nn.MaxPool2d(3), (2, 3, 1), "window of 3×3 .* 2×3"),
        (nn.FitImage(4), (5, 2, 1), "at most 4×4"),
        (nn.Residual(nn.Linear(3)), (4,), r"body gives shape \(3,\) and the shortcut \(4,\)"),
    ],
    ids=str,
)
def test_shapes_that_do_not_fit_are_refused_with_layer_and_place(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        nn.Sequential(nn.ReLU(), layer).initialise(shape)
    with pytest.raises(ShapeError, match=rf"{type(layer).__name__} \(1\)"):
        nn.Sequential(nn.ReLU(), layer).initialise(shape)


def test_a_batch_of_other_features_is_refused():
    for layer in (nn.Linear(3), nn.Conv2d(3, 2), nn.BatchNorm()):
        layer.initialise(IMAGE)
        with pytest.raises(ShapeError, match=r"built for samples with 2 .* batch of shape"):
            layer.forward(np.zeros((1, 6, 5, 3), np.float32), nn.EVALUATE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(2).initialise((3,), seed="x"), "seed must be a whole number"),
        (lambda: nn.Linear(0), "out_features must be .* at least 1, not 0"),
        (lambda: nn.Linear(10.0), "out_features must be a whole number .* not 10.0"),
        (lambda: nn.Conv2d(0, 3), "out_channels must be .* at least 1, not 0"),
        (lambda: nn.Conv2d(1, 0), "kernel_size must be .* at least 1.* not 0"),
        (
            lambda: nn.Conv2d(1, (3, 3, 3)),
            r"Conv2d: kernel_size must be a whole number or \(.*\), not \(3, 3, 3\)",
        ),
        (lambda: nn.Conv2d(1, 3, stride=0), "stride must be"),
        (lambda: nn.Conv2d(1, 3, padding=-1), "padding must be .* at least 0.* not -1"),
        (lambda: nn.Conv2d(1, 3, dilation=0), "dilation must be"),
        (lambda: nn.Conv2d(1, 2.5), "kernel_size must be a whole number"),
        (lambda: nn.MaxPool2d(0), "MaxPool2d: size must be"),
        (lambda: nn.AvgPool2d(2, stride=-1), "AvgPool2d: stride must be"),
        (lambda: nn.MaxPool2d(2, padding=2), "at most half the window"),
        (lambda: nn.FitImage(0), "size must be .* at least 1, not 0"),
        (lambda: nn.LeakyReLU(float("inf")), "slope must be finite"),
        (
            lambda: nn.Sequential(nn.ReLU(), nn.ReLU),
            "Sequential: layers must be a Layer, not <class .*ReLU'>",
        ),
        (lambda: nn.Sequential(nn.ReLU(), nn.Tanh(), names=["a", "a"]), "one name"),
        (lambda: nn.Sequential(nn.ReLU(), names=[]), "as many names, not 0"),
        (lambda: nn.Residual(3), "body must be a Layer, not 3"),
        (lambda: nn.Residual(nn.ReLU(), 3), "shortcut must be a Layer or None, not 3"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
