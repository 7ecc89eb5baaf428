"""The training call: what it leaves with the caller, and what it records."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import DISTRIBUTED, MAKERS, OPTIMIZERS, State, network, samples, strategy, trainer
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import data, kernels, models, nn, optim, rng
from minidl.data import Dataset
from minidl.errors import InputError, NotBuiltError
from minidl.kernels.cpu import cache
from minidl.runtime import Processes
from minidl.runtime.trace import KINDS
from minidl.strategy import Job, RingAllReduce, Strategy
from minidl.train import Trainer
from minidl.train.fitting import Fit

HOME = str(Path(minidl.__file__).parents[1])
EXAMPLE = """
import minidl as dl
from minidl import nn, optim, data, models, strategy

train, test = data.digits()                       # embedded; data.fashion_mnist() etc. where present
model = models.lenet5(classes=10)                 # an nn.Sequential
trainer = dl.Trainer(model, loss=nn.CrossEntropy(), optimizer=optim.SGD(lr=0.1, momentum=0.9), seed=0)
history = trainer.fit(train, epochs=5, batch_size=64, validation=test,
                      strategy=strategy.RingAllReduce(workers=4))
history.plot(); history.timeline("ring.png")      # loss curves; who did what, when
trainer.evaluate(test); trainer.save("lenet.safetensors")
"""  # noqa: E501


def run(script: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would: a file, without a guard, in its own folder."""
    path = folder / "script.py"
    path.write_text(script)
    environment = os.environ | {"PYTHONPATH": HOME, "MINIDL_KERNELS": "cpu"}
    return subprocess.run(
        [sys.executable, *options, str(path)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.parametrize("workers", [2, 4])
def test_the_example_of_the_readme_works_as_it_stands(workers: int, tmp_path: Path) -> None:
    script = EXAMPLE
    if workers != 4:
        script = script.replace("workers=4", f"workers={workers}").replace("epochs=5", "epochs=2")
    said = run(script + "print(trainer.evaluate(test)['accuracy'])", tmp_path)
    assert said.returncode == 0, said.stderr
    assert float(said.stdout) > (0.95 if workers == 4 else 0.8)
    assert said.stderr == ""  # nobody is there to see a progress bar
    for name in ("ring.png", "lenet.safetensors"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_importing_minidl_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("numba", "matplotlib", "rich", "typer", "multiprocess", "dill", "safetensors", "scipy")
    said = run(
        "import sys\nimport minidl\nfrom minidl import data, models, nn, optim, plans, strategy\n"
        f"print([name for name in {heavy} if name in sys.modules])",
        tmp_path,
    )
    assert said.stdout.strip() == "[]", said.stderr


def test_making_a_network_imports_no_compiler(tmp_path: Path) -> None:
    script = EXAMPLE.split("history =")[0] + "import sys; print('numba' in sys.modules)"
    assert run(script, tmp_path).stdout.strip() == "False"


@pytest.mark.parametrize("name", MAKERS)
def test_the_weights_end_in_the_callers_model(name: str) -> None:
    model = network()
    parts = list(model)
    made = trainer(model)
    made.fit(samples(), epochs=1, batch_size=8, strategy=strategy(name))
    assert made.model is model and list(model) == parts
    assert list(made.weights()) == list(model.parameters())
    for key, parameter in model.parameters().items():
        np.testing.assert_array_equal(parameter.value, made.weights()[key])
        assert np.shares_memory(parameter.value, made._existing().buffer.values)
    serial = trainer()
    serial.fit(samples(), epochs=1, batch_size=8)
    for key, array in serial.weights().items():
        np.testing.assert_allclose(made.weights()[key], array, rtol=1e-4, atol=1e-6)
        assert not np.array_equal(array, initial(key))


@given(
    count=st.integers(1, 12),
    batch_size=st.integers(1, 6),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    seed=st.integers(0, 99),
)
def test_training_is_the_loop_one_would_write(
    count: int, batch_size: int, optimizer: str, seed: int
) -> None:
    """Forward, backward and update for every batch: nothing is done before, after or besides."""
    made = trainer(optimizer=OPTIMIZERS[optimizer], seed=seed, dtype="float64")
    history = made.fit(samples(count), epochs=2, batch_size=batch_size)

    model, loss, rule = network(), nn.CrossEntropy(), OPTIMIZERS[optimizer]
    buffer = model.initialise((4,), seed=seed, dtype="float64")
    slots = {name: np.zeros(len(buffer)) for name in rule.slots}
    loader = data.Loader(samples(count), batch_size, seed=seed, dtype="float64")
    losses = []
    for step in range(2 * loader.steps):
        batch = loader.shard(*divmod(step, loader.steps))
        size = len(batch)
        outputs, saved = model.forward(batch.x, nn.Mode(True, seed, step, 0, size))
        each, loss_saved = loss.forward(outputs, batch.y)
        losses.append(each.mean())
        buffer.grads[...] = 0
        model.backward(loss.backward(np.full(size, 1 / size), loss_saved), saved)
        rule.step(buffer.values, buffer.grads, slots, step)
    np.testing.assert_allclose(history.losses, losses, rtol=1e-12)
    found = made._existing().buffer.values
    np.testing.assert_allclose(found, buffer.values, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", MAKERS)
def test_weights_do_not_travel_with_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cross in shared memory: what is copied to each worker holds none."""
    made = trainer()
    run_it = Strategy.run

    def watched(self: Strategy, job: Job, *rest: Any) -> Any:
        for parameter in job.model.parameters().values():
            with pytest.raises(NotBuiltError):
                _ = parameter.value
            with pytest.raises(NotBuiltError):
                _ = parameter.grad
        return run_it(self, job, *rest)

    monkeypatch.setattr(Strategy, "run", watched)
    made.fit(samples(), epochs=1, batch_size=8, strategy=strategy(name))


def initial(key: str) -> np.ndarray:
    fresh = trainer()
    fresh.predict(samples())
    return fresh.weights()[key]


def test_another_trainer_goes_on_from_the_weights_of_the_model() -> None:
    """And the first one from those that the other leaves: the model is what is trained."""
    first = trainer()
    first.fit(samples(), epochs=1, batch_size=8)
    second = Trainer(
        first.model, first.task, first.optimizer, seed=first.seed + 1, dtype=first.dtype.name
    )
    second.evaluate(samples())
    for name, weights in first.weights().items():
        np.testing.assert_array_equal(second.weights()[name], weights)
    second.fit(samples(), epochs=1, batch_size=8)
    assert first.evaluate(samples()) == second.evaluate(samples())
    for name, weights in second.weights().items():
        np.testing.assert_array_equal(first.weights()[name], weights)


def test_what_is_saved_are_the_weights_of_the_model(tmp_path: Path) -> None:
    """Also if another trainer was the last to train it."""
    first, path = trainer(), tmp_path / "first.safetensors"
    first.fit(samples(), epochs=1, batch_size=8)
    second = Trainer(first.model, first.task, first.optimizer, dtype=first.dtype.name)
    second.fit(samples(), epochs=1, batch_size=8)
    first.save(path)
    loaded = trainer()
    loaded.load(path)
    for name, weights in second.weights().items():
        np.testing.assert_array_equal(loaded.weights()[name], weights)


def test_weights_are_copies() -> None:
    made = trainer()
    with pytest.raises(NotBuiltError):
        made.weights()
    made.predict(samples())
    for array in made.weights().values():
        array[...] = np.nan
    assert np.isfinite(made.predict(samples())).all()


@given(
    count=st.integers(2, 23),
    batch_size=st.integers(1, 30),
    epochs=st.integers(1, 3),
    name=st.sampled_from(sorted(MAKERS)),
)
def test_the_history_tells_of_every_step_and_epoch(
    count: int, batch_size: int, epochs: int, name: str
) -> None:
    batch_size = max(batch_size, 2)
    made, dataset = trainer(), samples(count)
    fit: dict[str, Any] = {
        "batch_size": batch_size,
        "validation": samples(5),
        "strategy": strategy(name),
    }
    history = made.fit(dataset, epochs=epochs, **fit)
    assert history is made.history
    steps = math.ceil(count / batch_size)
    assert len(history.losses) == made.step == epochs * steps
    assert made.epoch == epochs
    sizes = [min(batch_size, count - start) for start in range(0, count, batch_size)]
    for number, record in enumerate(history.epochs):
        assert record.epoch == number
        assert record.samples == count
        assert record.strategy == name
        assert record.seconds > 0 and record.samples_per_second == count / record.seconds
        assert set(record.train) == {"loss", "accuracy"}
        losses = history.losses[number * steps : (number + 1) * steps]
        times = history.series("time")[number * steps : (number + 1) * steps]
        assert times == sorted(times) and times[0] > 0
        assert record.train["loss"] == pytest.approx(np.average(losses, weights=sizes))
        assert round(record.train["accuracy"] * count, 6).is_integer()
    assert history.last().validation == pytest.approx(made.evaluate(samples(5)), rel=1e-5)
    assert history.seconds >= sum(record.seconds for record in history.epochs) * 0.9
    assert history.trace is not None and len(history.traffic) == len(history.trace.names)
    made.fit(dataset, epochs=1, **fit)
    assert [record.epoch for record in made.history.epochs] == list(range(epochs + 1))
    assert len(made.history.losses) == made.step == (epochs + 1) * steps


@given(
    name=st.sampled_from(sorted(MAKERS)), parts=st.lists(st.integers(1, 2), min_size=2, max_size=3)
)
def test_several_fits_are_one_long_fit(name: str, parts: list[int]) -> None:
    whole, pieces = trainer(), trainer()
    whole.fit(samples(), epochs=sum(parts), batch_size=5, strategy=strategy(name))
    for epochs in parts:
        pieces.fit(samples(), epochs=epochs, batch_size=5, strategy=strategy(name))
    State.of(whole).assert_equals(State.of(pieces))


@pytest.mark.usefixtures("fast_kernels")
@pytest.mark.parametrize("name", MAKERS)
def test_equal_runs_are_equal_bit_for_bit(name: str) -> None:
    """With the kernels and the processes that users get."""
    states = []
    for _ in range(2):
        made = trainer(models.digits_cnn(classes=3))
        dataset = samples(20, (8, 8, 1))
        made.fit(dataset, epochs=2, batch_size=8, strategy=strategy(name, Processes(deadline=30)))
        states.append(State.of(made))
    states[0].assert_equals(states[1])


@given(seeds=st.lists(st.integers(0, 2**40), min_size=2, max_size=2, unique=True))
def test_other_seeds_give_other_runs(seeds: list[int]) -> None:
    one, two = (trainer(seed=seed) for seed in seeds)
    for each in (one, two):
        each.fit(samples(), epochs=1, batch_size=8)
    assert all(
        not np.array_equal(array, two.weights()[key])
        for key, array in one.weights().items()
        if array.ndim > 1
    )


def test_a_seed_is_its_number() -> None:
    one, two = trainer(seed=3), trainer(seed=np.int64(3))
    for each in (one, two):
        each.fit(samples(), epochs=np.int64(1), batch_size=np.int32(8))
    State.of(one).assert_equals(State.of(two))


@pytest.mark.parametrize("name", MAKERS)
def test_a_pair_of_arrays_is_a_data_set(name: str) -> None:
    whole, pair = samples(), (samples().inputs, samples().targets)
    one, two = trainer(), trainer()
    one.fit(whole, epochs=1, batch_size=8, strategy=strategy(name), validation=whole)
    two.fit(pair, epochs=1, batch_size=8, strategy=strategy(name), validation=pair)
    State.of(one).assert_equals(State.of(two))
    assert one.evaluate(pair) == one.evaluate(whole)


@given(count=st.sampled_from([1, 2, 255, 256, 257, 600]))
def test_evaluation_does_not_depend_on_how_samples_are_grouped(count: int) -> None:
    made, dataset = trainer(dtype="float64"), samples(count)
    made.fit(samples(), epochs=1, batch_size=8)
    outputs = np.concatenate(
        [made.predict(dataset.inputs[place : place + 1]) for place in range(count)]
    )
    np.testing.assert_allclose(made.predict(dataset), outputs, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(made.predict(dataset.inputs), made.predict(dataset))
    figures = made.evaluate(dataset)
    assert figures["accuracy"] == np.mean(outputs.argmax(axis=1) == dataset.targets)
    losses, _ = nn.CrossEntropy().forward(outputs, dataset.targets)
    assert figures["loss"] == pytest.approx(losses.mean())


def test_predictions_of_a_data_set_scale_its_inputs() -> None:
    bytes_ = rng.stream(0, "bytes").integers(0, 256, (9, 4)).astype(np.uint8)
    scaled = Dataset(bytes_, np.zeros(9, int), scale=1 / 255, offset=-0.5)
    made = trainer()
    np.testing.assert_allclose(
        made.predict(scaled), made.predict(bytes_ / 255 - 0.5), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("float64")])
def test_everything_has_the_type_asked_for(name: str, dtype: Any) -> None:
    seen = []

    class Watch(nn.Layer):
        def forward(self, x: Any, mode: Any) -> Any:
            seen.append(x.dtype)
            return x, None

        def backward(self, dy: Any, saved: Any) -> Any:
            seen.append(dy.dtype)
            return dy

    made = trainer(
        nn.Sequential(Watch(), nn.Linear(4), nn.BatchNorm(), Watch(), nn.Linear(3)), dtype=dtype
    )
    made.fit(samples(), epochs=1, batch_size=8, strategy=strategy(name), validation=samples())
    assert {array.dtype for array in made.weights().values()} == {np.dtype(dtype)}
    assert {array.dtype for array in made._existing().slots.values()} == {np.dtype(dtype)}
    assert made.predict(samples()).dtype == np.dtype(dtype)
    assert set(seen) == {np.dtype(dtype)}


@pytest.mark.parametrize("name", MAKERS)
def test_a_linear_law_is_learnt_by_regression(name: str) -> None:
    numbers = rng.stream(0, "law")
    x, w = numbers.normal(size=(60, 3)), np.array([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]])
    made = Trainer(
        nn.Sequential(nn.Linear(4), nn.Linear(2)), nn.MSE(), optim.Adam(lr=0.05), dtype="float64"
    )
    history = made.fit((x, x @ w + 1), epochs=80, batch_size=20, strategy=strategy(name))
    assert set(history.last().train) == {"loss"}
    assert made.evaluate((x, x @ w + 1))["loss"] < 1e-3
    np.testing.assert_allclose(made.predict(x), x @ w + 1, atol=0.2)


@pytest.mark.parametrize("name", MAKERS)
def test_one_sample_may_be_left_for_a_batch(name: str) -> None:
    """Other workers and micro-batches then have nothing to do, and all still agree."""
    one, serial = trainer(dtype="float64"), trainer(dtype="float64")
    one.fit(samples(3), epochs=2, batch_size=2, strategy=strategy(name), validation=samples(1))
    serial.fit(samples(3), epochs=2, batch_size=2, validation=samples(1))
    for key, array in serial.weights().items():
        np.testing.assert_allclose(one.weights()[key], array, rtol=1e-9, atol=1e-12)
    assert one.history.last().validation == pytest.approx(serial.history.last().validation)


@pytest.mark.parametrize("name", MAKERS)
def test_pictures_and_a_trace_are_written(name: str, tmp_path: Path) -> None:
    made = trainer()
    processes = Processes(deadline=30)
    history = made.fit(
        samples(), epochs=2, batch_size=5, strategy=strategy(name, processes), validation=samples()
    )
    history.plot(tmp_path / "new" / "curves.png")
    history.timeline(tmp_path / "new" / "timeline.png")
    history.timeline(tmp_path / "first.png", steps=(0, 1))
    for file in ("new/curves.png", "new/timeline.png", "first.png"):
        assert (tmp_path / file).read_bytes().startswith(b"\x89PNG")

    history.save_trace(tmp_path / "other" / "trace.json")
    events = json.loads((tmp_path / "other" / "trace.json").read_text())["traceEvents"]
    assert history.trace is not None
    rows = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M"}
    assert tuple(rows[rank] for rank in range(len(rows))) == history.trace.names
    spans = [event for event in events if event["ph"] == "X"]
    assert {span["tid"] for span in spans} == set(rows)
    assert {span["name"] for span in spans} <= set(KINDS)
    assert {"forward", "backward", "update", "evaluate"} <= {span["name"] for span in spans}
    assert min(span["ts"] for span in spans) == 0
    assert max(span["ts"] + span["dur"] for span in spans) <= history.seconds * 1e6
    assert {span["args"]["step"] for span in spans} == set(range(made.step))
    for rank in rows:
        mine = sorted((s["ts"], s["dur"]) for s in spans if s["tid"] == rank)
        assert all(length >= 0 for _, length in mine)
        computing = ("forward", "backward", "reduce", "update", "evaluate", "wait")
        assert_apart([s for s in spans if s["tid"] == rank and s["name"] in computing])


def assert_apart(spans: list[dict[str, Any]]) -> None:
    """A rank does one thing at a time."""
    spans = sorted(spans, key=lambda span: span["ts"])
    for before, after in pairwise(spans):
        assert before["ts"] + before["dur"] <= after["ts"] + 1, (before, after)


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_workers_compute_at_the_same_time(name: str) -> None:
    """One clock for all ranks: in a trace of real processes, each forward is in the fit's time."""
    made = trainer()
    history = made.fit(
        samples(), epochs=1, batch_size=8, strategy=strategy(name, Processes(deadline=30))
    )
    assert history.trace is not None
    starts = [spans["start"].min() for spans in history.trace.ranks]
    stops = [spans["stop"].max() for spans in history.trace.ranks]
    assert max(starts) < min(stops)


def test_before_any_fit_there_is_nothing_to_show() -> None:
    history = trainer().history
    with pytest.raises(InputError, match="no epoch has been trained"):
        history.last()
    with pytest.raises(InputError, match="nothing has been trained"):
        history.timeline()
    with pytest.raises(InputError, match="nothing has been trained"):
        history.save_trace("nowhere.json")
    assert not Path("nowhere.json").exists()


@pytest.mark.parametrize("name", MAKERS)
def test_progress_is_a_line_an_epoch_where_there_is_no_terminal(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = trainer()
    made.fit(samples(), epochs=2, batch_size=8, strategy=strategy(name), progress=False)
    assert capsys.readouterr() == ("", "")
    made.fit(
        samples(), epochs=2, batch_size=8, strategy=strategy(name), progress=True,
        validation=samples(),
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line.split() for line in err.splitlines() if " epoch " in line]
    assert [line[:3] for line in lines] == [[name, "epoch", "3/4"], [name, "epoch", "4/4"]]
    for line, record in zip(lines, made.history.epochs[2:], strict=True):
        assert line[3:5] == ["loss", f"{record.train['loss']:.4f}"]
        assert record.validation is not None
        assert line[5:7] == ["accuracy", f"{record.validation['accuracy']:.2%}"]
        assert line[-1] == "samples/s"


def test_the_digits_are_learnt() -> None:
    train, test = data.digits()
    made = Trainer(models.mlp([32]), nn.CrossEntropy(), optim.Adam(lr=0.005))
    made.fit(train, epochs=8, batch_size=64, strategy=strategy("ring"))
    assert made.evaluate(test)["accuracy"] > 0.93
    assert (made.predict(test).argmax(axis=1) == test.targets).mean() > 0.93


class Counted(nn.Layer):
    """Counts the compiled kernels that its process has, before the layers behind it."""

    kernels = 0

    def forward(self, x: nn.Array, mode: nn.Mode) -> tuple[nn.Array, Any]:
        Counted.kernels = sum(len(kernel.signatures) for kernel in cache.made)
        return x, None

    def backward(self, dy: nn.Array, saved: Any) -> nn.Array:
        return dy


class Counting(nn.CrossEntropy):
    """Tells what was counted."""

    def metrics(self, outputs: nn.Array, targets: nn.Array) -> dict[str, nn.Array]:
        return {"kernels": np.full(len(outputs), Counted.kernels, np.float64)}


def test_workers_load_their_kernels_before_they_train() -> None:
    """Also those that take over for large products on two threads."""
    made = trainer(nn.Sequential(Counted(), nn.Linear(256), nn.Linear(3)), loss=Counting())
    two = RingAllReduce(2, runtime=Processes(threads=2))
    with kernels.using("cpu"):
        made.fit(samples(128, (256,)), epochs=2, batch_size=64, strategy=two)
    steps = made.history.series("kernels")
    assert steps == [steps[0]] * 4
    assert steps[0] > 5


@pytest.mark.parametrize("kind", ["serial", "ring"])
def test_preparation_is_no_time_of_training(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = 0.5
    monkeypatch.setattr(Fit, "_prepare", lambda fit: time.sleep(slow))  # as if kernels compiled
    began = time.perf_counter()
    history = trainer().fit(samples(), epochs=2, batch_size=4, strategy=strategy(kind))
    took = time.perf_counter() - began
    assert history.preparation >= slow
    assert sum(epoch.seconds for epoch in history.epochs) <= history.seconds <= took - slow
