"""Every public update rule: the definition, the kernels, PyTorch and the strategies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import STRATEGIES, OneRule, Row
from rule_rows import RULES
from trained import Layout, case_of, check_equal, layouts

from minidl import kernels, nn, optim

each_row = pytest.mark.parametrize("row", RULES, ids=lambda row: row.title)
seeds = st.integers(0, 999)
PLACES = {"0.weight": slice(0, 4), "0.bias": slice(4, 5), "1.weight": slice(5, 8)}


def drawn_vectors(seed, steps=3):
    """Weights and gradients, none near zero."""
    generator = np.random.default_rng(seed)
    size = (steps + 1, 8)
    w, *gradients = generator.choice([-1.0, 1.0], size) * generator.uniform(0.2, 1, size)
    return w, gradients


def moved(one: OneRule, seed, dtype, name, home=None, places=PLACES):
    """The weights after some steps, with those of a rank that holds some parameters only."""
    array = home.asarray if home else np.array
    w, gradients = drawn_vectors(seed)
    first = min(place.start for place in places.values())
    own = {n: slice(p.start - first, p.stop - first) for n, p in places.items()}
    held = slice(first, max(place.stop for place in places.values()))
    values = array(w[held].astype(dtype))
    slots = {slot: array(np.zeros(len(values), dtype)) for slot in one.rule.slots}
    with kernels.using(name):
        for step, g in enumerate(gradients):
            norm = float(np.linalg.norm(g))
            one.rule.update(values, array(g[held].astype(dtype)), slots, step, own, norm)
    return values.get() if home else values


def assert_near(found, expected, tolerance=None):
    assert found.shape == expected.shape
    tolerance = tolerance or (1e-4 if found.dtype == np.float32 else 1e-10)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@each_row
@settings(max_examples=15)
@given(data=st.data(), seed=seeds)
def test_reference(row: Row, data, seed):
    """Ranks may hold some of the parameters each."""
    one = data.draw(row.drawn)
    whole = moved(one, seed, np.float64, "reference")
    for names in (("0.weight", "0.bias"), ("1.weight",)):
        places = {name: PLACES[name] for name in names}
        part = moved(one, seed, np.float64, "reference", places=places)
        start = min(place.start for place in places.values())
        assert_near(part, whole[start : start + len(part)])


@each_row
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]), seed=seeds)
def test_cpu(row: Row, data, dtype, seed):
    one = data.draw(row.drawn)
    expected = moved(one, seed, dtype, "reference")
    assert_near(moved(one, seed, dtype, "cpu"), expected)


@pytest.mark.gpu
@each_row
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]), seed=seeds)
def test_gpu(row: Row, data, dtype, seed):
    import cupy

    one = data.draw(row.drawn)
    expected = moved(one, seed, dtype, "reference")
    assert_near(moved(one, seed, dtype, "reference", home=cupy), expected)


@each_row
@given(data=st.data(), seed=seeds)
def test_oracle(row: Row, data, seed):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    one = data.draw(row.drawn)
    w, gradients = drawn_vectors(seed)
    tensors = {n: torch.tensor(w[place], requires_grad=True) for n, place in PLACES.items()}
    step = one.twin(torch, tensors)
    for g in gradients:
        for name, place in PLACES.items():
            tensors[name].grad = torch.tensor(g[place])
        step()
    expected = np.concatenate([tensor.detach().numpy() for tensor in tensors.values()])
    assert_near(moved(one, seed, np.float64, "reference"), expected)


def gentle(rule: optim.Optimizer) -> optim.Optimizer:
    """The rule with small steps: large ones make rounding grow from step to step."""
    return rule.slowed(0.01)


@pytest.mark.parametrize("name", STRATEGIES)
@each_row
@settings(max_examples=2)
@given(data=st.data(), layout=layouts, seed=seeds)
def test_strategies(row: Row, name, data, layout: Layout, seed):
    one = data.draw(row.drawn)
    inputs, targets = np.random.default_rng(seed).normal(size=(2, 13, 2))
    layers = (nn.Linear(3), nn.Tanh(), nn.Linear(2), nn.Tanh(), nn.Linear(2))
    with kernels.using("reference"):
        case = case_of(layers, inputs, targets, optimizer=gentle(one.rule))
        check_equal(case, name, layout)
