"""A run that is saved, loaded and continued is the run that was never interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import MAKERS, OPTIMIZERS, State, network, samples, strategy, trainer
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from minidl import models, nn, optim
from minidl.errors import CheckpointError, NotBuiltError
from minidl.runtime import Processes
from minidl.train import Trainer


def batch_norm_network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3), nn.Linear(3))


@given(
    name=st.sampled_from(sorted(MAKERS)),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    dtype=st.sampled_from(["float32", "float64"]),
    parts=st.lists(st.integers(1, 2), min_size=2, max_size=3),
    batch_size=st.integers(2, 9),
    seed=st.integers(0, 99),
    make=st.sampled_from([network, batch_norm_network]),
)
def test_parts_of_a_run_equal_the_whole_bit_for_bit(
    name: str,
    optimizer: str,
    dtype: str,
    parts: list[int],
    batch_size: int,
    seed: int,
    make: Callable[[], nn.Sequential],
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {"optimizer": OPTIMIZERS[optimizer], "dtype": dtype, "seed": seed}
    fit: dict[str, Any] = {"batch_size": batch_size, "validation": samples(7)}
    whole = trainer(make(), **settings)
    whole.fit(samples(13), epochs=sum(parts), strategy=strategy(name), **fit)

    resumed = trainer(make(), **settings)
    for epochs in parts:
        resumed.fit(samples(13), epochs=epochs, strategy=strategy(name), **fit)
        resumed.save(tmp_path / "run.safetensors")
        resumed = trainer(make(), **settings)
        resumed.load(tmp_path / "run.safetensors")
    State.of(whole).assert_equals(State.of(resumed))
    assert resumed.epoch == sum(parts)
    assert [record.epoch for record in resumed.history.epochs] == list(range(sum(parts)))


@given(
    names=st.lists(st.sampled_from(sorted(MAKERS)), min_size=2, max_size=3),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
)
def test_a_run_may_go_on_under_another_strategy(
    names: list[str], optimizer: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"optimizer": OPTIMIZERS[optimizer], "dtype": "float64"}
    serial = trainer(**settings)
    serial.fit(samples(), epochs=len(names), batch_size=5)
    switched = trainer(**settings)
    for name in names:
        switched.fit(samples(), epochs=1, batch_size=5, strategy=strategy(name))
        switched.save(tmp_path / "run.safetensors")
        switched = trainer(**settings)
        switched.load(tmp_path / "run.safetensors")
    expected, found = State.of(serial), State.of(switched)
    for key, array in expected.weights.items():
        np.testing.assert_allclose(found.weights[key], array, rtol=1e-9, atol=1e-11)
    for key, array in expected.slots.items():
        np.testing.assert_allclose(found.slots[key], array, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-9)


@pytest.mark.parametrize(
    "name", ["ring", *(pytest.param(n, marks=pytest.mark.slow) for n in ("server", "pipeline"))]
)
def test_real_processes_resume_bit_for_bit(name: str, tmp_path: Path) -> None:
    chosen = strategy(name, Processes(deadline=20))
    whole = trainer()
    whole.fit(samples(), epochs=2, batch_size=8, strategy=chosen)
    half = trainer()
    half.fit(samples(), epochs=1, batch_size=8, strategy=chosen)
    half.save(tmp_path / "run.safetensors")
    resumed = trainer()
    resumed.load(tmp_path / "run.safetensors")
    resumed.fit(samples(), epochs=1, batch_size=8, strategy=chosen)
    State.of(whole).assert_equals(State.of(resumed))


def trained(model: nn.Layer | None = None, **settings: Any) -> Trainer:
    """A trainer after one epoch."""
    made = trainer(model, **settings)
    made.fit(samples(), epochs=1, batch_size=8)
    return made


def test_a_loaded_trainer_evaluates_and_predicts_as_the_saved_one(tmp_path: Path) -> None:
    saved = trained(batch_norm_network())
    saved.save(tmp_path / "deep" / "folder" / "run.safetensors")
    loaded = trainer(batch_norm_network())
    loaded.load(tmp_path / "deep" / "folder" / "run.safetensors")
    np.testing.assert_array_equal(loaded.predict(samples()), saved.predict(samples()))
    assert loaded.evaluate(samples()) == saved.evaluate(samples())


def test_loading_goes_back_in_time(tmp_path: Path) -> None:
    one = trained()
    one.save(tmp_path / "run.safetensors")
    then = State.of(one)
    one.fit(samples(), epochs=2, batch_size=8)
    later = State.of(one)
    one.load(tmp_path / "run.safetensors")
    then.assert_equals(State.of(one))
    one.fit(samples(), epochs=2, batch_size=8)
    later.assert_equals(State.of(one))


def test_an_untrained_trainer_has_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(NotBuiltError, match="no weights yet"):
        trainer().save(tmp_path / "run.safetensors")
    assert not list(tmp_path.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    """What the files of a folder hold, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_save_that_fails_keeps_the_old_file_and_leaves_no_other(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, path = trained(), tmp_path / "run.safetensors"
    one.save(path)
    before = contents(tmp_path)
    one.fit(samples(), epochs=1, batch_size=8)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space left"):
        one.save(path)
    monkeypatch.undo()
    assert contents(tmp_path) == before
    one.save(path)
    assert sorted(contents(tmp_path)) == sorted(before)
    assert all(contents(tmp_path)[name] != old for name, old in before.items())


def assert_refused(path: Path, match: str, victim: Trainer | None = None) -> None:
    """Loading raises CheckpointError, and the trainer is what it was and still works."""
    for each in [victim or trained(), trainer()] if victim is None else [victim]:
        built = each._learnt is not None
        before = State.of(each) if built else None
        with pytest.raises(CheckpointError, match=match):
            each.load(path)
        assert (each._learnt is not None) == built
        if before is None:
            assert (each.epoch, each.history.losses) == (0, [])
        else:
            before.assert_equals(State.of(each))


@given(part=st.floats(0, 1, exclude_max=True))
def test_a_truncated_checkpoint_is_refused(part: float, tmp_path: Path) -> None:
    trained().save(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    path = tmp_path / "part"
    path.write_bytes(whole[: int(part * len(whole))])
    assert_refused(path, "part is no whole safetensors file", trainer())


@given(content=st.binary(max_size=200))
def test_any_other_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(content)
    assert_refused(path, "noise", trainer())


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "gone", "there is no checkpoint at .*gone")
    assert_refused(tmp_path, "there is no checkpoint at")
    assert_refused(tmp_path / ("long" * 100), "is no whole safetensors file .*too long")


@pytest.mark.parametrize("header", [None, {}, {"format": "pt"}, {"format": "minidl-0"}])
def test_tensors_of_another_program_are_refused(
    header: dict[str, str] | None, tmp_path: Path
) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "foreign", header)
    assert_refused(tmp_path / "foreign", "was not saved by this version of minidl")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"seed": 1}, "saved with seed 1, and this trainer has 0"),
        ({"dtype": "float64"}, "saved with dtype float64, and this trainer has float32"),
        ({"optimizer": optim.Adam()}, r"saved with optimizer Adam\(.*, and this trainer has SGD\("),
        ({"optimizer": optim.SGD(lr=0.01, momentum=0.9)}, r"optimizer SGD\(lr=0.01"),
    ],
)
def test_a_checkpoint_of_another_trainer_is_refused(
    settings: dict[str, Any], match: str, tmp_path: Path
) -> None:
    trained(**settings).save(tmp_path / "other")
    assert_refused(tmp_path / "other", match)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(6), nn.Linear(3)),
            "for another model: miss",
        ),
        (lambda: models.mlp([6, 7], classes=3), "saved for another model"),
        (batch_norm_network, "saved for another model: missing"),
        (lambda: nn.Sequential(*network()[:-1], nn.Linear(9)), r"float32 of shape \(5, 9\), not "),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(
    make: Callable[[], nn.Sequential], match: str, tmp_path: Path
) -> None:
    trained(make()).save(tmp_path / "other")
    assert_refused(tmp_path / "other", match)


def test_a_checkpoint_of_other_inputs_is_refused(tmp_path: Path) -> None:
    """Also where the model cannot take such inputs at all; it then is still free for its own."""
    made = trainer()
    made.fit(samples(9, (5,)), epochs=1, batch_size=3)
    made.save(tmp_path / "five")
    assert_refused(tmp_path / "five", "saved for another model", trained())

    images = trainer(nn.Sequential(nn.Conv2d(2, 3), nn.Flatten(), nn.Linear(3)))
    assert_refused(tmp_path / "five", "saved for another model", images)
    images.fit(samples(9, (4, 4, 1)), epochs=1, batch_size=3)


def test_a_refused_checkpoint_leaves_the_model_free_for_other_data(tmp_path: Path) -> None:
    trained(nn.Sequential(nn.Linear(6), nn.Linear(3))).save(tmp_path / "other")
    fresh = trainer()
    assert_refused(tmp_path / "other", "saved for another model", fresh)
    fresh.fit(samples(9, (2, 3)), epochs=1, batch_size=3)
    straight = trainer()
    straight.fit(samples(9, (2, 3)), epochs=1, batch_size=3)
    State.of(straight).assert_equals(State.of(fresh))
