"""A server and learners under any rule, whatever overtakes what: exact, conserving, never stuck."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Case, assert_same_weights, dense_cases, image_cases, token_cases

from minidl import data, models, nn, optim, plans, rng, sim
from minidl.errors import InputError, PlanError
from minidl.nn import Array, Layer, Mode
from minidl.optim import MixedPrecision
from minidl.plans import Decision, Push, State
from minidl.runtime import Outcome, Processes, Runtime, Virtual
from minidl.runtime.requests import RankContext
from minidl.runtime.trace import KINDS
from minidl.strategy import ParameterServer, Serial
from minidl.strategy.rule_server import Fates
from minidl.tasks import Adversarial
from minidl.train import Trainer

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore:mixed precision computes in float16"),
]
ORDERS = st.builds(
    Virtual, st.sampled_from(["none", "unlimited"]), st.none() | st.integers(0, 10**6)
)
"""The virtual runtime, with drawn orders of who goes on next."""


@dataclass
class Watched:
    """A runtime whose last outcome can be looked at."""

    link = None
    runtime: Runtime
    outcomes: list[Outcome] = field(default_factory=list)

    @contextmanager
    def share(self, arrays: Mapping[str, np.ndarray]) -> Iterator[Mapping[str, np.ndarray]]:
        with self.runtime.share(arrays) as shared:
            yield shared

    def launch(self, programs: Any, **settings: Any) -> Outcome:
        self.outcomes.append(self.runtime.launch(programs, **settings))
        return self.outcomes[-1]

    @property
    def fates(self) -> Fates:
        found = self.outcomes[-1].results[0]
        assert isinstance(found, Fates)
        return found

    def messages(self, operation: str) -> int:
        """How many were sent, by all ranks."""
        sent = (each[operation].messages for each in self.outcomes[-1].traffic if operation in each)
        return sum(sent)


@dataclass(frozen=True)
class Recorded:
    """A rule that writes down, in a file, all that it is told and decides."""

    rule: Any
    path: Path

    def gradients(self, learners: int) -> int:
        return int(self.rule.gradients(learners))

    def start(self, learners: int) -> State:
        self.path.write_text("")
        return self.rule.start(learners)  # type: ignore[no-any-return]

    def push(
        self, state: State, learner: int, version: int, number: int = 0
    ) -> tuple[State, Decision]:
        after, decision = self.rule.push(state, learner, version, number)
        with self.path.open("a") as file:
            told = (learner, version, number)
            print(json.dumps([told, decision.apply, decision.drop]), file=file)
        return after, decision

    def told(self) -> list[tuple[Push, list[Push], list[Push]]]:
        """Each gradient, with those then applied and those then dropped."""
        lines = map(json.loads, self.path.read_text().splitlines())
        return [(Push(*p), [Push(*a) for a in apply], [Push(*d) for d in drop])
                for p, apply, drop in lines]  # fmt: skip


@st.composite
def rules(draw: st.DrawFn) -> tuple[int, Any]:
    """Some learners, and a rule for so many."""
    learners = draw(st.integers(1, 5))
    k, any_k = st.integers(1, learners), st.integers(1, 2 * learners)
    rule = st.one_of(
        st.builds(plans.KSync, k), st.builds(plans.KBatchSync, any_k), st.just(plans.Async()),
        st.builds(plans.KAsync, k), st.builds(plans.KBatchAsync, any_k),
        st.builds(plans.Softsync, k),
    )  # fmt: skip
    return learners, draw(rule)


@given(
    case=dense_cases() | image_cases() | token_cases(),
    workers=st.integers(1, 4),
    kind=st.sampled_from([plans.KSync, plans.KAsync]),
    runtime=ORDERS,
)
@settings(max_examples=12)
def test_rules_that_wait_for_all_equal_the_serial_run(
    case: Case, workers: int, kind: Any, runtime: Virtual
) -> None:
    how = ParameterServer(workers, kind(workers), runtime=runtime)
    serial, parallel = case.trained(Serial()), case.trained(how)
    assert_same_weights(serial, parallel)
    assert_same_weights(case.trained(replace(how, rule=plans.FullySync())), parallel)
    np.testing.assert_allclose(parallel.history.losses, serial.history.losses, rtol=1e-7)
    assert set(parallel.history.staleness) == {(0,) * workers}
    for trainer, again in ((serial, Serial()), (parallel, how)):
        trainer.fit(case.dataset, epochs=1, batch_size=case.batch_size, strategy=again)
    assert_same_weights(serial, parallel)


@settings(max_examples=3)
@given(case=dense_cases() | image_cases(), workers=st.integers(1, 3))
def test_processes_equal_the_virtual_run_bit_for_bit(case: Case, workers: int) -> None:
    how = ParameterServer(workers, plans.KSync(workers), runtime=Processes(deadline=20))
    real = case.trained(how)
    virtual = case.trained(replace(how, runtime=Virtual()))
    assert_same_weights(case.trained(Serial()), real)
    for name, weights in real.weights().items():
        np.testing.assert_array_equal(weights, virtual.weights()[name])
    # Not all gradients: learners are released after the last update, too, and may then push.
    sent = [each.history.bytes_sent(["parameters", "push"]) for each in (real, virtual)]
    assert sent[0] == sent[1]


@given(
    chosen=rules(),
    runtime=ORDERS,
    seed=st.integers(0, 9),
    batch_size=st.integers(5, 9),
    way=st.sampled_from([None, "gradient", "mean", "distance"]),
)
@settings(max_examples=40)
def test_every_gradient_is_used_once_and_as_the_rule_says(
    tmp_path: Path, chosen: Any, runtime: Virtual, seed: int, batch_size: int, way: Any
) -> None:
    """A line through the origin, its weights followed by hand: the gradient is x (w x - y)."""
    learners, rule = chosen
    numbers = rng.stream(seed, "line")
    train = data.Dataset(numbers.normal(size=(17, 1)), numbers.normal(size=(17, 1)))
    optimizer: optim.Optimizer = optim.SGD(0.05)
    if way:
        optimizer = optim.StalenessAware(optimizer, way, 1e-4 if way == "distance" else None)
    trainer = Trainer(
        nn.Sequential(nn.Linear(1, bias=False)), nn.MSE(), optimizer, seed=seed, dtype="float64"
    )
    trainer.predict(train.inputs)
    weights = [float(trainer.weights()["0.weight"][0, 0])]
    recorded, watched = Recorded(rule, tmp_path / "record"), Watched(runtime)
    history = trainer.fit(
        train, epochs=2, batch_size=batch_size, validation=train,
        strategy=ParameterServer(learners, recorded, runtime=watched),
    )  # fmt: skip

    loader = data.Loader(train, batch_size, seed=seed, dtype=np.dtype("float64"))
    waiting: set[Push] = set()
    applied = dropped = 0
    for push, apply, drop in recorded.told():
        assert push not in waiting
        waiting.add(push)
        waiting -= {*apply, *drop}
        applied, dropped = applied + len(apply), dropped + len(drop)
        if not apply:
            continue
        stale = tuple(len(weights) - 1 - each.version for each in apply)
        assert history.staleness[len(weights) - 1] == stale
        shares = [
            loader.shard(*divmod(each.number, loader.steps), each.learner, learners)
            for each in apply
        ]
        samples, total = sum(map(len, shares)), 0.0
        trust = optimizer.weights(stale, [abs(weights[-1] - weights[p.version]) for p in apply])
        for each, share, weight in zip(apply, shares, trust, strict=True):
            x, y = share.x[:, 0], share.y[:, 0]
            total += weight * float(np.sum(2 * x * (weights[each.version] * x - y)))
        weights.append(weights[-1] - 0.05 * total / max(1, samples))
    assert trainer.weights()["0.weight"][0, 0] == pytest.approx(weights[-1], rel=1e-9, abs=1e-12)
    each = -(-loader.steps * learners // rule.gradients(learners))
    assert [record.steps for record in history.epochs] == [each, each]
    assert {len(stale) for stale in history.staleness} == {rule.gradients(learners)}

    fates = watched.fates
    assert fates.applied == applied == sum(map(len, history.staleness))
    assert fates.dropped >= dropped
    assert watched.messages("gradients") == fates.applied + fates.dropped + fates.unfinished
    # Every mini-batch was begun with a message and ended with one; the last ended the run.
    assert watched.messages("parameters") == watched.messages("push") + learners
    assert not any(map(any, history.staleness)) or not isinstance(
        rule, (plans.KSync, plans.KBatchSync)
    )


@given(
    chosen=rules(),
    runtime=ORDERS,
    clock=st.sampled_from(["real", "virtual"]),
    way=st.sampled_from([None, "gradient", "mean", "distance"]),
    servers=st.integers(1, 3),
    batch_size=st.integers(5, 9),
)
@settings(max_examples=40)
def test_running_means_follow_what_was_seen_and_nothing_else(
    chosen: Any, runtime: Virtual, clock: Any, way: Any, servers: int, batch_size: int
) -> None:
    """However little a stale gradient is trusted, and where a last batch leaves some without any.

    All samples are alike, so that every batch that has any shows the same mean.
    """
    learners, rule = chosen
    train = data.Dataset(np.full((17, 1), 5.0), np.zeros((17, 1)))
    optimizer: optim.Optimizer = optim.SGD(0.01)
    if way:
        optimizer = optim.StalenessAware(optimizer, way, 1e-9 if way == "distance" else None)
    model = nn.Sequential(nn.BatchNorm(), nn.Linear(1))
    trainer = Trainer(model, nn.MSE(), optimizer, dtype="float64")
    how = ParameterServer(learners, rule, servers=servers, runtime=runtime)
    history = trainer.fit(train, epochs=3, batch_size=batch_size, strategy=how, clock=clock)
    seen = np.isfinite(history.losses).sum()
    assert trainer.weights()["0.mean"] == pytest.approx(5 * (1 - 0.9**seen))
    assert trainer.weights()["0.variance"] == pytest.approx(0.9**seen)


@given(chosen=rules(), runtime=ORDERS, stop=st.integers(1, 3))
@settings(max_examples=12)
def test_a_callback_can_stop_it_and_another_fit_goes_on(
    chosen: Any, runtime: Virtual, stop: int
) -> None:
    learners, rule = chosen
    train = data.Dataset(rng.stream(0, "x").normal(size=(11, 2)), np.arange(11) % 2)
    model = nn.Sequential(nn.Linear(3), nn.Dropout(0.3), nn.Tanh(), nn.Linear(2))
    trainer = Trainer(model, nn.CrossEntropy(), optim.Adam(0.01))
    how = ParameterServer(learners, rule, runtime=runtime)

    def enough(run: Any) -> None:
        if len(run.epochs) == stop:
            run.stop("enough")

    history = trainer.fit(train, epochs=9, batch_size=6, strategy=how, callbacks=[enough])
    assert (trainer.epoch, history.stopped) == (stop, "enough")
    assert trainer.step == len(history.steps) == len(history.staleness)
    trainer.fit(train, epochs=1, batch_size=6, strategy=how)
    assert trainer.epoch == stop + 1


@pytest.mark.parametrize(
    "rule", [plans.Async(), plans.KSync(2), plans.KBatchAsync(2)], ids=lambda r: type(r).__name__
)
def test_processes_learn(rule: Any) -> None:
    train, test = data.digits()
    trainer = Trainer(
        nn.Sequential(nn.Flatten(), nn.Linear(32), nn.ReLU(), nn.Linear(10)),
        nn.CrossEntropy(), optim.SGD(0.05),
    )  # fmt: skip
    watched = Watched(Processes(deadline=20))
    how = ParameterServer(3, rule, straggler=sim.Exponential(2000.0), runtime=watched)
    history = trainer.fit(train, epochs=6, batch_size=48, validation=test, strategy=how)
    assert trainer.evaluate(test)["accuracy"] > 0.8
    times = history.series("time")
    assert (np.diff(times) > 0).all()
    fates = watched.fates
    assert watched.messages("gradients") == fates.applied + fates.dropped + fates.unfinished


@dataclass
class Sluggish(Layer):
    """The identity, which takes its time both ways for all but the first samples of a batch."""

    seconds: float

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        time.sleep(self.seconds if mode.training and mode.first else 0)
        return x, mode.first

    def backward(self, dy: Array, saved: Any) -> Array:
        time.sleep(self.seconds if saved else 0)
        return dy


@pytest.mark.parametrize("by", ["sleep", "layers"])
def test_cancelled_work_stops(by: str) -> None:
    """Sleeping, or between layers: in the time of its first mini-batch, were that not cancelled,
    the slow learner sees the fast one make all updates."""
    slow = 10.0 if by == "layers" else 0.0
    body = [Sluggish(slow / 400) for _ in range(200)]
    train = data.Dataset(np.ones((40, 1)), np.ones((40, 1)))
    trainer = Trainer(nn.Sequential(nn.Linear(1), *body), nn.MSE(), optim.SGD(0.01))
    law: sim.Law = sim.Constant(0.05)
    if by == "sleep":
        law = sim.SlowWorkers(law, {1: 200.0})
    watched = Watched(Processes(deadline=20))
    how = ParameterServer(2, plans.KSync(1), straggler=law, runtime=watched)
    history = trainer.fit(train, epochs=4, batch_size=10, strategy=how)
    assert history.seconds < 9  # of training, without the start of workers
    fates = watched.fates
    assert (fates.applied, fates.dropped, fates.unfinished) == (32, 0, 0)
    assert fates.cancelled >= 2
    assert history.trace is not None
    spans = history.trace.ranks[2]  # of the slow learner
    lost = np.unique(spans["step"][spans["kind"] == KINDS.index("cancelled")])
    assert len(lost) >= 2
    beside = {KINDS[kind] for kind in spans["kind"][np.isin(spans["step"], lost)]}
    assert beside <= {"cancelled", "send", "receive", "wait"}  # nothing of them seems to count
    assert KINDS.index("sleep") in history.trace.ranks[1]["kind"]


@pytest.mark.parametrize("rule", [plans.FullySync(), plans.KSync(3), plans.KAsync(3)])
def test_learners_sleep_as_long_as_virtual_ones_work(rule: Any) -> None:
    """Each by its own times from the seed, mini-batch by mini-batch: none is shorter."""
    train, law = data.Dataset(np.ones((12, 1)), np.ones((12, 1))), sim.Exponential(100.0)
    trainer = Trainer(nn.Sequential(nn.Linear(1)), nn.MSE(), optim.SGD(0.01), seed=7)
    how = ParameterServer(3, rule, straggler=law, runtime=Processes(deadline=20))
    history = trainer.fit(train, epochs=2, batch_size=3, strategy=how)
    assert history.trace is not None
    for learner, spans in enumerate(history.trace.ranks[1:]):
        slept = spans[spans["kind"] == KINDS.index("sleep")][:8]
        drawn = [law.draw(7, learner, number) for number in range(8)]
        assert len(slept) == 8
        assert (slept["stop"] - slept["start"] >= np.array(drawn) - 1e-4).all()
    run = sim.simulate_server(rule, law, 3, 8, seed=7)
    assert (np.diff(history.series("time")) > 0).all()
    assert history.series("time")[-1] >= run.times[-1] - 1e-3


def test_stragglers_cost_k_sync_less() -> None:
    """It stops whoever is slow; fully sync cannot be quicker than its slowest sleeper."""
    train, law = data.Dataset(np.ones((24, 1)), np.ones((24, 1))), sim.Exponential(30.0)
    seconds = {}
    for rule in (plans.FullySync(), plans.KSync(1)):
        trainer = Trainer(nn.Sequential(nn.Linear(1)), nn.MSE(), optim.SGD(0.01))
        watched = Watched(Processes(deadline=20))
        how = ParameterServer(3, rule, straggler=law, runtime=watched)
        history = trainer.fit(train, epochs=2, batch_size=3, strategy=how)
        times = history.series("time")
        seconds[rule] = (times[-1] - times[0]) / (len(times) - 1)
    assert watched.fates.cancelled > 0
    assert seconds[plans.KSync(1)] < seconds[plans.FullySync()]


@dataclass(frozen=True)
class Deaf(plans.Async):
    """Releases nobody."""

    def push(
        self, state: State, learner: int, version: int, number: int = 0
    ) -> tuple[State, Decision]:
        after, decision = super().push(state, learner, version, number)
        return after, replace(decision, release=(), apply=())


@dataclass(frozen=True)
class Greedy(plans.Async):
    """Applies every gradient twice."""

    def push(
        self, state: State, learner: int, version: int, number: int = 0
    ) -> tuple[State, Decision]:
        after, decision = super().push(state, learner, version, number)
        return after, replace(decision, apply=decision.apply * 2)


@pytest.mark.parametrize("extra", ["cancel", "release"])
@given(runtime=ORDERS)
@settings(max_examples=5)
def test_a_rule_that_breaks_its_word_is_an_error(extra: str, runtime: Virtual) -> None:
    class Confused(plans.Async):
        def push(
            self, state: State, learner: int, version: int, number: int = 0
        ) -> tuple[State, Decision]:
            after, decision = super().push(state, learner, version, number)
            # It cancels whoever waits, or releases whoever is at work.
            others = (learner,) if extra == "cancel" else (learner, 1 - learner)
            return after, replace(decision, **{extra: others})

    train = data.Dataset(np.ones((6, 1)), np.ones((6, 1)))
    for rule, message in (
        (Deaf(), "no learner is at work, and update . will never come"),
        (Greedy(), r"applies or drops Push\(.*\), which is not there to be used"),
        (Confused(), "cancels learner .*not at work" if extra == "cancel" else "which is at work"),
    ):
        trainer = Trainer(nn.Sequential(nn.Linear(1)), nn.MSE(), optim.SGD(0.1))
        how = ParameterServer(2, rule, runtime=runtime)
        with pytest.raises(PlanError, match=message):
            trainer.fit(train, epochs=1, batch_size=4, strategy=how)


@dataclass(frozen=True)
class Stubborn(plans.KSync):
    """Applies what comes too late, too."""

    def push(
        self, state: State, learner: int, version: int, number: int = 0
    ) -> tuple[State, Decision]:
        after, decision = super().push(state, learner, version, number)
        if not decision.drop:
            return after, decision
        after = replace(after, version=after.version + 1)
        return after, Decision(after.version, apply=decision.drop)


def test_what_was_cancelled_cannot_be_applied() -> None:
    train = data.Dataset(np.ones((24, 1)), np.ones((24, 1)))
    trainer = Trainer(nn.Sequential(nn.Linear(1)), nn.MSE(), optim.SGD(0.1))
    how = ParameterServer(3, Stubborn(1), runtime=Virtual("unlimited"))
    with pytest.raises(PlanError, match=r"applies Push\(.*\), which it has cancelled"):
        trainer.fit(train, epochs=4, batch_size=6, strategy=how)


@dataclass
class ByHand:
    """A runtime in which the test drives the only learner, with weights that stay as they are."""

    link = None
    cancel: bool
    shared: dict[str, np.ndarray] = field(default_factory=dict)
    said: list[list[str]] = field(default_factory=list)
    grads: list[np.ndarray] = field(default_factory=list)

    @contextmanager
    def share(self, arrays: Mapping[str, np.ndarray]) -> Iterator[Mapping[str, np.ndarray]]:
        self.shared = {name: np.array(array) for name, array in arrays.items()}
        yield self.shared

    def launch(self, programs: Any, **settings: Any) -> Outcome:
        program = programs[1](RankContext(1, 2, self.shared))
        next(program)
        for _ in range(3):
            transfers = program.send(None).transfers
            self.said.append([each.operation for each in transfers])
            self.grads.append(transfers[1].array.copy())
        program.close()
        raise Seen


class Seen(Exception):
    """The test has what it wanted."""


def test_what_is_cancelled_on_the_way_back_leaves_no_gradient_behind() -> None:
    found = []
    for cancel in (True, False):
        runtime = ByHand(cancel)

        class Trap(Layer):
            """The identity; cancels the first mini-batch when half its gradients are there."""

            by: ByHand = runtime

            def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
                return x, None

            def backward(self, dy: Array, saved: Any) -> Array:
                if self.by.cancel and self.by.shared and not self.by.said:
                    self.by.shared["cancelled"][0] = 0
                return dy

        train = data.Dataset(rng.stream(0, "x").normal(size=(6, 2)), np.ones((6, 1)))
        trainer = Trainer(
            nn.Sequential(nn.Linear(2), Trap(), nn.Linear(1)), nn.MSE(), optim.SGD(0.1)
        )
        how = ParameterServer(1, plans.KSync(1), runtime=runtime)
        with pytest.raises(Seen):
            trainer.fit(train, epochs=1, batch_size=2, strategy=how)
        found.append(runtime)
    stopped, undisturbed = found
    whole = ["push", "gradients", "parameters"]
    assert stopped.said == [["push", "parameters"], whole, whole]
    assert undisturbed.said == [whole, whole, whole]
    for one, other in zip(stopped.grads[1:], undisturbed.grads[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_pause_both_ways_and_within_parts() -> None:
    class Enough(Exception):
        pass

    model = nn.Sequential(
        nn.Linear(2), nn.Residual(nn.Sequential(nn.Linear(2), nn.Tanh())), nn.Linear(2)
    )
    model.initialise((2,))
    calls: list[int] = []

    def one_pass(least: int) -> None:
        def pause() -> None:
            calls.append(len(calls))
            if len(calls) == least:
                raise Enough

        calls.clear()
        y, saved = model.forward(np.ones((1, 2), np.float32), Mode(True, pause=pause))
        model.accumulate(y, saved)

    one_pass(0)
    assert len(calls) == 2 * (3 + 2)
    for least in range(1, 11):
        with pytest.raises(Enough):
            one_pass(least)
        assert len(calls) == least


@pytest.mark.parametrize(
    ("rule", "settings", "message"),
    [
        (plans.KSync(3), {}, "k is a whole number from 1 to the 2 learners, not 3"),
        (plans.KSync(0), {}, "from 1 to the 2 learners, not 0"),
        (plans.KBatchAsync(0), {}, "k is a whole number of at least 1, not 0"),
        (plans.Softsync(3), {}, "n is a whole number from 1 to the 2 learners"),
        (
            plans.Async(),
            {
                "model": models.GAN(nn.Sequential(nn.Linear(1)), nn.Sequential(nn.Linear(1)), 2),
                "loss": Adversarial(),
            },
            "rule Async is for supervised tasks, not for Adversarial",
        ),
        (plans.Async(), {"precision": MixedPrecision()}, "rule Async computes in full precision"),
        (
            plans.KSync(1),
            {"model": nn.Sequential(nn.Linear(1), nn.BatchNorm(synchronised=True))},
            "rule KSync cannot normalise over the whole batch",
        ),
    ],
)
def test_bad_input_is_one_clear_error(rule: Any, settings: Any, message: str) -> None:
    settings = {"model": nn.Sequential(nn.Linear(1)), "loss": nn.MSE()} | settings
    trainer = Trainer(optimizer=optim.SGD(0.1), **settings)
    train = data.Dataset(np.ones((6, 1)), np.ones((6, 1)))
    with pytest.raises(InputError, match=message):
        trainer.fit(train, epochs=1, batch_size=4, strategy=ParameterServer(2, rule))
