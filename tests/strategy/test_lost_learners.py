"""A server that goes on without learners: who was lost is recorded, and no update is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl import data, nn, optim, plans, rng, sim
from minidl.errors import InputError, WorkerError
from minidl.nn import Array, Layer, Mode
from minidl.plans import Decision, State
from minidl.runtime import Processes, Virtual
from minidl.strategy import ParameterServer
from minidl.train import History, LearnerLost, Trainer

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def reference_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """They start at once; what a server does is the same."""
    monkeypatch.setenv("MINIDL_KERNELS", "reference")


@dataclass
class Doomed(Layer):
    """The identity, but the end of learners by their numbers from 0, each at a mini-batch.

    Each leaves a file in the folder `ended`.
    """

    ends: dict[int, tuple[int, str]]
    learners: int
    ended: Path

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        learner = mode.first * self.learners // mode.batch_size if mode.training else -1
        step, kind = self.ends.get(learner, (10**6, ""))
        if mode.step >= step:
            (self.ended / f"{learner}").touch()
        if mode.step >= step and kind == "raise":
            raise ZeroDivisionError("one over nothing")
        if mode.step >= step:
            os.kill(os.getpid(), getattr(signal, kind))
            time.sleep(30)
        return x, None

    def backward(self, dy: Array, saved: Any) -> Array:
        return dy


@dataclass(frozen=True)
class Dawdling(sim.Law):
    """Who is not doomed takes its time until all who are have met their end."""

    doomed: Collection[int]
    ended: Path

    def draws(self, seed: int, learner: int, first: int, count: int) -> np.ndarray:
        over = len(list(self.ended.iterdir())) >= len(self.doomed)
        return np.full(count, 0.0 if learner in self.doomed or over else 0.1)


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """Where the doomed leave files."""
    folder = tmp_path / "ended"
    folder.mkdir()
    return folder


def trainer(learners: int, ends: dict[int, tuple[int, str]], ended: Path = Path()) -> Trainer:
    body = [nn.Linear(6), nn.Tanh(), Doomed(ends, learners, ended), nn.Linear(2)]
    return Trainer(nn.Sequential(*body), nn.CrossEntropy(), optim.SGD(0.05))


def samples(count: int = 48) -> data.Dataset:
    numbers = rng.stream(0, "samples", count)
    return data.Dataset(numbers.normal(size=(count, 4)), numbers.integers(0, 2, count))


@pytest.mark.parametrize(
    ("rule", "gradients", "kind"),
    [
        (plans.KSync(2), 2, "raise"),
        (plans.KBatchSync(4), 4, "SIGKILL"),
        (plans.KAsync(2), 2, "SIGSTOP"),
        (plans.KBatchAsync(5), 5, "raise"),
        (plans.Async(), 1, "SIGKILL"),
        (plans.Softsync(1), 3, "raise"),
    ],
)
def test_the_others_make_all_updates(
    rule: Any, gradients: int, kind: str, ended: Path, tmp_path: Path
) -> None:
    struck = trainer(3, {1: (3, kind)}, ended)
    how = ParameterServer(
        3,
        rule,
        straggler=Dawdling([1], ended),
        on_failure="continue",
        runtime=Processes(deadline=2 if kind == "SIGSTOP" else 20),
    )
    history = struck.fit(samples(), epochs=5, batch_size=12, strategy=how)
    steps = [record.steps for record in history.epochs]
    assert len(history.steps) == sum(steps) and len(steps) == struck.epoch == 5
    assert {len(stale) for stale in history.staleness} == {gradients}
    (loss,) = history.lost
    assert loss.learner == "learner 2"
    end = "raised an exception: ZeroDivisionError" if kind == "raise" else rf".*{kind[3:].lower()}"
    assert re.match(rf"learner 2 .*{end}", loss.why, re.IGNORECASE)
    assert 0 <= loss.step < sum(steps) and loss.epoch == loss.step // steps[0]
    assert loss.time in (0, history.series("time")[loss.step])
    # The history keeps it, here and in a checkpoint.
    assert History.from_json(json.loads(json.dumps(history.to_json()))).lost == [loss]
    struck.save(tmp_path / "struck.safetensors")
    again = trainer(3, {1: (3, kind)})
    again.load(tmp_path / "struck.safetensors")
    assert again.history.lost == [loss]
    assert (again.history + again.history).lost == [loss, loss]


@pytest.mark.parametrize("rule", [plans.KSync(2), plans.KBatchSync(3), plans.KBatchAsync(3)])
def test_two_may_be_lost_at_once(rule: Any, ended: Path) -> None:
    struck = trainer(4, {0: (2, "SIGKILL"), 2: (2, "raise")}, ended)
    how = ParameterServer(
        4,
        rule,
        straggler=Dawdling([0, 2], ended),
        on_failure="continue",
        runtime=Processes(deadline=20, slots=1, slot_bytes=64),
    )
    history = struck.fit(samples(), epochs=6, batch_size=12, strategy=how)
    assert sorted(loss.learner for loss in history.lost) == ["learner 1", "learner 3"]
    assert len(history.steps) == sum(record.steps for record in history.epochs)
    assert {len(stale) for stale in history.staleness} == {rule.gradients(4)}
    # Pictures and counts of ranks that left none.
    sent = history.bytes_sent(["gradients"])
    assert sent[0] == sent[1] == sent[3] == 0 < min(sent[2], sent[4])
    history.timeline()


def test_when_too_few_are_left_the_last_one_is_named(ended: Path) -> None:
    struck = trainer(3, {0: (60, "raise"), 2: (3, "SIGKILL")}, ended)
    how = ParameterServer(
        3,
        plans.KSync(2),
        straggler=Dawdling([2], ended),
        on_failure="continue",
        runtime=Processes(deadline=20),
    )
    with pytest.raises(WorkerError) as caught:
        struck.fit(samples(), epochs=500, batch_size=12, strategy=how)
    assert re.match(r"learner 1 raised an exception(.|\n)*one over nothing", str(caught.value))
    assert any("KSync(k=2) needs 2 of the 3" in note for note in caught.value.__notes__)
    assert {loss.learner for loss in struck.history.lost} <= {"learner 1", "learner 3"}
    assert len(struck.history.epochs) == struck.epoch


@dataclass(frozen=True)
class Homemade:
    """A rule that says nothing of losses."""

    def gradients(self, learners: int) -> int:
        return 1

    def start(self, learners: int) -> State:
        return State(learners)

    def push(
        self, state: State, learner: int, version: int, number: int = 0
    ) -> tuple[State, Decision]:
        raise AssertionError


NOBODY = "with on_failure='continue' no learner can be lost: {} needs {} of the {} learners"


@pytest.mark.parametrize(
    ("workers", "rule", "message"),
    [
        (3, plans.FullySync(), NOBODY.format("FullySync()", 3, 3)),
        (3, plans.KSync(3), NOBODY.format("KSync(k=3)", 3, 3)),
        (2, plans.KAsync(2), NOBODY.format("KAsync(k=2)", 2, 2)),
        (1, plans.Async(), NOBODY.format("Async()", 1, 1)),
        (1, plans.KBatchSync(3), NOBODY.format("KBatchSync(k=3)", 1, 1)),
        (2, Homemade(), "by a method `lose`; Homemade has none"),
    ],
)
def test_where_nobody_can_be_spared_it_is_refused(workers: int, rule: Any, message: str) -> None:
    how = ParameterServer(workers, rule, on_failure="continue")
    with pytest.raises(InputError, match=re.escape(message)):
        trainer(workers, {}).fit(samples(), epochs=1, batch_size=12, strategy=how)


def test_several_servers_refuse_it() -> None:
    how = ParameterServer(3, plans.Async(), on_failure="continue", servers=2)
    with pytest.raises(InputError, match="on_failure='continue' is for 1 server, not for 2"):
        trainer(3, {}).fit(samples(), epochs=1, batch_size=12, strategy=how)


def test_where_nobody_is_lost_it_changes_nothing() -> None:
    weights = []
    for on_failure in ("raise", "continue"):
        undisturbed = trainer(3, {})
        how = ParameterServer(
            3,
            plans.KAsync(2),
            on_failure=on_failure,  # type: ignore[arg-type]
            runtime=Virtual(seed=1),
        )
        assert undisturbed.fit(samples(), epochs=2, batch_size=12, strategy=how).lost == []
        weights.append(undisturbed.weights())
    for name, values in weights[0].items():
        np.testing.assert_array_equal(values, weights[1][name])


def test_an_unknown_answer_to_failure_is_refused() -> None:
    with pytest.raises(InputError, match="on_failure is 'raise' or 'continue', not 'ignore'"):
        ParameterServer(2, plans.Async(), on_failure="ignore")  # type: ignore[arg-type]


def test_the_loss_is_shown(ended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    how = ParameterServer(
        2,
        plans.Async(),
        Dawdling([1], ended),
        on_failure="continue",
        runtime=Processes(deadline=20),
    )
    struck = trainer(2, {1: (0, "raise")}, ended)
    history = struck.fit(samples(), epochs=40, batch_size=12, strategy=how, progress=True)
    (loss,) = history.lost
    assert isinstance(loss, LearnerLost) and np.isfinite(loss.time)
    shown = " ".join(capsys.readouterr().err.split())
    assert "ZeroDivisionError: one over nothing" in shown
