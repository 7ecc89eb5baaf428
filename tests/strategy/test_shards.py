"""Parameters on several servers: the same weights, decisions and bytes, whoever holds what."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import (
    Case,
    assert_same_weights,
    dense_cases,
    image_cases,
    sequence_cases,
    token_cases,
)

from minidl import data, kernels, models, nn, optim, plans, rng, sim
from minidl.errors import InputError, WorkerError
from minidl.nn import parts_of
from minidl.optim import MixedPrecision
from minidl.plans import Decision, Push, State
from minidl.runtime import Processes, Virtual
from minidl.runtime.requests import RankContext
from minidl.strategy import ParameterServer, Serial
from minidl.strategy.shards import Shards
from minidl.tasks import Adversarial
from minidl.train import Run, Trainer

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore:mixed precision computes in float16"),
]
ORDERS = st.builds(
    Virtual, st.sampled_from(["none", "unlimited"]), st.none() | st.integers(0, 10**6)
)
CASES = dense_cases() | image_cases() | sequence_cases() | token_cases()


def assert_equal_weights(one: Trainer, other: Trainer) -> None:
    """Bit for bit."""
    expected, found = one.weights(), other.weights()
    assert list(expected) == list(found)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def most_servers(case: Case) -> int:
    """As many as the case's model has parameters."""
    model = nn.Sequential(*case.layers)
    model.build(case.dataset.sample_shape)
    return len(model.parameters())


def assert_shards_change_nothing(case: Case, how: ParameterServer, servers: int) -> None:
    """Bit for bit, by the definitions: compiled loops may round a vector's last elements otherwise.

    A norm's squares are added in another order.
    """
    with kernels.using("reference"):
        one = case.trained(replace(how, runtime=Virtual()))
        sharded = case.trained(replace(how, servers=min(servers, most_servers(case))))
    same = assert_same_weights if case.optimizer.needs_norm else assert_equal_weights
    same(one, sharded)


@given(
    sizes=st.dictionaries(st.sampled_from(["a.w", "a.b", "b.w", "b.b", "c", "d"]),
                          st.integers(1, 9), min_size=1),
    path=st.sampled_from(["", "a", "b"]),
    learners=st.integers(1, 4),
    draw=st.data(),
)  # fmt: skip
def test_shards_cover_what_every_phase_exchanges(
    sizes: dict[str, int], path: str, learners: int, draw: st.DataObject
) -> None:
    ends = np.cumsum([0, *sizes.values()]).tolist()
    index = {name: slice(*cut) for name, cut in zip(sizes, pairwise(ends), strict=True)}
    servers = draw.draw(st.integers(1, len(index)))
    shards = Shards.of(index, servers, learners)
    assert [name for names in shards.names for name in names] == list(index)
    assert sorted([*shards.servers, *range(1, 1 + learners)]) == [*range(servers + learners)]
    assert len(shards.ranks) == len(set(shards.ranks)) == servers + learners
    parts = shards.parts(index, path)
    assert tuple(parts) == shards.servers
    exchanged = np.concatenate(
        [np.full(sizes[name], at) for at, name in enumerate(index) if name in parts_of(index, path)]
        or [np.zeros(0)]
    )
    held = [exchanged[part] for part in parts.values()]
    np.testing.assert_array_equal(np.concatenate(held), exchanged)
    for values, names in zip(held, shards.names, strict=True):
        assert {list(index)[int(at)] for at in values} == {*names} & {*parts_of(index, path)}


@given(case=CASES, servers=st.integers(2, 9), workers=st.integers(1, 3), runtime=ORDERS)
@settings(max_examples=25)
def test_shards_equal_one_server_bit_for_bit(
    case: Case, servers: int, workers: int, runtime: Virtual
) -> None:
    assert_shards_change_nothing(case, ParameterServer(workers, runtime=runtime), servers)


@given(case=dense_cases(batch_norm=True), servers=st.integers(2, 9), synchronised=st.booleans())
@settings(max_examples=10)
def test_running_means_are_sharded_too(case: Case, servers: int, synchronised: bool) -> None:
    layers = tuple(
        nn.BatchNorm(synchronised=True) if synchronised and isinstance(each, nn.BatchNorm) else each
        for each in case.layers
    )
    how = ParameterServer(2, runtime=Virtual())
    assert_shards_change_nothing(replace(case, layers=layers), how, servers)


@given(servers=st.integers(2, 8), steps=st.integers(1, 2), runtime=ORDERS)
@settings(max_examples=8)
def test_a_game_of_two_networks_is_sharded(servers: int, steps: int, runtime: Virtual) -> None:
    def trained(servers: int, runtime: Virtual) -> Trainer:
        gan = models.GAN(
            nn.Sequential(nn.Linear(3), nn.Tanh(), nn.Linear(2)),
            nn.Sequential(nn.Linear(3), nn.BatchNorm(), nn.Linear(1)),
            2,
        )
        trainer = Trainer(gan, Adversarial(discriminator_steps=steps), optim.Adam(0.01), seed=1)
        x = rng.stream(0, "x").normal(size=(12, 2))
        how = ParameterServer(2, servers=servers, runtime=runtime)
        trainer.fit((x, np.zeros(12)), epochs=2, batch_size=5, strategy=how)
        expected = trainer.expected_bytes(data.Dataset(x, np.zeros(12)), 2, 5, how)
        for operation, each in expected.items():
            assert trainer.history.bytes_sent([operation]) == each
        return trainer

    with kernels.using("reference"):
        assert_equal_weights(trained(1, Virtual()), trained(servers, runtime))


@pytest.mark.parametrize("servers", [2, 4, 5])
def test_mixed_precision_skips_a_step_on_all_servers_or_none(servers: int) -> None:
    """Inputs are large, so weights overflow when biases do not.

    There are four parameters and the scale: five servers.
    """
    x = 100 * rng.stream(0, "x").normal(size=(24, 3))
    found = []
    for count in (1, servers):
        trainer = Trainer(
            nn.Sequential(nn.Linear(4), nn.Linear(2)), nn.CrossEntropy(),
            optim.Adam(0.01), precision=MixedPrecision(scale=2.0**16, every=9),
        )  # fmt: skip
        how = ParameterServer(2, servers=count, runtime=Virtual())
        with kernels.using("reference"):
            trainer.fit((x, np.arange(24) % 2), epochs=3, batch_size=6, strategy=how)
        expected = trainer.expected_bytes(data.Dataset(x, np.arange(24) % 2), 3, 6, how)
        for operation, each in expected.items():
            assert trainer.history.bytes_sent([operation]) == each
        found.append(trainer)
        scale, *_ = trainer._existing().buffer.parameters["loss_scale"].value
        assert scale < 2.0**14
    assert_equal_weights(*found)


@given(case=dense_cases() | image_cases(), kind=st.sampled_from([plans.FullySync, plans.KSync]))
@settings(max_examples=3)
def test_processes_equal_the_virtual_run_bit_for_bit(case: Case, kind: Any) -> None:
    rule = kind() if kind is plans.FullySync else kind(2)
    how = ParameterServer(2, rule, servers=2, runtime=Processes(deadline=20))
    real = case.trained(how)
    assert_equal_weights(case.trained(replace(how, runtime=Virtual())), real)
    # Rounding of gradients that are 0 must not become steps, as by LARS.
    case = replace(case, optimizer=optim.SGD(lr=0.005))
    assert_same_weights(case.trained(Serial()), case.trained(replace(how, runtime=Virtual())))


@given(case=CASES, servers=st.integers(2, 9), workers=st.integers(1, 3))
@settings(max_examples=15)
def test_bytes_equal_the_formula(case: Case, servers: int, workers: int) -> None:
    servers = min(servers, most_servers(case))
    how = ParameterServer(workers, servers=servers, runtime=Virtual())
    trainer = case.trained(how)
    expected = trainer.expected_bytes(case.dataset, 2, case.batch_size, how)
    for operation, each in expected.items():
        assert trainer.history.bytes_sent([operation]) == each
    every = tuple(map(sum, zip(*expected.values(), strict=True)))
    assert trainer.history.bytes_sent() == every
    sizes = [weights.size for weights in trainer.weights().values()]
    ranks = [0, *range(1 + workers, servers + workers)]
    shares = [expected["parameters"][rank] for rank in ranks]
    steps = 8 * len(trainer.history.losses) * workers
    assert sum(shares) == steps * sum(sizes)
    # No server sends more than an equal share and one parameter.
    assert max(shares) < steps * (sum(sizes) / servers + max(sizes))


@dataclass
class Recorded:
    """A rule that writes down, in a file of each server, all that it is told and decides."""

    rule: Any
    folder: Path
    file: Path | None = None

    def gradients(self, learners: int) -> int:
        return int(self.rule.gradients(learners))

    def start(self, learners: int) -> State:
        self.file = self.folder / uuid.uuid4().hex
        return self.rule.start(learners)  # type: ignore[no-any-return]

    def push(
        self, state: State, learner: int, version: int, number: int = 0
    ) -> tuple[State, Decision]:
        after, decision = self.rule.push(state, learner, version, number)
        assert self.file is not None
        with self.file.open("a") as file:
            print(
                json.dumps([(learner, version, number), decision.apply, decision.drop]), file=file
            )
        return after, decision

    def told(self, servers: int) -> list[tuple[Push, list[Push], list[Push]]]:
        """Each gradient, with those then applied and those then dropped; alike on all servers."""
        texts = [path.read_text() for path in self.folder.iterdir()]
        assert len(texts) == servers and len(set(texts)) == 1
        lines = map(json.loads, texts[0].splitlines())
        return [(Push(*p), [Push(*a) for a in apply], [Push(*d) for d in drop])
                for p, apply, drop in lines]  # fmt: skip


@st.composite
def rules(draw: st.DrawFn) -> tuple[int, Any]:
    """Some learners, and a rule for so many."""
    learners = draw(st.integers(1, 4))
    k, any_k = st.integers(1, learners), st.integers(1, 2 * learners)
    rule = st.one_of(
        st.builds(plans.KSync, k), st.builds(plans.KBatchSync, any_k), st.just(plans.Async()),
        st.builds(plans.KAsync, k), st.builds(plans.KBatchAsync, any_k),
    )  # fmt: skip
    return learners, draw(rule)


def only_told(program: Any, context: RankContext) -> Any:
    """A server's program that may not tell learners of a cancellation: another one does."""
    shared = {**context.shared, "cancelled": context.shared["cancelled"].view()}
    shared["cancelled"].flags.writeable = False
    return program(replace(context, shared=shared))


class Watched(Virtual):
    """The virtual runtime, whose last outcome can be looked at."""

    def __init__(self, inner: Virtual) -> None:
        super().__init__(inner.buffering, inner.seed)

    def launch(self, programs: Any, *, names: Any, **settings: Any) -> Any:
        programs = [
            partial(only_told, program) if name in ("server 1", "server 2") else program
            for name, program in zip(names, programs, strict=True)
        ]
        self.outcome = super().launch(programs, names=names, **settings)
        return self.outcome


@given(
    chosen=rules(),
    runtime=ORDERS,
    seed=st.integers(0, 9),
    batch_size=st.integers(5, 9),
    servers=st.integers(2, 3),
    way=st.sampled_from(["", "gradient", "distance", "clipped"]),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_servers_use_every_gradient_once_and_as_the_rule_says(
    tmp_path: Path, chosen: Any, runtime: Virtual, seed: int, batch_size: int, servers: int,
    way: str,
) -> None:  # fmt: skip
    """A line with weight v u and offset b, followed by hand along the recorded order.

    After the first epoch, a callback halves the rate; after the second, it ends the run.
    """
    learners, rule = chosen
    numbers = rng.stream(seed, "line")
    train = data.Dataset(numbers.normal(size=(17, 1)), numbers.normal(size=(17, 1)))
    optimizer: optim.Optimizer = optim.SGD(0.05)
    if way == "clipped":
        optimizer = optim.Clipped(optimizer, norm=0.3)
    elif way:
        optimizer = optim.StalenessAware(optimizer, way, 1e-4 if way == "distance" else None)
    model = nn.Sequential(nn.Linear(1, bias=False), nn.Linear(1))
    trainer = Trainer(model, nn.MSE(), optimizer, seed=seed, dtype="float64")
    trainer.predict(train.inputs)

    def vector() -> np.ndarray:
        return np.array([float(each.item()) for each in trainer.weights().values()])

    assert list(trainer.weights()) == ["0.weight", "1.weight", "1.bias"]
    weights = [vector()]
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    recorded, watched = Recorded(rule, folder), Watched(runtime)
    how = ParameterServer(learners, recorded, servers=servers, runtime=watched)

    def slower(run: Run) -> None:
        if len(run.epochs) == 2:
            run.stop("enough")
        run.slow(0.5)

    history = trainer.fit(
        train, epochs=9, batch_size=batch_size, validation=train, strategy=how, callbacks=[slower]
    )
    assert (trainer.epoch, history.stopped) == (2, "enough")

    loader = data.Loader(train, batch_size, seed=seed, dtype=np.dtype("float64"))
    for _, apply, _ in recorded.told(servers):
        if not apply:
            continue
        stale = tuple(len(weights) - 1 - each.version for each in apply)
        assert history.staleness[len(weights) - 1] == stale
        shares = [
            loader.shard(*divmod(each.number, loader.steps), each.learner, learners)
            for each in apply
        ]
        moved = [float(np.linalg.norm(weights[-1] - weights[p.version])) for p in apply]
        trust = optimizer.weights(stale, moved)
        total = np.zeros(3)
        for each, share, weight in zip(apply, shares, trust, strict=True):
            u, v, b = weights[each.version]
            x, y = share.x[:, 0], share.y[:, 0]
            wrong = 2 * (v * u * x + b - y)
            total += weight * np.array([np.sum(wrong * x * v), np.sum(wrong * u * x), wrong.sum()])
        total /= max(1, sum(map(len, shares)))
        if way == "clipped":
            total *= min(1, 0.3 / (np.linalg.norm(total) + 1e-6))
        rate = 0.05 if len(weights) <= history.epochs[0].steps else 0.025
        weights.append(weights[-1] - rate * total)
    np.testing.assert_allclose(vector(), weights[-1], rtol=1e-9, atol=1e-12)
    # Whoever evaluated had the weights of all servers.
    assert history.last().validation == pytest.approx(trainer.evaluate(train))

    fates = [
        watched.outcome.results[rank] for rank in (0, *range(1 + learners, servers + learners))
    ]
    assert all(each == fates[0] for each in fates)
    assert fates[0].applied == sum(map(len, history.staleness))
    sent = Counter[str]()
    for each in watched.outcome.traffic:
        sent.update({operation: traffic.messages for operation, traffic in each.items()})
    used = fates[0].applied + fates[0].dropped + fates[0].unfinished
    assert sent["gradients"] == servers * used
    assert sent["parameters"] == servers * (sent["push"] + learners)
    assert sent["arrival"] == (servers - 1) * sent["push"]


@given(case=CASES, servers=st.integers(2, 9), kind=st.sampled_from([plans.KSync, plans.KAsync]))
@settings(max_examples=10)
def test_rules_that_wait_for_all_equal_one_server_bit_for_bit(
    case: Case, servers: int, kind: Any
) -> None:
    how = ParameterServer(2, kind(2), runtime=Virtual())
    assert_shards_change_nothing(case, how, servers)


@pytest.mark.parametrize("rule", [plans.FullySync(), plans.KAsync(2)])
@pytest.mark.parametrize("later", [1, 4])
def test_a_checkpoint_goes_on_with_any_number_of_servers(
    rule: Any, later: int, tmp_path: Path
) -> None:
    x, y = rng.stream(0, "x").normal(size=(17, 3)), np.arange(17) % 2

    def trainer() -> Trainer:
        model = nn.Sequential(nn.Linear(4), nn.BatchNorm(), nn.Dropout(0.3), nn.Linear(2))
        return Trainer(model, nn.CrossEntropy(), optim.Adam(0.01), dtype="float64")

    def fit(one: Trainer, epochs: int, servers: int) -> None:
        how = ParameterServer(2, rule, servers=servers, runtime=Virtual())
        one.fit((x, y), epochs=epochs, batch_size=6, strategy=how)

    whole, first, second = trainer(), trainer(), trainer()
    with kernels.using("reference"):
        fit(first, 1, 3)
    first.save(tmp_path / "first.safetensors")
    second.load(tmp_path / "first.safetensors")
    with kernels.using("reference"):
        fit(second, 2, later)
        fit(whole, 1, 3)
        fit(whole, 2, 3)
    assert_equal_weights(whole, second)


def test_processes_learn() -> None:
    train, test = data.digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(32), nn.ReLU(), nn.Linear(10))
    trainer = Trainer(model, nn.CrossEntropy(), optim.SGD(0.05))
    how = ParameterServer(
        3,
        plans.KBatchAsync(2),
        straggler=sim.Exponential(2000.0),
        servers=2,
        runtime=Processes(deadline=20),
    )
    history = trainer.fit(train, epochs=6, batch_size=48, validation=test, strategy=how)
    assert trainer.evaluate(test)["accuracy"] > 0.8
    assert history.trace is not None
    assert history.trace.names == ("server 0", "learner 1", "learner 2", "learner 3", "server 1")


@dataclass(frozen=True)
class Struck(optim.SGD):
    """Ends the process of the server that holds the larger parameter, at its fifth update."""

    def step(self, values: Any, grads: Any, slots: Any, step: int) -> None:
        if step == 4 and values.size == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        super().step(values, grads, slots, step)


@pytest.mark.parametrize("rule", [plans.FullySync(), plans.Async()])
def test_a_struck_server_is_named(rule: Any) -> None:
    train = data.Dataset(np.ones((12, 3)), np.ones((12, 1)))
    model = nn.Sequential(nn.Linear(1, bias=False), nn.Linear(1), nn.Linear(1, bias=False))
    trainer = Trainer(model, nn.MSE(), Struck(0.01))
    how = ParameterServer(2, rule, servers=2, runtime=Processes(deadline=5))
    with pytest.raises(WorkerError, match=r"server \d \(process \d+\) was killed by SIGKILL"):
        trainer.fit(train, epochs=10**6, batch_size=4, strategy=how)


def test_bad_input_is_one_clear_error() -> None:
    train = data.Dataset(np.ones((6, 1)), np.ones((6, 1)))
    trainer = Trainer(nn.Sequential(nn.Linear(1)), nn.MSE(), optim.SGD(0.1))
    message = "3 servers need as many parameters, and the model has 2: choose between 1 and 2"
    for rule in (plans.FullySync(), plans.Async()):
        how = ParameterServer(2, rule, servers=3)
        with pytest.raises(InputError, match=message):
            trainer.fit(train, epochs=1, batch_size=4, strategy=how)
    for servers in (0, -1, 1.5, True):
        with pytest.raises(InputError, match="servers must be a whole number of at least 1"):
            ParameterServer(2, servers=servers)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", [plans.FullySync(), plans.Async()], ids=repr)
def test_one_server_needs_no_parameter(rule: Any) -> None:
    train = data.Dataset(np.ones((6, 2)), np.ones((6, 2)))
    trainer = Trainer(nn.Sequential(nn.Flatten()), nn.MSE(), optim.SGD(0.1))
    how = ParameterServer(2, rule, runtime=Virtual())
    assert len(trainer.fit(train, epochs=2, batch_size=3, strategy=how).epochs) == 2
    with pytest.raises(InputError, match="2 servers need as many parameters, and the model has 0"):
        trainer.fit(train, epochs=1, batch_size=3, strategy=replace(how, servers=2))
