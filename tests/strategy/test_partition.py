"""Stages hold all layers once, in order, and the heaviest is as light as can be."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import models, nn
from minidl.errors import InputError
from minidl.strategy.partition import _balance, partition


@given(work=st.lists(st.integers(0, 20), min_size=1, max_size=7), data=st.data())
def test_no_other_cut_has_a_lighter_heaviest_stage(work: list[int], data: st.DataObject) -> None:
    stages = data.draw(st.integers(1, len(work)))
    ends = _balance(work, stages)
    assert len(ends) == stages
    assert ends[-1] == len(work)
    every = [[*cut, len(work)] for cut in combinations(range(1, len(work)), stages - 1)]

    def heaviest(cut: list[int]) -> int:
        return max(sum(work[a:b]) for a, b in pairwise([0, *cut]))

    assert heaviest(ends) == min(map(heaviest, every))


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
