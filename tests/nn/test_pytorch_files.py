"""Weights exported under PyTorch's names and imported again are what they were."""

from __future__ import annotations

import copy
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from torch_twins import networks

from minidl import nn
from minidl.errors import CheckpointError, InputError, NotBuiltError

seeds = st.integers(0, 999)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("weights") / "weights.safetensors"


def built(*layers, shape=(3,)):
    model = nn.Sequential(*layers)
    model.initialise(shape)
    return model


def values(model):
    return {name: p.value.copy() for name, p in model.parameters().items()}


def assert_equal(one, other):
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@given(twins=networks, seed=seeds)
def test_a_round_trip_gives_the_same_weights(path, twins, seed):
    model = twins.randomised(np.random.default_rng(seed))
    nn.export_pytorch(model, path)
    fresh = copy.deepcopy(model)
    fresh.initialise(twins.shape, dtype=np.float64)
    nn.import_pytorch(fresh, path)
    assert_equal(values(fresh), values(model))


def test_layouts_are_pytorchs(path):
    model = built(
        nn.Conv2d(4, (1, 3), bias=False),
        nn.BatchNorm(),
        nn.Flatten(),
        nn.Linear(2),
        shape=(5, 6, 3),
    )
    nn.export_pytorch(model, path)
    found = load_file(path)
    assert {name: array.shape for name, array in found.items()} == {
        "0.weight": (4, 3, 1, 3), "1.weight": (4,), "1.bias": (4,), "1.running_mean": (4,),
        "1.running_var": (4,), "1.num_batches_tracked": (), "3.weight": (2, 80), "3.bias": (2,),
    }  # fmt: skip
    assert found["1.num_batches_tracked"].dtype == np.int64
    theirs = found["3.weight"].reshape(2, 4, 5, 4)  # outputs, then an image channels first
    ours = model.layers[3].weight.value.reshape(5, 4, 4, 2)
    np.testing.assert_array_equal(theirs, ours.transpose(3, 2, 0, 1))


@pytest.mark.parametrize(
    "rename",
    [
        {"0": "features.3", "1.body": "head", "1.body.0": "head.fc", "2.bias": "shift"},
        lambda name: {
            "0.weight": "features.3.weight", "0.bias": "features.3.bias",
            "1.body.0.weight": "head.fc.weight", "1.body.0.bias": "head.fc.bias",
            "2.weight": "2.weight", "2.bias": "shift",
        }[name],
    ],
)  # fmt: skip
def test_other_names(path, rename):
    model = built(nn.Linear(3), nn.Residual(nn.Sequential(nn.Linear(3))), nn.LayerNorm())
    nn.export_pytorch(model, path, rename)
    assert {*load_file(path)} == {
        "features.3.weight", "features.3.bias", "head.fc.weight", "head.fc.bias",
        "2.weight", "shift",
    }  # fmt: skip
    before = values(model)
    model.initialise((3,), seed=7)
    nn.import_pytorch(model, path, rename)
    assert_equal(values(model), before)
    with pytest.raises(InputError, match=r"two tensors the name '0.weight'"):
        nn.export_pytorch(model, path, {"2": "0"})


def test_all_that_does_not_fit_is_listed_and_nothing_is_changed(path):
    model = built(nn.Linear(4), nn.BatchNorm(), nn.Linear(2))
    before = values(model)
    nn.export_pytorch(model, path)
    tensors = load_file(path)
    del tensors["1.num_batches_tracked"]  # files from before PyTorch 0.4.1 have none
    save_file(tensors, path)
    nn.import_pytorch(model, path)
    tensors["0.weight"] += 1
    tensors["0.bias"] = tensors["0.bias"].astype(np.int32)
    tensors["2.weight"] = tensors["2.weight"].T.copy()
    tensors["head.bias"] = tensors.pop("2.bias")
    save_file(tensors, path)
    with pytest.raises(CheckpointError) as caught:
        nn.import_pytorch(model, path)
    for fault in (
        "missing 2.bias", "not known here head.bias", "2.weight has shape (4, 2), not (2, 4)",
        "0.bias is of type int32, not a float",
    ):  # fmt: skip
        assert fault in str(caught.value)
    assert_equal(values(model), before)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_keep_the_type_that_they_have_here(path, dtype):
    model = built(nn.Linear(2))
    w = np.random.default_rng(0).normal(size=(2, 3)).astype(dtype)
    save_file({"0.weight": w, "0.bias": np.ones(2, dtype)}, path)
    nn.import_pytorch(model, path)
    assert model.layers[0].weight.value.dtype == np.float32
    np.testing.assert_array_equal(model.layers[0].weight.value, w.T.astype(np.float32))


def test_no_such_file_no_whole_file_and_types_that_numpy_has_not(path):
    model = built(nn.Linear(2))
    with pytest.raises(CheckpointError, match="no file"):
        nn.import_pytorch(model, path.with_name("none"))
    nn.export_pytorch(model, path)
    for data in (path.read_bytes()[:-3], b"PK\x03\x04 a pickle", b""):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"no whole safetensors file .*torch.save_file"):
            nn.import_pytorch(model, path)
    header = b'{"0.bias":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(CheckpointError, match="BF16.*let PyTorch save model.float()"):
        nn.import_pytorch(model, path)


def test_a_network_without_weights_or_with_a_layer_unknown_there_is_refused(path):
    class Scale(nn.Layer):
        def build(self, shape):
            self.parameter("factor", shape[-1:], nn.init.ones)
            return shape

    with pytest.raises(NotBuiltError):
        nn.export_pytorch(nn.Sequential(nn.Linear(2)), path)
    with pytest.raises(NotBuiltError):
        nn.export_pytorch(nn.Sequential(nn.Flatten()), path)
    with pytest.raises(InputError, match=r"Scale \(0\).*nn.pytorch_tensors.register\(Scale\)"):
        nn.export_pytorch(built(Scale()), path)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [nn.Flatten(), nn.GroupNorm(2)],
            r"GroupNorm \(1\) is given a flattened image \(2, 2, 4\)",
        ),
        ([nn.Flatten(), nn.Residual(nn.Linear(16))], r"Residual \(1\) is given a flattened image"),
        ([nn.Flatten(), nn.Reshape(4, 2, 2)], "takes a flattened image .* for one of shape"),
        ([nn.Reshape(4, 4)], "mixes the axes of an image"),
        ([nn.Concat(nn.Flatten(), nn.Flatten())], r"0.0\) begins or ends with a flattened image"),
        ([nn.Conv2d(16, 2), nn.GlobalAvgPool2d(), nn.Reshape(2, 2, 4)], "makes what becomes an im"),
    ],
)
def test_a_flattened_image_that_gets_lost_is_an_error(path, layers, message):
    with pytest.raises(InputError, match=message):
        nn.export_pytorch(built(*layers, shape=(2, 2, 4)), path)
    for shape in ((2, 2, 1), (1, 1, 4)):  # whose order is the same in both
        if type(layers[0]) is nn.Flatten and isinstance(layers[1], nn.Residual):
            nn.export_pytorch(built(nn.Flatten(), nn.Residual(nn.Linear(4)), shape=shape), path)


def test_a_layer_used_twice_is_written_once(path):
    shared = nn.Linear(3)
    nn.export_pytorch(built(shared, nn.Tanh(), shared), path)
    assert {*load_file(path)} == {"0.weight", "0.bias"}


def test_a_file_of_other_shapes_is_refused_before_it_is_read(path):
    """A sparse one has 4 KB on disk and 8 GB to read."""
    model = built(nn.Linear(2))
    header = b'{"0.weight":{"dtype":"F32","shape":[2,1073741824],"data_offsets":[0,8589934592]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + (8 << 30))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"missing 0.bias; 0.weight has shape \(2, 107"):
            nn.import_pytorch(model, path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(path, number):
    model = built(nn.Linear(2))
    before = values(model)
    save_file({"0.weight": np.zeros((2, 3)), "0.bias": np.array([0, number])}, path)
    with pytest.raises(CheckpointError, match=r"0.bias holds NaN or infinities"):
        nn.import_pytorch(model, path)
    assert_equal(values(model), before)
