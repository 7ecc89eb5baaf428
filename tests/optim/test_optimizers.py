"""Update rules: their laws, their formulas, and what they refuse."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, optim
from minidl.errors import InputError

RULES = [
    optim.SGD(0.1),
    optim.SGD(0.1, momentum=0.9),
    optim.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    optim.Adam(),
    optim.Adam(0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1),
]
each_rule = pytest.mark.parametrize("rule", RULES, ids=repr)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


def run(rule, w, gradients, first=0):
    w, slots = w.copy(), {name: np.zeros_like(w) for name in rule.slots}
    for step, g in enumerate(gradients, first):
        rule.step(w, g, slots, step)
    return w, slots


@each_rule
@given(
    size=st.integers(0, 9),
    steps=st.integers(1, 4),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 99),
)
def test_a_vector_may_be_updated_in_parts(rule, size, steps, dtype, seed):
    generator = np.random.default_rng(seed)
    w = generator.normal(size=size).astype(dtype)
    gradients = generator.normal(size=(steps, size)).astype(dtype)
    kept = gradients.copy()
    whole, slots = run(rule, w, gradients)
    assert whole.dtype == dtype
    assert list(slots) == list(rule.slots)
    np.testing.assert_array_equal(gradients, kept)
    cut = int(generator.integers(size + 1))
    for part in (slice(0, cut), slice(cut, size)):
        some, _ = run(rule, w[part], gradients[:, part])
        np.testing.assert_allclose(some, whole[part], rtol=1e-6 if dtype == np.float32 else 1e-13)


@given(size=st.integers(1, 5), seed=st.integers(0, 99), lr=st.floats(1e-4, 1.0))
def test_plain_descent_is_a_step_down_the_gradient(size, seed, lr):
    w, g = np.random.default_rng(seed).normal(size=(2, size))
    np.testing.assert_allclose(run(optim.SGD(lr), w, [g])[0], w - lr * g)


@given(seed=st.integers(0, 99), steps=st.integers(1, 6), momentum=st.floats(0.1, 0.99))
def test_momentum_sums_what_has_been(seed, steps, momentum):
    w, *gradients = np.random.default_rng(seed).normal(size=(steps + 1, 3))
    moved, slots = run(optim.SGD(0.1, momentum), w, gradients)
    velocities = [
        sum(momentum ** (t - s) * gradients[s] for s in range(t + 1)) for t in range(steps)
    ]
    np.testing.assert_allclose(slots["velocity"], velocities[-1])
    np.testing.assert_allclose(moved, w - 0.1 * sum(velocities))
    ahead, _ = run(optim.SGD(0.1, momentum, nesterov=True), w, gradients)
    steps_ahead = sum(g + momentum * v for g, v in zip(gradients, velocities, strict=True))
    np.testing.assert_allclose(ahead, w - 0.1 * steps_ahead)


@given(seed=st.integers(0, 99), decay=st.floats(0, 0.5))
def test_weight_decay_is_a_gradient_towards_zero(seed, decay):
    w, g = np.random.default_rng(seed).normal(size=(2, 4))
    for plain, decayed in (
        (optim.SGD(0.1, 0.9), optim.SGD(0.1, 0.9, weight_decay=decay)),
        (optim.Adam(0.1), optim.Adam(0.1, weight_decay=decay)),
    ):
        np.testing.assert_allclose(run(decayed, w, [g])[0], run(plain, w, [g + decay * w])[0])


@given(seed=st.integers(0, 99), scale=st.floats(1e-2, 1e4))
def test_the_first_step_of_adam_is_of_size_lr_whatever_the_gradient_is(seed, scale):
    w, g = np.random.default_rng(seed).normal(size=(2, 4))
    moved, _ = run(optim.Adam(0.1, eps=1e-12), w, [scale * g])
    np.testing.assert_allclose(moved, w - 0.1 * np.sign(g), atol=1e-7)


@given(seed=st.integers(0, 99))
def test_adam_corrects_for_the_step_it_is_told(seed):
    w, g = np.random.default_rng(seed).normal(size=(2, 4))
    moved, slots = run(optim.Adam(0.1, betas=(0.9, 0.99)), w, [g], first=4)
    np.testing.assert_allclose(slots["m"], 0.1 * g)
    np.testing.assert_allclose(slots["v"], 0.01 * g**2)
    m, v = 0.1 * g / (1 - 0.9**5), 0.01 * g**2 / (1 - 0.99**5)
    np.testing.assert_allclose(moved, w - 0.1 * m / (np.sqrt(v) + 1e-8))


@each_rule
def test_a_parabola_is_descended(rule):
    w, slots = np.array([1.0, -2.0]), {name: np.zeros(2) for name in rule.slots}
    for step in range(200):
        rule.step(w, 2 * w, slots, step)
    assert (abs(w) < np.array([1.0, 2.0])).all()


def test_settings_are_fixed():
    with pytest.raises(FrozenInstanceError):
        RULES[0].lr = 1.0
    assert optim.SGD(0.1) == optim.SGD(0.1) != optim.SGD(0.2)


def test_a_rule_of_ones_own_is_settings_slots_and_a_step():
    @dataclass(frozen=True)
    class Signs(optim.Optimizer):
        lr: float = 0.5

        def __post_init__(self):
            self.require("lr", 0, strict=True)

        def step(self, values, grads, slots, step):
            values -= self.lr * np.sign(grads)

    moved, slots = run(Signs(), np.zeros(2), [np.array([3.0, -0.1])])
    np.testing.assert_array_equal(moved, [-0.5, 0.5])
    assert slots == {}
    with pytest.raises(InputError, match="Signs: lr must be greater than 0 and finite, not 0"):
        Signs(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD(0), "SGD: lr must be greater than 0 and finite, not 0"),
        (lambda: optim.SGD(-1.0), "not -1.0"),
        (lambda: optim.SGD(float("nan")), "not nan"),
        (lambda: optim.SGD(float("inf")), "not inf"),
        (lambda: optim.SGD("fast"), "lr must be .* not 'fast'"),
        (lambda: optim.SGD(0.1, momentum=1.0), "momentum must be at least 0 and less than 1"),
        (lambda: optim.SGD(0.1, nesterov=True), "nesterov needs a momentum"),
        (lambda: optim.SGD(0.1, weight_decay=-0.1), "weight_decay must be at least 0"),
        (lambda: optim.Adam(lr=0), "Adam: lr must be greater than 0"),
        (lambda: optim.Adam(betas=(0.9, 1.0)), "betas must be two numbers"),
        (lambda: optim.Adam(betas=(0.9,)), "betas must be two numbers"),
        (lambda: optim.Adam(betas=0.9), "betas must be two numbers"),
        (lambda: optim.Adam(eps=0), "eps must be greater than 0"),
        (lambda: optim.Adam(weight_decay=float("inf")), "weight_decay must be at least 0"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
