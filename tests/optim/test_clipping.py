"""Clipping: what reaches the rule, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, optim
from minidl.errors import InputError


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


def clipped(grads, **limit):
    """What a step of plain descent with lr = 1 shows of the gradient."""
    w, kept = np.zeros_like(grads), grads.copy()
    optim.Clipped(optim.SGD(1.0), **limit).step(w, grads, {}, 0)
    np.testing.assert_array_equal(grads, kept)
    assert w.dtype == grads.dtype
    return -w


GRADIENTS = st.builds(
    lambda size, seed, dtype: np.random.default_rng(seed).normal(size=size).astype(dtype),
    st.integers(0, 9),
    st.integers(0, 99),
    st.sampled_from([np.float32, np.float64]),
)


@given(grads=GRADIENTS, limit=st.floats(1e-2, 10))
def test_a_gradient_clipped_by_norm_keeps_its_direction_and_is_no_longer_than_that(grads, limit):
    found, length = clipped(grads, norm=limit), np.linalg.norm(grads)
    np.testing.assert_allclose(np.linalg.norm(found), min(length, limit), rtol=2e-4)
    np.testing.assert_allclose(found * length, grads * np.linalg.norm(found), atol=1e-5)
    if length < 0.99 * limit:
        np.testing.assert_array_equal(found, grads)


@given(grads=GRADIENTS, limit=st.floats(1e-2, 10))
def test_clipping_by_value_cuts_each_element(grads, limit):
    found = clipped(grads, value=limit)
    small = abs(grads) <= limit
    np.testing.assert_array_equal(found[small], grads[small])
    np.testing.assert_allclose(found[~small], (np.sign(grads) * limit)[~small], rtol=1e-6)


def test_a_part_is_clipped_by_the_norm_of_the_whole():
    whole, w = np.array([3.0, 4.0]), np.zeros(1)
    rule = optim.Clipped(optim.SGD(1.0), norm=1.0)
    rule.update(w, whole[:1], {}, 0, {"a": slice(0, 1)}, 5.0)
    np.testing.assert_allclose(w, [-0.6], rtol=1e-6)


def test_the_rule_inside_keeps_its_state_and_is_told_of_the_parameters():
    rule = optim.Clipped(optim.LARS(1.0), value=0.5)
    assert rule.slots == ("velocity",) and not rule.needs_norm
    places, g = {"a": slice(0, 1), "b": slice(1, 3)}, np.array([0.1, -3.0, 2.0])
    both = []
    for each, grads in ((rule, g), (rule.optimizer, g.clip(-0.5, 0.5))):
        w, slots = np.array([1.0, 2.0, 3.0]), {"velocity": np.zeros(3)}
        each.update(w, grads, slots, 0, places, np.nan)
        both.append(w)
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rule: optim.Clipped(rule), "give norm or value, and not both: norm=None, value=No"),
        (lambda rule: optim.Clipped(rule, 1.0, 1.0), "give norm or value, and not both"),
        (lambda rule: optim.Clipped(rule, norm=0), "Clipped: norm must be greater than 0"),
        (lambda rule: optim.Clipped(rule, value=-1), "Clipped: value must be greater than 0"),
        (lambda rule: optim.Clipped(0.1, norm=1), "optimizer must be an Optimizer, not 0.1"),
        (lambda rule: optim.Clipped(optim.Clipped(rule, 1.0), 1.0), "norm must be taken first"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make(optim.SGD(0.1))
