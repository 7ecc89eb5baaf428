"""Real gradients at simulated times: exact where the rule is synchronous, conserved everywhere."""

from __future__ import annotations

import copy
import gc
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import Case, assert_same_weights, dense_cases, image_cases, token_cases

from minidl import data, nn, optim, plans, rng, sim, strategy
from minidl.errors import InputError
from minidl.optim import MixedPrecision
from minidl.runtime import Processes, Virtual
from minidl.strategy import AllReduce, ParameterServer, Serial
from minidl.tasks import Adversarial
from minidl.train import Trainer

pytestmark = pytest.mark.filterwarnings("ignore:mixed precision computes in float16")
LAWS: list[sim.Law] = [
    sim.Constant(1.0), sim.Exponential(1.0), sim.ShiftedExponential(1.0, 1.0), sim.Pareto(1.0, 2.5),
]  # fmt: skip


LINKED = Processes(link=plans.Link(0.0, 1e9))


def rules(learners: int) -> st.SearchStrategy[Any]:
    """Every rule, with settings for so many learners."""
    k = st.integers(1, learners)
    return st.one_of(
        st.just(plans.FullySync()), st.just(plans.Async()), st.builds(plans.KSync, k),
        st.builds(plans.KBatchSync, st.integers(1, 2 * learners)), st.builds(plans.KAsync, k),
        st.builds(plans.KBatchAsync, st.integers(1, 2 * learners)), st.builds(plans.Softsync, k),
    )  # fmt: skip


def virtual(case: Case, how: strategy.Strategy, epochs: int = 2) -> Trainer:
    model = nn.Sequential(*case.layers)
    trainer = Trainer(
        copy.deepcopy(model), case.loss, case.optimizer, seed=case.seed, dtype="float64"
    )
    trainer.fit(
        case.dataset, epochs=epochs, batch_size=case.batch_size, strategy=how, clock="virtual"
    )
    return trainer


@given(
    case=dense_cases() | image_cases() | token_cases(),
    workers=st.integers(1, 4),
    law=st.sampled_from(LAWS),
    rule=st.sampled_from(["fully", "k", "all-reduce"]),
)
def test_synchronous_rules_equal_the_serial_run(
    case: Case, workers: int, law: sim.Law, rule: str
) -> None:
    """Dropout, last batches that do not divide, and two fits in a row included."""
    how: strategy.Strategy = AllReduce(workers, straggler=law)
    if rule != "all-reduce":
        chosen = plans.KSync(workers) if rule == "k" else plans.FullySync()
        how = ParameterServer(workers, chosen, straggler=law)
    serial, simulated = case.trained(Serial()), virtual(case, how)
    assert_same_weights(serial, simulated)
    np.testing.assert_allclose(simulated.history.losses, serial.history.losses, rtol=1e-7)
    assert not any(map(any, simulated.history.staleness))
    for trainer, clock in ((serial, "real"), (simulated, "virtual")):
        trainer.fit(
            case.dataset, epochs=1, batch_size=case.batch_size, strategy=how if clock == "virtual"
            else Serial(), clock=clock,  # type: ignore[arg-type]
        )  # fmt: skip
    assert_same_weights(serial, simulated)


@st.composite
def runs(draw: st.DrawFn) -> tuple[int, Any, sim.Law, int]:
    workers = draw(st.integers(1, 5))
    return workers, draw(rules(workers)), draw(st.sampled_from(LAWS)), draw(st.integers(0, 9))


@given(chosen=runs(), batch_size=st.integers(5, 9))
def test_times_and_staleness_are_the_simulators(
    chosen: tuple[int, Any, sim.Law, int], batch_size: int
) -> None:
    workers, rule, law, seed = chosen
    numbers = rng.stream(seed, "data")
    train = data.Dataset(numbers.normal(size=(17, 2)), numbers.normal(size=(17, 1)))
    trainer = Trainer(nn.Sequential(nn.Linear(1)), nn.MSE(), optim.SGD(0.01), seed=seed)
    how = ParameterServer(workers, rule, straggler=law)
    history = trainer.fit(train, epochs=2, batch_size=batch_size, strategy=how, clock="virtual")
    passes = -(-17 // batch_size)
    each = -(-passes * workers // rule.gradients(workers))
    assert [record.steps for record in history.epochs] == [each, each]
    run = sim.simulate_server(rule, law, workers, 2 * each, seed=seed)
    np.testing.assert_allclose(history.series("time"), run.times)
    stale = run.staleness.reshape(2 * each, -1)
    np.testing.assert_array_equal(np.sort(history.staleness), np.sort(stale))
    assert {len(stale) for stale in history.staleness} == {rule.gradients(workers)}
    assert sum(record.seconds for record in history.epochs) == pytest.approx(run.times[-1])


@given(chosen=runs())
def test_each_update_is_the_mean_gradient_at_the_weights_that_were_given(
    chosen: tuple[int, Any, sim.Law, int],
) -> None:
    """Written again, by hand, for a line through the origin: the gradient is x (w x - y)."""
    workers, rule, law, seed = chosen
    numbers = rng.stream(seed, "line")
    x, y = numbers.normal(size=(2 * workers, 1)), numbers.normal(size=(2 * workers, 1))
    model = nn.Sequential(nn.Linear(1, bias=False))
    trainer = Trainer(model, nn.MSE(), optim.SGD(0.05), seed=seed, dtype="float64")
    trainer.predict(x)
    weights = [float(trainer.weights()["0.weight"][0, 0])]
    how = ParameterServer(workers, rule, straggler=law)
    trainer.fit((x, y), epochs=3, batch_size=workers, strategy=how, clock="virtual")
    order = _orders(len(x), seed)
    for event in sim.server_events(rule, law, workers, seed=seed):
        if len(weights) > trainer.step:
            break
        if isinstance(event, sim.Apply):
            steps = []
            for push in event.pushes:
                epoch, position = divmod(push.number, 2)
                sample = order(epoch)[position * workers + push.learner]
                steps.append(
                    2 * x[sample, 0] * (weights[push.version] * x[sample, 0] - y[sample, 0])
                )
            weights.append(weights[-1] - 0.05 * float(np.mean(steps)))
    assert trainer.weights()["0.weight"][0, 0] == pytest.approx(weights[-1], rel=1e-9)


class Counting(nn.Layer):
    """The identity; counts the mini-batches it has been trained with."""

    trained: ClassVar[int] = 0

    def build(self, shape: nn.Shape) -> nn.Shape:
        return shape  # or it would be tried out

    def forward(self, x: nn.Array, mode: nn.Mode) -> tuple[nn.Array, Any]:
        Counting.trained += mode.training
        return x, None

    def backward(self, dy: nn.Array, saved: Any) -> nn.Array:
        return dy


@given(chosen=runs(), epochs=st.integers(1, 3))
def test_a_run_costs_as_many_gradients_as_it_applies(
    chosen: tuple[int, Any, sim.Law, int], epochs: int
) -> None:
    """And one before it begins, to warm up; none of mini-batches that are cancelled or not done."""
    workers, rule, law, seed = chosen
    train = data.Dataset(np.ones((2 * workers, 1)), np.ones((2 * workers, 1)))
    trainer = Trainer(nn.Sequential(nn.Linear(1), Counting()), nn.MSE(), optim.SGD(0.1), seed=seed)
    how = ParameterServer(workers, rule, straggler=law)
    Counting.trained = 0
    history = trainer.fit(train, epochs=epochs, batch_size=workers, strategy=how, clock="virtual")
    assert Counting.trained == 1 + sum(map(len, history.staleness))
    assert Counting.trained == 1 + len(history.steps) * rule.gradients(workers)


def _orders(count: int, seed: int) -> Any:
    loader = data.Loader(data.Dataset(np.zeros((count, 1)), np.zeros(count)), 1, seed=seed)
    return loader.order


@given(
    workers=st.integers(1, 4), law=st.sampled_from(LAWS), kind=st.sampled_from(["sum", "server"])
)
def test_a_further_fit_takes_the_times_that_come_next(
    workers: int, law: sim.Law, kind: str
) -> None:
    """Those that real workers sleep in these steps, not again those of the first fit."""
    make: Any = AllReduce if kind == "sum" else ParameterServer
    train = data.Dataset(np.ones((9, 1)), np.ones((9, 1)))
    trainer = Trainer(nn.Sequential(nn.Linear(1)), nn.MSE(), optim.SGD(0.1), seed=4)
    how = make(workers, straggler=law)
    for _ in range(2):
        first, before = trainer.step, len(trainer.history.steps)
        trainer.fit(train, epochs=1, batch_size=4, strategy=how, clock="virtual")
        took = np.diff(trainer.history.series("time")[before:], prepend=0.0)
        steps = range(first, trainer.step)
        slowest = [max(law.draw(4, rank, step) for rank in range(workers)) for step in steps]
        np.testing.assert_allclose(took, slowest)


@given(chosen=runs(), epochs=st.integers(1, 3))
def test_a_run_is_repeatable_to_the_last_bit(
    chosen: tuple[int, Any, sim.Law, int], epochs: int
) -> None:
    workers, rule, law, seed = chosen
    case = Case(
        (nn.Linear(3), nn.Dropout(0.3), nn.Tanh(), nn.Linear(2)),
        data.Dataset(rng.stream(seed, "x").normal(size=(13, 2)), np.arange(13) % 2),
        nn.CrossEntropy(), optim.Adam(0.01), 6, seed,
    )  # fmt: skip
    one, two = (virtual(case, ParameterServer(workers, rule, law), epochs) for _ in range(2))
    for name, value in one.weights().items():
        np.testing.assert_array_equal(two.weights()[name], value)
    assert one.history.to_json() | {"epochs": 0} == two.history.to_json() | {"epochs": 0}


@pytest.mark.parametrize("buckets", [[15, 5, 10, 2], [32]])
@pytest.mark.parametrize("algorithm", ["ring", "tree", "halving-doubling"])
def test_an_all_reduce_over_links_takes_what_was_predicted(
    algorithm: str, buckets: list[int]
) -> None:
    """Each update takes a mini-batch and the buckets' way over the links, whatever the data."""
    dataset = data.Dataset(rng.stream(0, "x").normal(size=(12, 3)), np.arange(12) % 2)
    case = Case(
        (nn.Linear(5), nn.Tanh(), nn.Linear(2)), dataset, nn.CrossEntropy(), optim.SGD(0.1), 4, 0
    )
    link = plans.Link(latency=0.25, bandwidth=1e3)
    how = AllReduce(
        4,
        algorithm,
        bucket_bytes=1 if len(buckets) > 1 else None,
        straggler=sim.Constant(2.0),
        runtime=Processes(link=link),
    )
    times = virtual(case, how).history.series("time")
    plan = plans.all_reduce(4, algorithm)
    each = 2.0 + sum(
        plans.predicted_seconds(plan, 8 * length, link.latency, link.bandwidth)
        for length in buckets
    )
    np.testing.assert_allclose(times, each * np.arange(1, len(times) + 1))


def test_asynchronous_learners_learn() -> None:
    train, test = data.digits()
    for rule in (plans.Async(), plans.KSync(4), plans.KBatchAsync(4), plans.Softsync(2)):
        trainer = Trainer(
            nn.Sequential(nn.Flatten(), nn.Linear(32), nn.ReLU(), nn.Linear(10)),
            nn.CrossEntropy(), optim.SGD(0.05),
        )  # fmt: skip
        how = ParameterServer(8, rule, straggler=sim.Exponential(1.0))
        trainer.fit(train, epochs=4, batch_size=64, strategy=how, clock="virtual")
        assert trainer.evaluate(test)["accuracy"] > 0.85, rule


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_no_more_orders_of_the_data_are_kept_in_a_longer_run(clock: Any) -> None:
    kept: list[int] = []

    def count(run: Any) -> None:
        kept.append(sum(type(each) is data.Loader for each in gc.get_objects()))

    how = ParameterServer(2, plans.Async(), runtime=Virtual())
    trainer = Trainer(nn.Sequential(nn.Linear(1)), nn.MSE(), optim.SGD(0.1))
    train = data.Dataset(np.ones((6, 1)), np.ones((6, 1)))
    gc.freeze()  # what is older need not be looked through in every epoch
    try:
        trainer.fit(train, epochs=30, batch_size=3, strategy=how, callbacks=[count], clock=clock)
    finally:
        gc.unfreeze()
    assert max(kept[10:]) <= max(kept[:10])


@pytest.mark.parametrize("make", [ParameterServer, AllReduce])
def test_real_workers_sleep_as_the_law_says(make: Any) -> None:
    """And learn the same; in virtual time nobody sleeps."""
    train = data.Dataset(np.ones((6, 1)), np.ones((6, 1)))
    law, found = sim.Constant(0.05), []
    for straggler in (None, law):
        trainer = Trainer(nn.Sequential(nn.Linear(1)), nn.MSE(), optim.SGD(0.1))
        how = make(2, straggler=straggler, runtime=Virtual())
        history = trainer.fit(train, epochs=2, batch_size=3, strategy=how)
        found.append((sum(record.seconds for record in history.epochs), trainer.weights()))
    assert found[1][0] >= 4 * 0.05
    for name, value in found[0][1].items():
        np.testing.assert_array_equal(found[1][1][name], value)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: fitted(ParameterServer(2, plans.KSync(3))), "k is a whole number from 1 to the 2"),
        (lambda: fitted(ParameterServer(2, plans.KSync(0))), "from 1 to the 2 learners, not 0"),
        (lambda: fitted(strategy.Pipeline(2)), "'pipeline' does not run in virtual time"),
        (lambda: fitted(Serial()), "'serial' does not run in virtual time"),
        (lambda: fitted(ParameterServer(2), clock="unreal"), "clock is 'real' or 'virtual'"),
        (lambda: fitted(ParameterServer(9)), "a batch of 4 cannot be shared by 9 workers"),
        (
            lambda: fitted(ParameterServer(2), loss=Adversarial()),
            "the adversarial task trains a GAN|virtual time is for supervised tasks",
        ),
        (
            lambda: fitted(ParameterServer(2), precision=MixedPrecision()),
            "computes in full precision",
        ),
        (lambda: sim.Constant(-1.0), "-1"),
        (lambda: fitted(ParameterServer(2, runtime=LINKED)), "a server's link, which all learners"),
        (lambda: fitted(AllReduce(2, overlap=True, runtime=LINKED)), "use overlap=False"),
        (lambda: fitted(AllReduce(2), norm=True), r"use BatchNorm\(synchronised=False\)"),
        (lambda: fitted(ParameterServer(2), norm=True), "cannot normalise over the whole batch"),
    ],
)
def test_bad_input_is_one_clear_error(act: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        act()


def test_one_learner_sees_the_whole_batch() -> None:
    fitted(ParameterServer(1), norm=True)


def fitted(
    how: strategy.Strategy, clock: Any = "virtual", norm: bool = False, **settings: Any
) -> None:
    settings.setdefault("loss", nn.MSE())
    layers = (nn.Linear(1), *[nn.BatchNorm(synchronised=True)] * norm)
    trainer = Trainer(nn.Sequential(*layers), optimizer=optim.SGD(0.1), **settings)
    train = data.Dataset(np.ones((6, 1)), np.ones((6, 1)))
    trainer.fit(train, epochs=1, batch_size=4, strategy=how, clock=clock)
