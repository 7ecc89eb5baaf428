"""The arithmetic of scaling: efficiency, overhead, time to accuracy, shares of a step."""

from __future__ import annotations

from dataclasses import replace
from math import isclose
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import models, nn, optim, strategy
from minidl.data import Dataset
from minidl.errors import InputError
from minidl.runtime import Trace, Virtual
from minidl.runtime.machine import Machine
from minidl.runtime.trace import KINDS, SPAN
from minidl.train import EpochRecord, History, Trainer
from minidl.train.benchmark import LEAST_EPOCHS, measure_scaling
from minidl.train.scaling import (
    Fit,
    Measured,
    Scaling,
    Spread,
    crowded,
    step_shares,
    time_to_accuracy,
    warm_seconds,
)

RATES = st.floats(1e-3, 1e6)
SECONDS = st.floats(1e-3, 1e3)
FITS = st.builds(
    lambda rate, reached: Fit(rate, 0.5, *((3, reached) if reached else (None, None)), {}),
    RATES,
    st.none() | SECONDS,
)


@st.composite
def rows(draw: Any) -> Measured:
    """As many runs as of the serial program, at most five."""
    pairs = draw(st.lists(st.tuples(FITS, FITS), min_size=1, max_size=5))
    mode = draw(st.sampled_from(["strong", "weak"]))
    workers, per_worker = draw(st.integers(1, 9)), draw(st.integers(1, 64))
    size = per_worker * (workers if mode == "weak" else 1)
    fits, base = zip(*pairs, strict=True)
    return Measured(mode, "ring", workers, workers, size, fits, base)


def record(epoch: int, seconds: float, accuracy: float | None) -> EpochRecord:
    validation = None if accuracy is None else {"accuracy": accuracy}
    return EpochRecord(epoch, {}, validation, seconds, 10, 2, "serial")


HISTORIES = st.lists(st.tuples(SECONDS, st.none() | st.floats(0, 1)), max_size=12).map(
    lambda found: [record(epoch, *each) for epoch, each in enumerate(found)]
)


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_a_spread_is_in_order_and_half_of_all_lie_on_each_side(values: list[float]) -> None:
    spread = Spread.of(values)
    assert min(values) == spread.least <= spread.median <= spread.most == max(values)
    assert 2 * sum(value < spread.median for value in values) <= len(values)
    assert 2 * sum(value > spread.median for value in values) <= len(values)


@given(row=rows())
def test_efficiency_is_speedup_over_workers_and_speedup_is_paired(row: Measured) -> None:
    for side in ("least", "median", "most"):
        share, times = getattr(row.efficiency, side), getattr(row.speedup, side)
        assert isclose(share * row.workers, times)
    ratios = [
        fit.samples_per_second / base.samples_per_second
        for fit, base in zip(row.fits, row.baseline, strict=True)
    ]
    assert row.speedup == Spread.of(ratios)
    assert replace(row, fits=row.baseline).speedup == Spread(1, 1, 1)


@given(row=rows())
def test_overhead_is_what_a_step_takes_beyond_perfect_scaling(row: Measured) -> None:
    row = replace(row, fits=row.fits[:1], baseline=row.baseline[:1])
    serial_rate = row.baseline[0].samples_per_second
    if row.mode == "strong":  # the same batch, shared by P
        perfect = row.batch_size / serial_rate / row.workers
    else:  # the lecture's definition: each has as many samples as one process had
        perfect = row.batch_size // row.workers / serial_rate
        assert isclose(row.efficiency.median, perfect / row.step_seconds.median)
    found = row.overhead_seconds.median
    assert isclose(found, row.step_seconds.median - perfect, abs_tol=1e-9 * (found**2) ** 0.5 + 1e-9
                   * row.step_seconds.median)  # fmt: skip


@given(row=rows())
def test_a_target_that_a_run_misses_is_never_a_number(row: Measured) -> None:
    missed = [fit for fit in row.fits if fit.seconds is None]
    assert row.reached == len(row.fits) - len(missed)
    assert (row.seconds is None) == (row.epochs is None) == bool(missed)
    if row.seconds is not None:
        assert row.seconds == Spread.of([fit.seconds or 0.0 for fit in row.fits])
    plain = row.to_json()
    assert (plain["seconds"] is None) == bool(missed)
    assert plain["reached"] == row.reached and plain["efficiency"]["median"] > 0


@given(records=HISTORIES, target=st.floats(0.01, 1))
def test_time_to_accuracy_ends_with_the_first_epoch_that_has_it(
    records: list[EpochRecord], target: float
) -> None:
    found = time_to_accuracy(records, target)
    tested = [(each.validation or {}).get("accuracy", -1.0) for each in records]
    if max(tested, default=-1.0) < target:
        assert found is None
        return
    assert found is not None
    epochs, seconds = found
    assert tested[epochs - 1] >= target and max(tested[: epochs - 1], default=-1.0) < target
    assert isclose(seconds, sum(warm_seconds(records)[:epochs]))
    later = [each.seconds for each in records[1:epochs]]
    assert seconds >= sum(later)
    slower = [replace(records[0], seconds=1e9), *records[1:]]
    if len(records) > 1:
        assert time_to_accuracy(slower, target) == found  # the first epoch is a warm-up
        assert min(r.seconds for r in records[1:]) <= warm_seconds(records)[0]


def test_an_accuracy_that_is_not_a_number_reaches_no_target() -> None:
    assert time_to_accuracy([record(0, 1.0, float("nan"))], 0.1) is None
    assert time_to_accuracy([], 0.5) is None


@st.composite
def traced(draw: Any) -> tuple[History, dict[str, float]]:
    """A history of drawn spans, and the shares that went into them."""
    steps = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    kinds = ("forward", "backward", "send", "wait")
    parts = draw(st.lists(st.integers(1, 9), min_size=4, max_size=4))
    idle = draw(st.integers(0, 5))
    whole = sum(parts) + idle
    ends = set(np.cumsum(steps) - 1)
    spans, now = [], 0.0
    for step in range(sum(steps)):
        scale = draw(st.integers(1, 3)) if step >= steps[0] else 100  # a cold first epoch
        for kind, part in zip(kinds, parts, strict=True):
            spans.append((now, now + part * scale, KINDS.index(kind), step, -1))
            now += part * scale
        now += idle * scale
        if step in ends:
            spans.append((now, now + 1000, KINDS.index("evaluate"), step, -1))
            spans.append((now + 1000, now + 2000, KINDS.index("wait"), step, -1))
            now += 2000
    server = np.array([(0.0, now, KINDS.index("wait"), 0, -1)], SPAN)
    trace = Trace((server, np.array(spans, SPAN)), ("server", "learner 1"))
    records = [replace(record(e, 1.0, None), steps=count) for e, count in enumerate(steps)]
    expected = dict(zip(kinds, np.array(parts) / whole, strict=True))
    left = any(count > 1 for count in steps[1:])
    return History(records, trace=trace), expected if left else {}


@given(case=traced())
def test_shares_leave_out_warm_up_evaluation_and_servers(
    case: tuple[History, dict[str, float]],
) -> None:
    history, expected = case
    found = step_shares(history)
    assert bool(found) == bool(expected)
    for kind, share in found.items():
        assert isclose(share, expected.get(kind, 0.0), abs_tol=1e-12)


def test_shares_need_a_trace() -> None:
    with pytest.raises(InputError, match="nothing has been trained"):
        step_shares(History())


MACHINE = Machine("a processor", 8, 2.0, 1 << 30, "Linux", {"Python": "3"}, 0.0)


@given(workers=st.integers(1, 9), more=st.integers(0, 1), usable=st.floats(0.5, 9))
def test_more_processes_than_cores_are_a_warning(workers: int, more: int, usable: float) -> None:
    machine = replace(MACHINE, usable=usable)
    warning = crowded(workers, workers + more, machine)
    assert bool(warning) == (workers + more > usable)
    fit = Fit(1.0, 0.9, None, None, {})
    row = Measured("weak", "ring", workers, workers + more, 8, (fit,), (fit,))
    scaling = Scaling(machine, 0.9, 5, 10, 100, (row, row))
    assert scaling.warnings == ([warning] if warning else [])
    assert isclose(scaling.standard_error, 0.03)
    loaded = replace(scaling, machine=replace(machine, load=3.0))
    assert "load 3.0 at the start" in loaded.warnings[-1]


def small() -> tuple[Dataset, Dataset]:
    x = np.random.default_rng(0).normal(size=(24, 3))
    every = Dataset(x, (x[:, 0] > 0).astype(np.int64), "signs")
    return every, every.take(slice(0, 12))


def trainer(seed: int) -> Trainer:
    """In float64, so that rounding turns no sample round."""
    model = models.mlp((4,), 2)
    return Trainer(model, nn.CrossEntropy(), optim.SGD(0.5), seed=seed, dtype="float64")


def test_all_take_turns_from_the_same_seeds_and_take_the_same_epochs() -> None:
    train, test = small()
    said: list[tuple[int, int, str]] = []
    found = measure_scaling(
        trainer,
        lambda count: strategy.RingAllReduce(count, runtime=Virtual()),
        train,
        test,
        serial=strategy.Serial(),
        workers=(1, 3, 2),
        batch_size=6,
        target=0.9,
        epochs=40,
        repeats=2,
        shown=lambda *what: said.append(what),
    )
    assert [(row.mode, row.workers, row.batch_size) for row in found.rows] == [
        ("one", 1, 6), ("one", 1, 6), ("strong", 2, 6), ("strong", 3, 6),
        ("weak", 2, 12), ("weak", 3, 18),
    ]  # fmt: skip
    assert [row.strategy for row in found.rows] == ["serial"] + ["ring"] * 5
    assert [row.ranks for row in found.rows] == [1, 1, 2, 3, 2, 3]
    assert [done for done, _, _ in said] == list(range(18)) and {whole for _, whole, _ in said} == {
        18
    }
    rounds = [[what for *_, what in said[6 * turn : 6 * turn + 6]] for turn in range(3)]
    assert all("warm-up" in what for what in rounds[0])
    names = [[what.partition(": ")[2] for what in turn] for turn in rounds]
    assert names[0] == names[1][::-1] == names[2]
    serial = found.rows[0]
    assert serial.speedup == Spread(1, 1, 1) and serial.reached == 2
    for row in found.rows:
        assert len(row.fits) == 2 and row.baseline == serial.fits
        if row.mode != "weak":  # equal weights, so equal epochs
            assert [fit.epochs for fit in row.fits] == [fit.epochs for fit in serial.fits]
            assert [fit.accuracy for fit in row.fits] == [fit.accuracy for fit in serial.fits]
        assert all(fit.accuracy >= 0.9 for fit in row.fits)


def test_runs_are_given_up_and_say_so() -> None:
    train = Dataset(np.ones((24, 3)), np.arange(24) % 2, "what nobody can tell apart")
    test = train
    found = measure_scaling(
        trainer, lambda count: strategy.RingAllReduce(count, runtime=Virtual()), train, test,
        serial=strategy.Serial(),
        workers=(2,), modes=("strong",), batch_size=12, target=1.0, epochs=LEAST_EPOCHS, repeats=1,
    )  # fmt: skip
    for row in found.rows:
        assert row.reached == 0 and row.seconds is None and row.throughput.median > 0


def test_a_target_reached_at_once_leaves_enough_epochs_to_time() -> None:
    train, test = small()
    made: list[Trainer] = []

    def kept(seed: int) -> Trainer:
        made.append(trainer(seed))
        return made[-1]

    found = measure_scaling(
        kept, lambda count: strategy.RingAllReduce(count, runtime=Virtual()), train, test,
        serial=strategy.Serial(),
        workers=(1,), batch_size=6, target=0.01, repeats=1,
    )  # fmt: skip
    assert [len(each.history.epochs) for each in made] == [1, 1, LEAST_EPOCHS, LEAST_EPOCHS]
    assert all(fit.epochs == 1 for row in found.rows for fit in row.fits)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": 0}, "above 0 and at most 1, not 0"),
        ({"target": 95}, "above 0 and at most 1, not 95"),
        ({"repeats": 0}, "repeats must be a whole number of at least 1"),
        ({"epochs": LEAST_EPOCHS - 1}, f"epochs must be a whole number of at least {LEAST_EPOCHS}"),
        ({"workers": (2, 0)}, "workers must be a whole number of at least 1"),
        ({"modes": ()}, "modes are among strong, weak, not none"),
        ({"modes": ("stronger",)}, "not stronger"),
        ({"batch_size": 13}, "weak scaling to 2 workers needs batches of 26: at least 2"),
        ({"batch_size": 1, "modes": ("strong",)}, "strong scaling to 2 workers needs batches of 1"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(given: Any, message: str) -> None:
    def never(_: int) -> Any:
        raise AssertionError("started")

    train, test = small()
    settings = {"serial": strategy.Serial(), "workers": (2,), "batch_size": 8} | given
    with pytest.raises(InputError, match=message):
        measure_scaling(never, strategy.RingAllReduce, train, test, **settings)


def test_a_task_without_an_accuracy_is_refused() -> None:
    x = np.ones((8, 2))
    dataset = Dataset(x, x, "points")
    with pytest.raises(InputError, match="unknown figure 'validation accuracy'"):
        measure_scaling(
            lambda seed: Trainer(nn.Sequential(nn.Linear(2)), nn.MSE(), optim.SGD(0.1)),
            strategy.RingAllReduce, dataset, dataset, serial=strategy.Serial(), workers=(1,),
            batch_size=4,
        )  # fmt: skip
