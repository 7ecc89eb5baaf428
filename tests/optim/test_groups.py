"""Groups: each parameter gets its rule, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import nn, optim
from minidl.errors import InputError
from minidl.train import Trainer

RULES = [
    optim.SGD(0.1, momentum=0.5),
    optim.AdamW(0.1, weight_decay=0.1),
    optim.LARS(0.5),
    optim.RMSprop(0.1),
]
NAMES = ["0.weight", "0.bias", "1.gamma", "1.beta", "2.weight", "2.bias", "3.0.weight"]


def run(rule, w, gradients, places):
    w, slots = w.copy(), {name: np.zeros_like(w) for name in rule.slots}
    for step, g in enumerate(gradients):
        rule.update(w, g, slots, step, places, np.nan)
    return w


@given(
    names=st.permutations(NAMES),
    size=st.integers(1, 3),
    first=st.sampled_from(RULES),
    second=st.sampled_from(RULES),
    rest=st.sampled_from(RULES),
    seed=st.integers(0, 99),
)
def test_every_parameter_moves_as_under_its_own_rule(names, size, first, second, rest, seed):
    places = {name: slice(size * k, size * (k + 1)) for k, name in enumerate(names)}
    w, *gradients = np.random.default_rng(seed).normal(size=(4, size * len(names)))
    rule = optim.Groups(rest, ((("bias", "1.*"), first), (("2.*", "1.beta"), second)))
    found = run(rule, w, gradients, places)
    for name, place in places.items():
        own = rest
        if name in ("0.bias", "2.bias", "1.gamma", "1.beta"):
            own = first
        elif name == "2.weight":
            own = second
        alone = run(own, w[place], [g[place] for g in gradients], {name: slice(0, size)})
        np.testing.assert_allclose(found[place], alone, rtol=1e-12)


def test_what_follows_each_other_under_one_rule_is_one_pass():
    calls = []

    class Counting(optim.SGD):
        def step(self, values, grads, slots, step):
            calls.append(len(values))

    places = {name: slice(k, k + 1) for k, name in enumerate(NAMES)}
    rule = optim.Groups(Counting(1.0), ((("bias", "gamma", "beta"), Counting(2.0)),))
    rule.update(np.zeros(7), np.zeros(7), {}, 0, places, np.nan)
    assert calls == [1, 3, 1, 1, 1]


def test_biases_and_norms_do_not_decay():
    """With no gradient only the decay moves anything."""
    network = nn.Sequential(nn.Linear(3), nn.BatchNorm(), nn.Linear(2))
    buffer = network.initialise((2,))
    buffer.values[...] = 1
    learnt = slice(0, buffer.trainable)
    rule = optim.without_decay(optim.SGD(0.1, weight_decay=0.5))
    rule.check(buffer.places)
    rule.update(buffer.values[learnt], buffer.grads[learnt], {}, 0, buffer.places, np.nan)
    for name, parameter in network.parameters().items():
        decays = name.endswith("weight")
        np.testing.assert_allclose(parameter.value, 0.95 if decays else 1, err_msg=name)
    assert buffer.places.keys() == {n for n, p in network.parameters().items() if p.trainable}


def test_a_name_that_fits_nothing_is_refused_before_training():
    rule = optim.Clipped(optim.Groups(RULES[0], ((("wieght",), RULES[1]),)), norm=1.0)
    trainer = Trainer(nn.Sequential(nn.Linear(2)), nn.MSE(), rule)
    with pytest.raises(InputError, match=r"no parameter is matched by \('wieght',\).*0.weight, 0."):
        trainer.fit((np.zeros((4, 3)), np.zeros((4, 2))), epochs=1, batch_size=2)


def test_lists_and_tuples_make_the_same_groups():
    """Checkpoints know an optimizer by what it is written as."""
    one = optim.Groups(RULES[0], [(["bias"], RULES[1])])
    assert repr(one) == repr(optim.Groups(RULES[0], ((("bias",), RULES[1]),)))


def test_slots_are_those_of_all_rules_and_steps_need_places():
    rule = optim.Groups(RULES[0], ((("bias",), optim.Clipped(RULES[1], norm=1.0)),))
    assert rule.slots == ("m", "v", "velocity") and rule.needs_norm
    assert not optim.Groups(RULES[0], ()).needs_norm
    with pytest.raises(TypeError, match="call update"):
        rule.step(np.zeros(1), np.zeros(1), {}, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.Groups(0.1, ()), "Groups: optimizer must be an Optimizer, not 0.1"),
        (lambda: optim.Groups(RULES[0], ((("bias",), 0.1),)), "an Optimizer, not 0.1"),
        (lambda: optim.Groups(RULES[0], (("bias", RULES[0]),)), "patterns a tuple of text"),
        (lambda: optim.Groups(RULES[0], ((3, RULES[0]),)), "must be pairs"),
        (lambda: optim.Groups(RULES[0], (((3,), RULES[0]),)), "must be pairs"),
        (lambda: optim.Groups(RULES[0], 3), "must be pairs"),
        (
            lambda: optim.without_decay(optim.Clipped(RULES[0], 1.0)),
            "with a weight_decay is needed",
        ),
        (lambda: optim.without_decay(0.1), "with a weight_decay is needed, not 0.1"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
