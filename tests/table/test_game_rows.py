"""Every adversarial loss: its three sides, and a GAN under the strategies that can train one."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_rows import GAMES, SIDES
from networks import assert_same_weights
from rows import OneGame, Row
from trained import Layout, layouts

from minidl import data, kernels, models, nn, optim, strategy, train
from minidl.errors import InputError
from minidl.runtime import Virtual
from minidl.tasks import Adversarial

each_row = pytest.mark.parametrize("row", GAMES, ids=lambda row: row.title)
each_side = pytest.mark.parametrize("side", SIDES)
columns = st.lists(st.floats(-20, 20), min_size=1, max_size=5).map(lambda z: np.array(z)[:, None])


def computed(one: OneGame, side, z, name, home=None):
    with kernels.using(name):
        found = getattr(one.loss, side)(home.asarray(z) if home else z)
    return tuple(array.get() if home else array for array in found)


def assert_all_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        tolerance = 1e-5 if one.dtype == np.float32 else 1e-10
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@each_row
@given(row_data=st.data(), z=columns)
def test_reference(row: Row, row_data, z):
    """A number for each z, of its type; float32 is near float64."""
    one = row_data.draw(row.drawn)
    for side in SIDES:
        expected = computed(one, side, z, "reference")
        near = computed(one, side, z.astype(np.float32), "reference")
        for wide, narrow in zip(expected, near, strict=True):
            assert (wide.shape, wide.dtype, narrow.dtype) == (z.shape, z.dtype, np.float32)
            np.testing.assert_allclose(narrow, wide, rtol=1e-4, atol=1e-5)


@each_row
@given(row_data=st.data(), z=columns, dtype=st.sampled_from([np.float32, np.float64]))
def test_cpu(row: Row, row_data, z, dtype):
    one, z = row_data.draw(row.drawn), z.astype(dtype)
    for side in SIDES:
        assert_all_close(computed(one, side, z, "cpu"), computed(one, side, z, "reference"))


@pytest.mark.gpu
@each_row
@given(row_data=st.data(), z=columns, dtype=st.sampled_from([np.float32, np.float64]))
def test_gpu(row: Row, row_data, z, dtype):
    import cupy

    one, z = row_data.draw(row.drawn), z.astype(dtype)
    for side in SIDES:
        expected = computed(one, side, z, "reference")
        assert_all_close(computed(one, side, z, "reference", cupy), expected)


@each_row
@given(row_data=st.data(), z=columns)
def test_finite_differences(row: Row, row_data, z):
    one, step = row_data.draw(row.drawn), 1e-6
    for side in SIDES:
        above, below = (computed(one, side, z + way, "reference")[0] for way in (step, -step))
        _, derivative = computed(one, side, z, "reference")
        np.testing.assert_allclose(derivative, (above - below) / (2 * step), rtol=1e-5, atol=1e-7)


@each_row
@given(row_data=st.data(), z=columns)
def test_oracle(row: Row, row_data, z):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    one = row_data.draw(row.drawn)
    for side in SIDES:
        of_z = torch.tensor(z, requires_grad=True)
        expected = one.twin(torch, of_z, side)
        expected.sum().backward()
        wanted = expected.detach().numpy(), of_z.grad.numpy()
        assert_all_close(computed(one, side, z, "reference"), wanted)


def trained(one: OneGame, how: strategy.Strategy) -> train.Trainer:
    generator = nn.Sequential(nn.Linear(4), nn.Tanh(), nn.Linear(3))
    discriminator = nn.Sequential(nn.Linear(4), nn.Tanh(), nn.Linear(1))
    gan = models.GAN(copy.deepcopy(generator), copy.deepcopy(discriminator), latent=2)
    samples = np.random.default_rng(0).normal(size=(13, 3))
    trainer = train.Trainer(gan, Adversarial(one.loss, 2), optim.SGD(0.05), dtype="float64")
    trainer.fit(data.Dataset(samples, np.zeros(13)), epochs=2, batch_size=5, strategy=how)
    return trainer


@pytest.mark.parametrize("name", ["ring", "server"])
@each_row
@settings(max_examples=4)
@given(row_data=st.data(), layout=layouts)
def test_strategies(row: Row, name, row_data, layout: Layout):
    one = row_data.draw(row.drawn)
    with kernels.using("reference"):
        serial = trained(one, strategy.Serial())
        assert_same_weights(serial, trained(one, layout.chosen(name, 1)))


@each_row
def test_a_pipeline_refuses(row: Row):
    one = OneGame(row.kind(), lambda torch, z, side: z)
    with pytest.raises(InputError, match="a pipeline trains outputs towards targets"):
        trained(one, strategy.Pipeline(2, runtime=Virtual()))
