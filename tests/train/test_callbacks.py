"""Callbacks: the same whatever the strategy, and what they save, stop and restore is exact."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import DISTRIBUTED, MAKERS, OPTIMIZERS, State, samples, strategy, trainer

from minidl import data, optim
from minidl.errors import InputError
from minidl.nn import EVALUATE
from minidl.runtime import Processes
from minidl.train import (
    Callback,
    Checkpoints,
    EarlyStopping,
    Log,
    ReduceOnPlateau,
    Run,
    Trainer,
)

FIT: dict[str, Any] = {"batch_size": 5, "validation": samples(9)}
each_strategy = pytest.mark.parametrize("name", sorted(MAKERS))


def fitted(name: str, epochs: int, *callbacks: Any, **settings: Any) -> Trainer:
    trained = trainer(**settings)
    trained.fit(samples(), epochs=epochs, strategy=strategy(name), callbacks=callbacks, **FIT)
    return trained


@pytest.mark.parametrize(("last", "more"), [(1, 0), (1, 2), (3, 1)])
@each_strategy
def test_a_stopped_fit_is_the_shorter_fit(name: str, last: int, more: int) -> None:
    def stop(run: Run) -> None:
        if run.last.epoch == last - 1:
            run.stop("enough")

    stopped, short = fitted(name, last + more, stop), fitted(name, last)
    State.of(stopped).assert_equals(State.of(short))
    assert stopped.history.stopped == "enough"
    for each in (stopped, short):
        each.fit(samples(), epochs=1, strategy=strategy(name), **FIT)
        assert each.history.stopped == ""
    State.of(stopped).assert_equals(State.of(short))


@each_strategy
def test_the_best_epoch_is_restored(name: str) -> None:
    """A rate this high makes the loss go up and down; the best epoch is not the last one."""
    optimizer = optim.SGD(lr=2.0, momentum=0.9)
    stopping = EarlyStopping("validation loss", patience=2)
    stopped = fitted(name, 30, stopping, optimizer=optimizer)
    losses = [record.validation["loss"] for record in stopped.history.epochs if record.validation]
    best = int(np.argmin(losses))
    assert stopping.best_epoch == best
    assert len(losses) == best + 3 < 30
    assert stopped.evaluate(FIT["validation"])["loss"] == pytest.approx(losses[best], rel=1e-5)
    short = fitted(name, best + 1, optimizer=optimizer)
    for mine, theirs in (
        (stopped.weights(), short.weights()),
        (State.of(stopped).slots, State.of(short).slots),
    ):
        for each in mine:
            np.testing.assert_array_equal(mine[each], theirs[each])
    kept = fitted(
        name, 30, EarlyStopping(patience=2, restore_best=False), optimizer=optimizer
    ).evaluate(FIT["validation"])
    assert kept["loss"] == pytest.approx(losses[-1], rel=1e-5)


@each_strategy
def test_an_accuracy_is_better_when_it_is_more(name: str) -> None:
    stopping = EarlyStopping("training accuracy", patience=1)
    stopped = fitted(name, 40, stopping)
    found = [record.train["accuracy"] for record in stopped.history.epochs]
    assert found[-1] <= max(found[:-1]) == found[stopping.best_epoch]
    assert all(before < after for before, after in pairwise(found[:-1]))


@each_strategy
def test_the_trainer_is_the_fits_until_its_end(name: str, tmp_path: Path) -> None:
    """A callback that evaluated with the trainer took the weights away from the serial run."""
    used, path = trainer(), tmp_path / "early.safetensors"
    inputs = samples().inputs
    uses: list[Callable[[], Any]] = [
        lambda: used.evaluate(samples()),
        lambda: used.predict(inputs),
        used.weights,
        lambda: used.save(path),
        lambda: used.load(path),
        lambda: used.fit(samples(), epochs=1, batch_size=5),
    ]
    refused = []

    def use(run: Run) -> None:
        run.save(path)
        for each in uses:
            with pytest.raises(InputError, match="a fit is under way"):
                each()
            refused.append(each)

    used.fit(samples(), epochs=2, strategy=strategy(name), callbacks=[use], **FIT)
    assert refused == 2 * uses
    State.of(used).assert_equals(State.of(fitted(name, 2)))


@pytest.mark.parametrize(
    ("name", "optimizer"),  # each optimizer once, and the norm of all stages
    [*zip(cycle(sorted(MAKERS)), sorted(OPTIMIZERS), strict=False), ("pipeline", "clipped")],
)
def test_a_slowed_run_is_the_run_with_a_lower_rate(name: str, optimizer: str) -> None:
    """From the next step on; in further fits and from a checkpoint, too."""
    rule = OPTIMIZERS[optimizer]
    slowed = fitted(name, 1, lambda run: run.slow(0.25), optimizer=rule)
    assert slowed.rate == 0.25
    slowed.fit(samples(), epochs=1, strategy=strategy(name), **FIT)
    within = fitted(
        name, 2, lambda run: run.slow(0.25 if run.last.epoch == 0 else 1), optimizer=rule
    )
    State.of(slowed).assert_equals(State.of(within))

    other = fitted(name, 1, optimizer=rule)
    other.optimizer = rule.slowed(0.25)
    other.fit(samples(), epochs=1, strategy=strategy(name), **FIT)
    State.of(slowed).assert_equals(State.of(other))


def test_slowing_multiplies_the_rate_of_every_part() -> None:
    schedule = optim.Cosine(0.5, 10)
    rule = optim.Groups(
        optim.Clipped(optim.SGD(schedule), norm=1.0), ((("bias",), optim.Adam(0.1)),)
    ).slowed(0.5)
    assert isinstance(rule.optimizer, optim.Clipped)
    inner = rule.optimizer.optimizer
    assert isinstance(inner, optim.SGD)
    assert isinstance(inner.lr, optim.Schedule)
    assert [inner.lr(step) for step in range(12)] == [0.5 * schedule(step) for step in range(12)]
    assert rule.groups[0][1] == optim.Adam(0.05)


def test_a_plateau_lowers_the_rate_to_its_smallest() -> None:
    rates = []

    class Watching(Callback):
        def epoch(self, run: Run) -> None:
            rates.append(run.rate)

    plateau = ReduceOnPlateau("training loss", patience=2, least=100, factor=0.5, smallest=0.2)
    fitted("serial", 10, plateau, Watching())
    assert rates == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2]


@each_strategy
def test_a_checkpoint_between_epochs_continues_to_the_same_end(name: str, tmp_path: Path) -> None:
    whole = fitted(name, 5, Checkpoints(tmp_path / "run-{epoch}.safetensors", every=2))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[::2] == [f"run-{epoch}.safetensors" for epoch in (2, 4, 5)]
    histories = [re.fullmatch(r"(.*)\.[0-9a-f]{8}\.history", name) for name in names[1::2]]
    assert [found and found[1] for found in histories] == names[::2]
    for epochs in (2, 4, 5):
        resumed = trainer()
        resumed.load(tmp_path / f"run-{epochs}.safetensors")
        assert resumed.epoch == epochs
        if epochs < 5:
            resumed.fit(samples(), epochs=5 - epochs, strategy=strategy(name), **FIT)
        State.of(whole).assert_equals(State.of(resumed))


def test_a_checkpoint_keeps_the_lowered_rate(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    fitted("serial", 2, lambda run: run.slow(np.float32(0.5)), Checkpoints(path))
    loaded = trainer()
    loaded.load(path)
    assert loaded.rate == 0.25


@each_strategy
def test_the_log_holds_every_epoch(name: str, tmp_path: Path) -> None:
    lines, table = tmp_path / "log.jsonl", tmp_path / "log.csv"
    trained = fitted(name, 2, Log(lines), Log(table))
    trained.fit(
        samples(), epochs=1, strategy=strategy(name), callbacks=[Log(lines), Log(table)], **FIT
    )
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for row, record in zip(rows, trained.history.epochs, strict=True):
        assert row["training loss"] == record.train["loss"]
        assert row["validation accuracy"] == (record.validation or {})["accuracy"]
        assert row["strategy"] == trained.history.epochs[0].strategy
    with open(table, newline="") as file:
        assert [float(row["training loss"]) for row in csv.DictReader(file)] == [
            row["training loss"] for row in rows
        ]


def test_a_table_gets_columns_for_new_figures(tmp_path: Path) -> None:
    """They stood in lines of their own length, under the names of other figures."""
    path, made, without = tmp_path / "log.csv", trainer(), FIT | {"validation": None}
    for settings in (without, FIT, without):
        made.fit(samples(), epochs=2, callbacks=[Log(path)], **settings)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == list("123456")
    assert all(row["strategy"] == "serial" and None not in row for row in rows)
    assert [row["validation loss"] for row in rows] == [
        str(record.validation["loss"]) if record.validation else ""
        for record in made.history.epochs
    ]


def test_a_log_is_added_to_and_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each epoch read the whole table; a line that a crash has torn took the next one in."""
    table, lines = tmp_path / "log.csv", tmp_path / "log.jsonl"
    fitted("serial", 1, Log(table), Log(lines))
    before = table.stat().st_ino, table.read_text(), lines.read_text()
    with open(table, "a") as file:
        file.write("2,0.5")
    with open(lines, "a") as file:
        file.write('{"epoch": 2')

    def forbidden(*arguments: Any) -> None:
        raise AssertionError("the table is read")

    monkeypatch.setattr(csv, "DictReader", forbidden)
    fitted("serial", 2, Log(table), Log(lines))
    monkeypatch.undo()
    assert (table.stat().st_ino, table.read_text()[: len(before[1])]) == before[:2]
    with open(table, newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "1", "2"]
    assert lines.read_text().startswith(before[2] + '{"epoch": 2\n{"epoch": 1,')


@each_strategy
def test_a_callback_sees_the_model_of_its_epoch(name: str) -> None:
    seen = []

    def look(run: Run) -> None:
        with run.model() as model:
            seen.append(model.forward(data_.inputs, EVALUATE)[0])

    data_ = data.Dataset(samples(6).inputs.astype(np.float32), samples(6).targets)
    whole = fitted(name, 3, look)
    for epochs, outputs in enumerate(seen, start=1):
        np.testing.assert_array_equal(fitted(name, epochs).predict(data_), outputs)
    State.of(whole).assert_equals(State.of(fitted(name, 3)))


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_real_processes_stop_together(name: str) -> None:
    stopped = trainer()
    stopping = EarlyStopping(patience=1, least=100)
    stopped.fit(
        samples(),
        epochs=50,
        strategy=strategy(name, Processes(deadline=30)),
        callbacks=[stopping, lambda run: run.slow(0.5)],
        **FIT,
    )
    assert stopped.epoch == 2
    virtual = fitted(name, 50, EarlyStopping(patience=1, least=100), lambda run: run.slow(0.5))
    State.of(stopped).assert_equals(State.of(virtual))


@each_strategy
def test_what_a_callback_raises_ends_the_fit_after_its_epoch(name: str) -> None:
    def fail(run: Run) -> None:
        if run.last.epoch == 1:
            raise ZeroDivisionError("mine")

    failed = trainer()
    with pytest.raises(ZeroDivisionError, match="mine"):
        failed.fit(samples(), epochs=5, strategy=strategy(name), callbacks=[fail], **FIT)
    State.of(failed).assert_equals(State.of(fitted(name, 2)))


@each_strategy
def test_what_the_history_has_of_the_last_fit_is_never_of_the_one_before(name: str) -> None:
    made = fitted(name, 1, lambda run: run.stop("enough"))
    assert made.history.trace is not None
    made.history.seconds = 1e6

    def fail(run: Run) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        made.fit(samples(), epochs=1, strategy=strategy(name), callbacks=[fail], **FIT)
    assert made.history.trace is None
    assert not made.history.traffic
    assert not made.history.stopped
    assert made.history.seconds < 1e6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(patience=0), "EarlyStopping: patience must be a whole number"),
        (lambda: EarlyStopping(least=-1), "least must be a finite number of at least 0, not -1"),
        (lambda: EarlyStopping(mode="min"), "mode must be 'least' or 'most' or None, not 'min'"),  # type: ignore[arg-type]
        (lambda: ReduceOnPlateau(factor=1.5), "factor must be between 0 and 1, not 1.5"),
        (lambda: Checkpoints("x", every=0), "Checkpoints: every must be a whole number"),
        (lambda: Log("x.txt"), "must end in .csv or .jsonl"),
        (
            lambda: fitted("serial", 1, 3),
            "a callback is a Callback or a function of the run, not 3",
        ),
        (lambda: fitted("serial", 1, EarlyStopping), "a callback is a Callback or a function"),
        (lambda: fitted("serial", 1, EarlyStopping("loss")), "unknown figure 'loss'; known: "),
        (lambda: fitted("serial", 1, lambda run: run.slow(0)), "a factor above 0, not 0"),
        (lambda: fitted("serial", 1, lambda run: run.slow(np.inf)), "not inf; .* finite"),
        (lambda: fitted("serial", 2, lambda run: run.slow(1e-300)), "multiplied by 1e-300 already"),
    ],
)
def test_bad_settings_are_one_clear_error(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
