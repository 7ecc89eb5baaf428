"""Stages hold all layers once, in order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import models, nn
from minidl.errors import InputError
from minidl.strategy.partition import partition


@given(stages=st.integers(1, 8))
def test_stages_hold_all_layers_in_order_and_their_shapes_meet(stages: int) -> None:
    model = models.digits_cnn()
    model.initialise((8, 8, 1))
    parts = partition(model, (8, 8, 1), stages)
    assert [layer for part in parts for layer in part.layers] == [c for _, c in model.children()]
    assert all(a.output_shape == b.input_shape for a, b in pairwise(parts))
    assert all(part.layers for part in parts)


def test_nested_sequentials_are_cut_too() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(3), nn.Tanh()), nn.Linear(2))
    model.initialise((4,))
    names = [name for stage in partition(model, (4,), 3) for name in stage.model().parameters()]
    assert names == list(model.parameters())


def test_refusals() -> None:
    model = nn.Sequential(nn.Linear(3), nn.Tanh())
    model.initialise((4,))
    with pytest.raises(InputError, match="3 stages need as many layers, and the model has 2"):
        partition(model, (4,), 3)
    with pytest.raises(InputError, match="Sequential"):
        partition(nn.Linear(2), (4,), 1)
    shared = nn.Linear(4)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    model.initialise((4,))
    with pytest.raises(InputError, match="one stage only"):
        partition(model, (4,), 3)
