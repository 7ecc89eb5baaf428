"""Layers replaced, added, removed, shared and renamed between two fits of one trainer."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import MAKERS, OPTIMIZERS, State, samples, strategy
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import nn, optim
from minidl.errors import CheckpointError, InputError, ShapeError
from minidl.train import Run, Trainer

FIT: dict[str, Any] = {"epochs": 1, "batch_size": 8}


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4), nn.Tanh(), nn.BatchNorm(), nn.Linear(4), nn.Dropout(0.2), nn.Linear(3)
    )


def made(model: nn.Layer | None = None, rule: str = "adam", **how: Any) -> Trainer:
    model = network() if model is None else model
    return Trainer(model, nn.CrossEntropy(), OPTIMIZERS[rule], **how)


def parts(trainer: Trainer) -> dict[int, list[np.ndarray]]:
    """Of each parameter, by its identity: a copy of its value and its slots."""
    learnt = trainer._existing()
    found = {}
    for name, parameter in learnt.buffer.parameters.items():
        slots = [slot[learnt.buffer.index[name]].copy() for slot in learnt.slots.values()]
        found[id(parameter)] = [parameter.value.copy(), *(slots if parameter.trainable else [])]
    return found


def own(layer: nn.Layer) -> dict[str, np.ndarray]:
    return {name.rpartition(".")[2]: p.value.copy() for name, p in layer.parameters().items()}


@given(
    edits=st.lists(
        st.tuples(
            st.sampled_from(["replace", "add", "remove", "swap", "share", "name", "freeze"]),
            st.integers(0, 4),
        ),
        min_size=1,
        max_size=5,
    ),
    name=st.sampled_from(sorted(MAKERS)),
)
@settings(max_examples=25)
def test_what_stays_keeps_weights_and_slots_and_what_is_new_begins(
    edits: list[tuple[str, int]], name: str
) -> None:
    """Every layer but the last maps four numbers to four, so that they fit in any order."""
    model = network()
    trainer = made(model)
    trainer.fit(samples(), **FIT, strategy=strategy(name))
    before = parts(trainer)
    for edit, place in edits:
        layers, inner = list(model.layers), place % max(1, len(model) - 1)
        if edit == "replace" and len(model) > 1:
            model[inner] = nn.Linear(4)
        elif edit == "add":
            model.layers = (*layers[:inner], nn.Linear(4), *layers[inner:])
        elif edit == "remove" and len(model) > 2:
            model.layers = (*layers[:inner], *layers[inner + 1 :])
        elif edit == "swap" and len(model) > 2:
            model.layers = (*layers[1:-1], layers[0], layers[-1])
        elif edit == "share" and name != "pipeline":
            model.layers = (layers[inner], *layers)
        elif edit == "name":
            model.layers = nn.Sequential(*layers).layers  # the same again
        elif edit == "freeze":
            model[inner].freeze()
    expected = network_of(model)
    after = parts(trainer)
    for key, parameter in trainer._existing().buffer.parameters.items():
        value, *slots = after[id(parameter)]
        if id(parameter) in before:
            np.testing.assert_array_equal(value, before[id(parameter)][0], err_msg=key)
            for mine, theirs in zip(slots, before[id(parameter)][1:], strict=False):
                np.testing.assert_array_equal(mine, theirs)
        else:
            np.testing.assert_array_equal(value, expected[key], err_msg=key)  # as drawn afresh
            assert not any(slot.any() for slot in slots)
    trainer.fit(samples(), **FIT)
    assert trainer.epoch == 2 and len(trainer.history.epochs) == 2


def network_of(model: nn.Sequential) -> dict[str, np.ndarray]:
    """The initial values of a network like this one."""
    twins: dict[int, nn.Layer] = {}
    for layer in model:
        fresh = nn.Linear(layer.out_features) if isinstance(layer, nn.Linear) else type(layer)()
        twins.setdefault(id(layer), fresh)
    twin = nn.Sequential(*(twins[id(layer)] for layer in model))
    twin.initialise((4,))
    return {name: p.value.copy() for name, p in twin.parameters().items()}


def test_a_replaced_layer_keeps_what_it_brings() -> None:
    """The issue's case: same shape, and values of its own."""
    trainer = made()
    trainer.fit(samples(), **FIT)
    old = own(trainer.model[3])  # type: ignore[index]
    brought = nn.Linear(4)
    brought.initialise((4,), seed=99)
    wanted = own(brought)
    trainer.model[3] = brought  # type: ignore[index]
    for key, value in trainer.weights().items():
        if key.startswith("3."):
            np.testing.assert_array_equal(value, wanted[key[2:]])
            assert key == "3.bias" or not np.array_equal(value, old[key[2:]])
    trainer.model[3] = nn.Linear(4)  # type: ignore[index]
    fresh = made()
    fresh.predict(samples())
    np.testing.assert_array_equal(trainer.weights()["3.weight"], fresh.weights()["3.weight"])


def test_a_head_of_another_shape_and_a_body_for_other_inputs(tmp_path: Path) -> None:
    trainer = made()
    trainer.fit(samples(), **FIT)
    before = trainer.weights()
    trainer.model[5] = nn.Linear(7)  # type: ignore[index]
    trainer.fit(samples(classes=7), **FIT)
    assert trainer.weights()["5.weight"].shape == (4, 7)
    assert trainer.predict(samples()).shape == (22, 7)
    trainer.model[0] = nn.Linear(4)  # type: ignore[index]
    trainer.fit(samples(shape=(9,), classes=7), **FIT)
    assert trainer.weights()["0.weight"].shape == (9, 4)
    assert trainer.weights()["3.weight"].shape == before["3.weight"].shape
    trainer.save(tmp_path / "now.safetensors")
    again = made(nn.Sequential(*network()[:-1], nn.Linear(7)))
    again.load(tmp_path / "now.safetensors")
    State.of(trainer).assert_equals(State.of(again))


def test_what_does_not_fit_is_refused_in_words_and_can_be_put_right() -> None:
    trainer = made()
    trainer.fit(samples(), **FIT)
    good, before = trainer.model[0], State.of(trainer)  # type: ignore[index]
    wrong = nn.Linear(6)
    trainer.model[0] = wrong  # type: ignore[index]
    for call in (trainer.weights, lambda: trainer.fit(samples(), **FIT)):
        with pytest.raises(ShapeError, match=r"was built with .* cannot take an input that needs"):
            call()
    assert "weight" not in vars(wrong)
    trainer.model[0] = good  # type: ignore[index]
    before.assert_equals(State.of(trainer))
    with pytest.raises(InputError, match="argument 1 must be a layer"):
        trainer.model.layers = (nn.Linear(4), "relu")
    named = nn.Sequential(nn.Linear(4), nn.Linear(3), names=["body", "head"])
    with pytest.raises(InputError, match="1 layers need as many names, not 2"):
        named.layers = (nn.Linear(4),)
    with pytest.raises(InputError, match="two layers have one name"):
        named.names = ["same", "same"]


def test_renamed_tied_and_exchanged_models() -> None:
    named = nn.Sequential(nn.Linear(4), nn.Linear(4), nn.Linear(3), names=["a", "b", "head"])
    trainer = made(named)
    trainer.fit(samples(), **FIT)
    before = parts(trainer)
    named.names = ["front", "b", "top"]
    assert list(trainer.weights())[::5] == ["front.weight", "top.bias"]
    for key, found in parts(trainer).items():
        for mine, theirs in zip(found, before[key], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    named[1].weight = named[0].weight  # tied
    trainer.fit(samples(), **FIT)
    assert list(trainer.weights()) == [
        "front.weight",
        "front.bias",
        "b.bias",
        "top.weight",
        "top.bias",
    ]
    other = made(nn.Sequential(*named[:2], nn.Tanh(), nn.Linear(3)))  # shares layers
    other.fit(samples(), **FIT)
    np.testing.assert_array_equal(trainer.weights()["front.weight"], other.weights()["0.weight"])
    trainer.fit(samples(), **FIT)
    part = made(named[:2])  # the part of a model that has been trained, under its own names
    np.testing.assert_array_equal(
        part.predict(samples()), named[:2].forward(samples().inputs.astype("f4"), nn.EVALUATE)[0]
    )
    trainer.model = nn.Sequential(nn.Linear(5), nn.ReLU(), nn.Linear(3))
    trainer.fit(samples(), **FIT)
    assert trainer.weights().keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_mixed_precision_keeps_its_scale() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = made(precision=optim.MixedPrecision(2.0**40), rule="momentum")
        trainer.fit(samples(), **FIT)
        before = trainer._existing().buffer.parameters["loss_scale"].value.copy()
        trainer.model[0] = nn.Linear(4)  # type: ignore[index]
        trainer.weights()
        after = trainer._existing().buffer.parameters["loss_scale"].value
        np.testing.assert_array_equal(after, before)
        assert after[2] > 0
        trainer.fit(samples(), **FIT)


def test_a_checkpoint_fits_the_model_as_it_is_now(tmp_path: Path) -> None:
    """Not as it was when it saw other inputs; and one that does not fit changes nothing."""

    def two() -> Trainer:
        return made(nn.Sequential(nn.Flatten(), nn.Linear(4), nn.Linear(3)))

    saved, trainer = two(), two()
    saved.fit(samples(shape=(7,)), **FIT)
    saved.save(tmp_path / "seven")
    trainer.fit(samples(shape=(1, 5)), **FIT)
    before = State.of(trainer)
    with pytest.raises(CheckpointError, match=r"another model: Linear \(1\) was built with .*5"):
        trainer.load(tmp_path / "seven")
    before.assert_equals(State.of(trainer))
    layers = trainer.model.layers  # type: ignore[attr-defined]
    assert layers[0].given == (1, 5)

    trainer.model[1] = nn.Linear(4)  # type: ignore[index]
    trainer.load(tmp_path / "seven")
    State.of(saved).assert_equals(State.of(trainer))
    trainer.save(tmp_path / "again")
    other = two()
    other.load(tmp_path / "again")
    State.of(saved).assert_equals(State.of(other))


def test_not_within_a_fit() -> None:
    trainer = made()

    def replace(run: Run) -> None:
        trainer.model[5] = nn.Linear(3)  # type: ignore[index]

    with pytest.raises(InputError, match="replaced, added, removed"):
        trainer.fit(samples(), **FIT, callbacks=[replace])
    trainer.fit(samples(), **FIT)
