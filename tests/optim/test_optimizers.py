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
    optim.AdamW(0.01),
    optim.Adagrad(0.1, weight_decay=0.01),
    optim.RMSprop(),
    optim.RMSprop(0.01, momentum=0.5, weight_decay=0.01),
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
        (optim.Adagrad(0.1), optim.Adagrad(0.1, weight_decay=decay)),
        (optim.RMSprop(0.1), optim.RMSprop(0.1, weight_decay=decay)),
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


def gradients_and_weights(seed, steps, size=3):
    w, *gradients = np.random.default_rng(seed).normal(size=(steps + 1, size))
    return w, gradients


@given(seed=st.integers(0, 99), steps=st.integers(1, 6), lr=st.floats(1e-3, 1))
def test_adagrad_divides_by_the_root_of_all_squares(seed, steps, lr):
    """Duchi et al. 2011, with diagonal matrices."""
    w, gradients = gradients_and_weights(seed, steps)
    moved, slots = run(optim.Adagrad(lr), w, gradients)
    for step, g in enumerate(gradients):
        w = w - lr * g / (np.sqrt(sum(past**2 for past in gradients[: step + 1])) + 1e-10)
    np.testing.assert_allclose(moved, w)
    np.testing.assert_allclose(slots["v"], sum(g**2 for g in gradients))


@given(seed=st.integers(0, 99), steps=st.integers(1, 6), momentum=st.sampled_from([0, 0.9]))
def test_rmsprop_divides_by_the_root_of_a_running_mean(seed, steps, momentum):
    """Tieleman and Hinton 2012."""
    w, gradients = gradients_and_weights(seed, steps)
    moved, slots = run(optim.RMSprop(0.1, alpha=0.9, momentum=momentum), w, gradients)
    assert set(slots) == ({"v", "velocity"} if momentum else {"v"})
    mean_square, velocity = np.zeros(3), np.zeros(3)
    for g in gradients:
        mean_square = 0.9 * mean_square + 0.1 * g**2
        velocity = momentum * velocity + g / (np.sqrt(mean_square) + 1e-8)
        w = w - 0.1 * velocity
    np.testing.assert_allclose(moved, w)


@given(seed=st.integers(0, 99), steps=st.integers(1, 6), decay=st.floats(0, 0.5))
def test_the_decay_of_adamw_stands_beside_the_gradient(seed, steps, decay):
    """Loshchilov and Hutter 2019: what decays is the weight, whatever its gradient's scale is."""
    w, gradients = gradients_and_weights(seed, steps)
    moved, slots = run(optim.AdamW(0.1, weight_decay=decay), w, gradients)
    _, slots_without = run(optim.Adam(0.1), w, gradients)
    m = v = np.zeros(3)
    for step, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        scaled = m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        w = w - 0.1 * decay * w - 0.1 * scaled
    np.testing.assert_allclose(moved, w)
    for name, slot in slots_without.items():
        np.testing.assert_array_equal(slots[name], slot)


@given(seed=st.integers(0, 99), steps=st.integers(1, 5), decay=st.sampled_from([0, 0.1]),
       sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
       dtype=st.sampled_from([np.float32, np.float64]))  # fmt: skip
def test_lars_takes_steps_as_long_as_a_part_of_each_parameter(seed, steps, decay, sizes, dtype):
    """You et al. 2017, algorithm 1."""
    w, gradients = gradients_and_weights(seed, steps, sum(sizes))
    ends = np.cumsum(sizes)
    places = {str(end): slice(end - n, end) for n, end in zip(sizes, ends, strict=True)}
    rule = optim.LARS(optim.Exponential(2.0, 0.5), momentum=0.8, weight_decay=decay, trust=0.01)
    moved, slots = w.astype(dtype), {"velocity": np.zeros(len(w), dtype)}
    velocity = np.zeros(len(w))
    for step, g in enumerate(gradients):
        rule.update(moved, g.astype(dtype), slots, step, places, np.nan)
        for place in places.values():
            part, slope = w[place], g[place]
            lengths = np.linalg.norm(part), np.linalg.norm(slope)
            rate = 0.01 * lengths[0] / (lengths[1] + decay * lengths[0])
            velocity[place] = 0.8 * velocity[place] + 2 * 0.5**step * rate * (slope + decay * part)
        w = w - velocity
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-10}
    np.testing.assert_allclose(moved, w, **tolerance)


def test_lars_leaves_zero_by_a_plain_step():
    for w, g in (([0.0, 0.0], [1.0, -2.0]), ([3.0, 4.0], [0.0, 0.0])):
        moved, _ = run(optim.LARS(0.1), np.array(w), [np.array(g)])
        np.testing.assert_allclose(moved, np.array(w) - 0.1 * np.array(g))


def test_rules_that_know_no_parameters_make_one_step_of_them_all():
    w = np.array([1.0, 2.0, 3.0])
    optim.SGD(0.1).update(w, np.ones(3), {}, 0, {"a": slice(0, 1), "b": slice(1, 3)}, 0)
    np.testing.assert_allclose(w, [0.9, 1.9, 2.9])


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
        (lambda: optim.AdamW(lr=0), "AdamW: lr must be greater than 0"),
        (lambda: optim.AdamW(betas=(1, 0)), "AdamW: betas must be two numbers"),
        (lambda: optim.Adagrad(lr=0), "Adagrad: lr must be greater than 0"),
        (lambda: optim.Adagrad(eps=0), "Adagrad: eps must be greater than 0"),
        (lambda: optim.Adagrad(weight_decay=-1), "Adagrad: weight_decay must be at least 0"),
        (lambda: optim.RMSprop(lr=0), "RMSprop: lr must be greater than 0"),
        (lambda: optim.RMSprop(alpha=1), "RMSprop: alpha must be at least 0 and less than 1"),
        (lambda: optim.RMSprop(momentum=-0.1), "RMSprop: momentum must be at least 0"),
        (lambda: optim.RMSprop(eps=0), "RMSprop: eps must be greater than 0"),
        (lambda: optim.RMSprop(weight_decay=-1), "RMSprop: weight_decay must be at least 0"),
        (lambda: optim.LARS(lr=0), "LARS: lr must be greater than 0"),
        (lambda: optim.LARS(1, momentum=1), "LARS: momentum must be at least 0 and less than 1"),
        (lambda: optim.LARS(1, weight_decay=-1), "LARS: weight_decay must be at least 0"),
        (lambda: optim.LARS(1, trust=0), "LARS: trust must be greater than 0"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
