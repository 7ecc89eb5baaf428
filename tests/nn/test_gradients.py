"""Gradients of networks equal finite differences; single layers and losses: `tests/table`."""

from __future__ import annotations

import numpy as np
import pytest
from finite_differences import check_layer
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import kernels, nn

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
few = st.integers(0, 3)
some = st.integers(1, 4)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request: pytest.FixtureRequest):
    with kernels.using(request.param):
        yield


@st.composite
def images(draw: st.DrawFn) -> tuple[int, ...]:
    return (draw(few), draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 3)))


@given(images(), some, seeds)
def test_concat_of_convolutions(shape, width, generator):
    branches = (nn.Conv2d(width, (3, 1), padding=(1, 0)), nn.AvgPool2d(3, 1, 1), nn.Conv2d(2, 1))
    check_layer(nn.Concat(*branches), generator.normal(size=shape), generator)


@settings(max_examples=10)
@given(seeds)
def test_a_network_of_everything(generator):
    network = nn.Sequential(
        nn.FitImage(5),
        nn.Conv2d(3, 2, padding=1),
        nn.BatchNorm(),
        nn.Tanh(),
        nn.Residual(nn.Sequential(nn.Conv2d(3, 3, padding=1), nn.Dropout(0.3))),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4),
        nn.Sigmoid(),
    )
    check_layer(network, generator.normal(size=(3, 2, 2, 2)), generator)


@given(seeds, st.integers(1, 5))
def test_a_layer_used_twice_adds_up_both_uses(generator, width):
    shared = nn.Linear(width)
    network = nn.Sequential(shared, nn.Tanh(), shared)
    check_layer(network, generator.normal(size=(3, width)), generator)
