"""What is frozen stays as it is, costs nothing, and lets the rest learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import OPTIMIZERS, State, samples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minidl import analysis, data, nn, optim, plans, strategy
from minidl.errors import CheckpointError, InputError
from minidl.models import mlp_gan
from minidl.runtime import Processes, Virtual
from minidl.strategy import Float16, Strategy, TopK
from minidl.tasks import Adversarial
from minidl.train import Run, Trainer

VIRTUAL = Virtual()
SYNCHRONOUS: dict[str, Strategy] = {
    "serial": strategy.Serial(micro_batches=2),
    "ring": strategy.RingAllReduce(2, runtime=VIRTUAL),
    "overlapped": strategy.RingAllReduce(2, bucket_bytes=100, overlap=True, runtime=VIRTUAL),
    "server": strategy.ParameterServer(2, runtime=VIRTUAL),
    "servers": strategy.ParameterServer(2, servers=2, runtime=VIRTUAL),
    "pipeline": strategy.Pipeline(3, micro_batches=2, runtime=VIRTUAL),
}
OTHERS: dict[str, Strategy] = {
    "float16": strategy.RingAllReduce(2, compression=Float16(), runtime=VIRTUAL),
    "top-k": strategy.RingAllReduce(2, compression=TopK(0.3), runtime=VIRTUAL),
    "async": strategy.ParameterServer(2, plans.Async(), runtime=VIRTUAL),
    "k-sync": strategy.ParameterServer(3, plans.KSync(2), servers=2, runtime=VIRTUAL),
}
RULES = {
    **{name: OPTIMIZERS[name] for name in ("momentum", "adam", "adamw", "clipped")},
    "lars": optim.LARS(lr=0.5, weight_decay=0.1),
    "groups": optim.without_decay(optim.AdamW(lr=0.01, weight_decay=0.1)),
}


class Deaf(nn.Layer):
    """Wants no gradient."""

    def backward(self, dy: nn.Array, saved: Any) -> nn.Array:
        raise AssertionError("a gradient came to where nothing learns")

    def forward(self, x: nn.Array, mode: nn.Mode) -> tuple[nn.Array, Any]:
        return x, None


def body(*between: nn.Layer) -> nn.Sequential:
    """Four layers with parameters, one of them with running means."""
    return nn.Sequential(
        nn.Linear(6, bias=False), *between, nn.BatchNorm(), nn.Tanh(),
        nn.Residual(nn.Linear(6)), nn.LayerNorm(),
    )  # fmt: skip


def head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5), nn.ReLU(), nn.Linear(3))


def made(model: nn.Layer, rule: str = "momentum", **how: Any) -> Trainer:
    how.setdefault("dtype", "float64")
    return Trainer(model, nn.CrossEntropy(), RULES[rule], **how)


@given(rule=st.sampled_from(sorted(RULES)), name=st.sampled_from(sorted(SYNCHRONOUS)))
@settings(max_examples=15)
def test_a_frozen_body_is_a_function_of_the_inputs_under_every_strategy(
    rule: str, name: str
) -> None:
    """Training the head on it equals training the head alone on the body's outputs."""
    front, back = body(Deaf()).freeze(), head()
    whole = made(nn.Sequential(*front, *back), rule)
    whole.predict(samples())
    features = front.forward(samples().inputs.astype(np.float64), nn.EVALUATE)[0]
    alone = made(head(), rule)
    alone.predict(data.Dataset(features, samples().targets))
    for (_, mine), theirs in zip(
        back.parameters().items(), alone.model.parameters().values(), strict=True
    ):
        theirs.value[...] = mine.value
    before = whole.weights()
    whole.fit(samples(), epochs=2, batch_size=8, strategy=SYNCHRONOUS[name])
    alone.fit(data.Dataset(features, samples().targets), epochs=2, batch_size=8)
    after, frozen = whole.weights(), len(front.parameters())
    for key in list(before)[:frozen]:
        np.testing.assert_array_equal(after[key], before[key])
    for key, value in zip(list(after)[frozen:], alone.weights().values(), strict=True):
        assert not np.array_equal(after[key], before[key])
        np.testing.assert_allclose(after[key], value, rtol=1e-9, atol=1e-12, err_msg=key)
    assert {len(slot) for slot in whole._existing().slots.values()} <= {6 * 5 + 5 + 5 * 3 + 3}


def composites(beside: type[nn.Layer]) -> list[nn.Layer]:
    """Of what learns and of what is frozen beside or before it, which ends with such a layer."""

    def front() -> nn.Layer:
        return nn.Sequential(nn.Linear(3), beside()).freeze()

    def late() -> nn.Layer:
        return nn.Sequential(front(), nn.Linear(3))

    return [
        nn.Residual(late(), front()),
        nn.Concat(front(), nn.Linear(3), late()),
        nn.AuxiliaryHeads(front(), nn.Linear(3), nn.Linear(3), heads=[late(), nn.Linear(3)]),
        nn.AuxiliaryHeads(front(), front(), heads=[late()]),
    ]


def test_composites_pass_no_gradient_to_where_nothing_learns() -> None:
    for model, plain in zip(composites(Deaf), composites(nn.Sequential), strict=True):
        grads = []
        for each, gradient in ((model, model.accumulate), (plain, plain.backward)):
            buffer = each.initialise((3,), dtype=np.float64)
            x = np.random.default_rng(0).normal(size=(4, 3))
            y, saved = each.forward(x, nn.Mode(training=True))
            gradient(np.random.default_rng(1).normal(size=y.shape), saved)
            grads.append(buffer.grads)
        assert grads[0].any()
        np.testing.assert_array_equal(*grads)


@given(
    frozen=st.sets(st.integers(0, 7), min_size=1),
    name=st.sampled_from(sorted(SYNCHRONOUS | OTHERS)),
)
@example(frozen={0, 1, 2, 3, 4}, name="pipeline")
@settings(max_examples=15)
def test_whatever_is_frozen_does_not_move_and_is_not_sent(frozen: set[int], name: str) -> None:
    def trained(how: Strategy) -> tuple[Trainer, dict[str, np.ndarray]]:
        model = nn.Sequential(*body(), *head())
        for place in frozen:
            model[place].freeze()
        trainer = made(model, "adamw")
        trainer.predict(samples())
        before = trainer.weights()
        trainer.fit(samples(), epochs=2, batch_size=7, strategy=how)
        return trainer, before

    how = (SYNCHRONOUS | OTHERS)[name]
    if frozen >= {0, 1, 3, 4, 5, 7}:
        with pytest.raises(InputError, match="every parameter of the model is frozen"):
            trained(how)
        return
    trainer, before = trained(how)
    for key, parameter in trainer.model.parameters().items():
        still = np.array_equal(parameter.value, before[key])
        if parameter.frozen or name in SYNCHRONOUS:  # what top-k keeps back may not have moved
            assert still == parameter.frozen, key
        assert parameter.frozen == (int(key.split(".")[0]) in frozen)
    for operation, sent in trainer.expected_bytes(samples(), 2, 7, how).items():
        assert sum(trainer.history.bytes_sent([operation])) == pytest.approx(sum(sent))
    if name in ("ring", "overlapped", "server", "servers") and 1 not in frozen:
        return  # BatchNorm normalises over slices there
    if name in SYNCHRONOUS:
        serial, _ = trained(SYNCHRONOUS["serial"])
        for key, value in serial.weights().items():
            np.testing.assert_allclose(trainer.weights()[key], value, rtol=1e-7, atol=1e-9)


def test_in_half_precision_too() -> None:
    found = {}
    for name in ("serial", "ring", "servers", "pipeline"):
        model = nn.Sequential(*body().freeze(), *head())
        trainer = made(model, "adam", dtype="float32", precision=optim.MixedPrecision(2.0**20))
        trainer.predict(samples())
        before = trainer.weights()
        with pytest.warns(UserWarning, match="float16"):
            trainer.fit(samples(), epochs=8, batch_size=8, strategy=SYNCHRONOUS[name])
        for key, parameter in model.parameters().items():
            assert np.array_equal(parameter.value, before[key]) == parameter.frozen
            assert parameter.value.dtype == np.float32
        found[name] = trainer.weights()
    for each in found.values():
        for key, value in found["serial"].items():
            np.testing.assert_allclose(each[key], value, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("side", ["generator", "discriminator"])
def test_one_side_of_a_game(side: str) -> None:
    images = data.Dataset(samples(12, (4, 4, 1)).inputs, np.zeros(12))
    for how in (strategy.Serial(), *(SYNCHRONOUS[name] for name in ("ring", "servers"))):
        gan = mlp_gan((4, 4, 1), latent=3, hidden=4)
        getattr(gan, side).freeze()
        trainer = Trainer(gan, Adversarial(), optim.Adam(0.01))
        trainer.evaluate(images)
        before = trainer.weights()
        trainer.fit(images, epochs=1, batch_size=6, strategy=how)
        for key, value in trainer.weights().items():
            assert np.array_equal(value, before[key]) == key.startswith(side)


def test_freeze_and_unfreeze_before_and_after_the_build() -> None:
    shared = nn.Linear(4)
    model = nn.Sequential(shared, nn.Sequential(nn.Linear(4), nn.ReLU()), shared, nn.Linear(2))
    with pytest.raises(InputError, match=r"Linear: frozen .* call freeze\(\) or unfreeze\(\)"):
        shared.frozen = True
    assert not model.frozen
    assert model.freeze() is model and model.frozen and model[1][0].frozen  # type: ignore[index]
    model[3].unfreeze()
    assert [each.frozen for each in model] == [True, True, True, False] and not model.frozen
    buffer = model.initialise((4,))
    assert buffer.trainable == 4 * 2 + 2 and list(buffer.places) == ["3.weight", "3.bias"]
    assert list(buffer.frozen) == ["0.weight", "0.bias", "1.0.weight", "1.0.bias"]
    assert buffer.spans("") == (slice(0, 10), slice(10, 10))
    model[2].unfreeze()  # the same layer as the first
    assert not model[0].frozen and model[0].weight.trainable
    counted = analysis.summary(model, (4,))
    assert (counted.parameters, counted.frozen, counted.trainable) == (50, 20, 30)
    assert [row.frozen for row in counted.rows] == [0, 20, 0, 0, 0]
    tied = nn.Sequential(nn.Linear(3), nn.Linear(3))
    tied.initialise((3,))
    tied[1].weight = tied[0].weight  # one parameter, of both
    tied[0].freeze()
    assert [name for name, p in tied.parameters().items() if p.trainable] == ["1.bias"]


def test_a_checkpoint_knows_what_is_frozen(tmp_path: Path) -> None:
    def fresh(*frozen: int) -> Trainer:
        model = nn.Sequential(*body(), *head())
        for place in frozen:
            model[place].freeze()
        return made(model)

    path = tmp_path / "frozen.safetensors"
    whole, part, resumed = fresh(0, 1), fresh(0, 1), fresh(0, 1)
    whole.fit(samples(), epochs=3, batch_size=7)
    part.fit(samples(), epochs=1, batch_size=7)
    part.save(path)
    resumed.load(path)
    resumed.fit(samples(), epochs=2, batch_size=7)
    State.of(whole).assert_equals(State.of(resumed))
    for frozen, here in (((), "nothing"), ((0,), "0.weight")):
        other = fresh(*frozen)
        with pytest.raises(
            CheckpointError, match=f"0.weight, .* frozen, and in this model {here} is"
        ):
            other.load(path)
    resumed.model.unfreeze()
    resumed.fit(samples(), epochs=1, batch_size=7)


def test_what_is_unfrozen_begins_with_slots_of_zero_and_the_rest_keeps_its_own() -> None:
    model = nn.Sequential(nn.Linear(4), nn.Tanh(), nn.Linear(3))
    model[0].freeze()
    trainer = made(model)
    trainer.fit(samples(), epochs=1, batch_size=8)
    before = trainer._existing().slots["velocity"].copy()
    model[0].unfreeze()
    trainer.predict(samples())
    learnt = trainer._existing()
    velocity = {
        name: learnt.slots["velocity"][place] for name, place in learnt.buffer.places.items()
    }
    assert not velocity["0.weight"].any() and not velocity["0.bias"].any()
    np.testing.assert_array_equal(
        np.concatenate((velocity["2.weight"], velocity["2.bias"])), before
    )
    trainer.fit(samples(), epochs=1, batch_size=8)


def test_layers_are_frozen_between_fits_not_within() -> None:
    model = nn.Sequential(nn.Linear(4), nn.Linear(3))
    trainer = made(model)

    def freeze(run: Run) -> None:
        model[0].freeze()

    with pytest.raises(InputError, match="frozen or unfrozen layers while the model is being"):
        trainer.fit(samples(), epochs=2, batch_size=8, callbacks=[freeze])
    assert trainer.epoch == 1
    before = trainer.weights()
    trainer.fit(samples(), epochs=1, batch_size=8)
    np.testing.assert_array_equal(trainer.weights()["0.weight"], before["0.weight"])


@pytest.mark.slow
@pytest.mark.timeout(100)
@pytest.mark.parametrize("name", ["ring", "servers", "pipeline"])
def test_on_real_processes(name: str) -> None:
    from dataclasses import replace

    def trained(how: Strategy) -> Trainer:
        trainer = made(nn.Sequential(*body(), *head()))
        trainer.model[0].freeze()  # type: ignore[index]
        trainer.model[1].freeze()  # type: ignore[index]
        trainer.fit(samples(), epochs=2, batch_size=7, strategy=how)
        return trainer

    how: Any = SYNCHRONOUS[name]
    real = trained(replace(how, runtime=Processes(deadline=30)))
    State.of(real).assert_equals(State.of(trained(how)))
