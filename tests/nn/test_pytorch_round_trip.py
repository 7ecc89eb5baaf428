"""PyTorch reads the weights exported here and computes the same, and the other way round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch_twins import networks

from minidl import kernels, models, nn

torch = pytest.importorskip("torch", reason="PyTorch, whose weights these are, is not installed")
files = pytest.importorskip("safetensors.torch")

seeds = st.integers(0, 999)


@pytest.fixture(autouse=True, scope="module")
def on_the_definitions():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with kernels.using("reference"):
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("weights") / "weights.safetensors"


def twin(twins):
    other = torch.nn.Sequential(*twins.other(torch)).double().eval()
    with torch.no_grad():
        for name, tensor in other.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
                if "running" not in name:
                    tensor *= torch.where(torch.rand(tensor.shape) < 0.5, -1.0, 1.0)
    return other


def assert_same_outputs(twins, other, generator):
    x = twins.batch(generator, 3)
    y, _ = twins.model.forward(x, nn.EVALUATE)
    of_x = torch.tensor(np.moveaxis(x, -1, 1).copy() if x.ndim == 4 else x)
    np.testing.assert_allclose(y, other(of_x).detach().numpy(), rtol=1e-9, atol=1e-9)


@given(twins=networks, seed=seeds)
def test_what_is_exported_computes_the_same_there(path, twins, seed):
    generator = np.random.default_rng(seed)
    nn.export_pytorch(twins.randomised(generator), path)
    other = twin(twins)
    other.load_state_dict(files.load_file(path))
    assert_same_outputs(twins, other, generator)


@given(twins=networks, seed=seeds)
def test_what_is_imported_computes_the_same_here_and_goes_back_as_it_came(path, twins, seed):
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    other = twin(twins)
    files.save_file(other.state_dict(), path)
    nn.import_pytorch(twins.randomised(generator), path)
    assert_same_outputs(twins, other, generator)
    nn.export_pytorch(twins.model, path)
    before, after = other.state_dict(), files.load_file(path)
    assert {name: (t.shape, t.dtype) for name, t in before.items()} == {
        name: (t.shape, t.dtype) for name, t in after.items()
    }
    for name, tensor in before.items():
        if "bias_hh_l" not in name and "bias_ih_l" not in name:  # only their sums are kept
            torch.testing.assert_close(after[name], tensor, rtol=0, atol=0)
    for name in before:
        if "bias_ih_l" in name:
            second = name.replace("bias_ih", "bias_hh")
            torch.testing.assert_close(after[name] + after[second], before[name] + before[second])


def test_what_is_pooled_is_flattened_channels_first(path):
    """PyTorch pools sequences (N, C, T), so a weight behind them sees another order."""
    generator = np.random.default_rng(0)
    model = nn.Sequential(nn.MaxPool1d(2, ceil_mode=True), nn.Flatten(), nn.Linear(2))
    buffer = model.initialise((5, 3), dtype=np.float64)
    buffer.values[...] = generator.normal(size=len(buffer))
    nn.export_pytorch(model, path)
    t = torch.nn
    other = t.Sequential(t.MaxPool1d(2, ceil_mode=True), t.Flatten(), t.Linear(9, 2)).double()
    other.load_state_dict(files.load_file(path))
    x = generator.normal(size=(4, 5, 3))
    y, _ = model.forward(x, nn.EVALUATE)
    expected = other(torch.tensor(x.swapaxes(1, 2).copy())).detach().numpy()
    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_lenet5_under_the_names_of_a_network_that_fits_no_images(path):
    """Ours has one layer more, in front: so every other is called by the number before."""
    model = models.lenet5()
    model.initialise((28, 28, 1), dtype=np.float64)
    nn.export_pytorch(model, path, {str(place): str(place - 1) for place in range(1, 13)})
    t = torch.nn
    other = t.Sequential(
        t.Conv2d(1, 6, 5), t.Tanh(), t.AvgPool2d(2), t.Conv2d(6, 16, 5), t.Tanh(), t.AvgPool2d(2),
        t.Flatten(), t.Linear(400, 120), t.Tanh(), t.Linear(120, 84), t.Tanh(), t.Linear(84, 10),
    ).double()  # fmt: skip
    other.load_state_dict(files.load_file(path))
    x = np.random.default_rng(0).normal(size=(2, 28, 28, 1))
    framed = torch.nn.functional.pad(torch.tensor(np.moveaxis(x, -1, 1).copy()), (2, 2, 2, 2))
    np.testing.assert_allclose(
        model.forward(x, nn.EVALUATE)[0], other(framed).detach().numpy(), rtol=1e-9, atol=1e-9
    )
