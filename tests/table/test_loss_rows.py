"""Every public loss: the definition, the kernels, PyTorch, differences and the strategies."""

from __future__ import annotations

import numpy as np
import pytest
from finite_differences import check_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_rows import LOSSES
from rows import STRATEGIES, OneLoss, Row
from trained import Layout, case_of, check_equal, layouts

from minidl import kernels, nn
from minidl.runtime import Virtual

each_row = pytest.mark.parametrize("row", LOSSES, ids=lambda row: row.title)
seeds = st.integers(0, 999)


def computed(one: OneLoss, dtype, seed, home=None):
    """Losses and the gradient of the outputs; `home` is CuPy."""
    move = home.asarray if home else lambda array: array
    losses, saved = one.loss.forward(move(one.outputs.astype(dtype)), move(one.targets))
    dlosses = np.random.default_rng(seed).normal(size=len(one.outputs)).astype(dtype)
    found = losses, one.loss.backward(move(dlosses), saved)
    return tuple(array.get() if home else array for array in found)


def assert_all_close(found, expected, dtype):
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, dtype)
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@each_row
@settings(max_examples=15)
@given(data=st.data(), seed=seeds)
def test_reference(row: Row, data, seed):
    """One number a sample, whatever stands beside it; float32 is near float64."""
    one = data.draw(row.drawn)
    with kernels.using("reference"):
        losses, gradient = computed(one, np.float64, seed)
        assert_all_close(computed(one, np.float32, seed), (losses, gradient), np.float32)
        assert losses.shape == (len(one.outputs),)
        assert gradient.shape == one.outputs.shape
        for i in range(len(losses)):
            alone, _ = one.loss.forward(one.outputs[i : i + 1], one.targets[i : i + 1])
            np.testing.assert_allclose(alone, losses[i : i + 1])


@each_row
@settings(max_examples=20)
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]), seed=seeds)
def test_cpu(row: Row, data, dtype, seed):
    one = data.draw(row.drawn)
    with kernels.using("reference"):
        expected = computed(one, dtype, seed)
    with kernels.using("cpu"):
        assert_all_close(computed(one, dtype, seed), expected, dtype)


@pytest.mark.gpu
@each_row
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]), seed=seeds)
def test_gpu(row: Row, data, dtype, seed):
    import cupy

    one = data.draw(row.drawn)
    with kernels.using("reference"):
        expected = computed(one, dtype, seed)
    assert_all_close(computed(one, dtype, seed, home=cupy), expected, dtype)


@each_row
@settings(max_examples=10)
@given(data=st.data(), seed=seeds)
def test_finite_differences(row: Row, data, seed):
    one = data.draw(row.drawn)
    with kernels.using("reference"):
        check_loss(one.loss, one.outputs, one.targets, np.random.default_rng(seed))


@each_row
@given(data=st.data(), scale=st.sampled_from([1.0, 1e4]), seed=seeds)
def test_oracle(row: Row, data, scale, seed):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    one = data.draw(row.drawn)
    z, n = scale * one.outputs, len(one.outputs)
    of_z = torch.tensor(z, requires_grad=True)
    expected = one.twin(torch, of_z, torch.tensor(one.targets)).reshape(n, -1).mean(dim=1)
    dlosses = np.random.default_rng(seed).normal(size=n)
    expected.backward(torch.tensor(dlosses))
    with kernels.using("reference"):
        losses, saved = one.loss.forward(z, one.targets)
        gradient = one.loss.backward(dlosses, saved)
    np.testing.assert_allclose(losses, expected.detach().numpy(), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(gradient, of_z.grad.numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", STRATEGIES)
@each_row
@settings(max_examples=2)
@given(data=st.data(), layout=layouts, seed=seeds)
def test_strategies(row: Row, name, data, layout: Layout, seed):
    one = data.draw(row.drawn)
    loss, n = one.loss, 12
    inputs = np.random.default_rng(seed).normal(size=(n, *one.outputs.shape[1:-1], 3))
    targets = np.resize(one.targets, (n, *one.targets.shape[1:]))
    layers = [nn.Linear(3), nn.Tanh()]
    if isinstance(loss, nn.WithAuxiliary):
        heads = [nn.Linear(loss.outputs) for _ in loss.weights]
        stages = (*(nn.Tanh() for _ in heads), nn.Linear(loss.outputs))
        layers.append(nn.AuxiliaryHeads(*stages, heads=heads))
    else:
        layers.append(nn.Linear(one.outputs.shape[-1]))
    with kernels.using("reference"):
        check_equal(case_of(layers, inputs, targets, loss), name, layout)


@pytest.mark.parametrize("name", STRATEGIES)
def test_class_weights_mean_the_same_whoever_has_which_labels(name):
    """No slice of a batch divides by the weights of its own labels: the mean is over samples."""
    generator = np.random.default_rng(0)
    inputs, labels = generator.normal(size=(13, 3)), generator.integers(0, 3, 13)
    layers = [nn.Linear(4), nn.Tanh(), nn.Linear(3)]
    loss = nn.CrossEntropy(0.1, weight=[0.1, 1, 5])
    with kernels.using("reference"):
        check_equal(case_of(layers, inputs, labels, loss), name, Layout(3, Virtual()))
