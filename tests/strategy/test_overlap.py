"""Exchanges beside the backward pass: the same sums, bit for bit, and none too early."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import (
    Case,
    assert_same_weights,
    dense_cases,
    image_cases,
    sequence_cases,
    token_cases,
)

from minidl import data, models, nn, optim, rng, strategy, train
from minidl.errors import InputError, PlanError
from minidl.plans import ALL_REDUCES, Bucketing, Launches, Link
from minidl.runtime import Processes, Virtual
from minidl.runtime.trace import BESIDE, KINDS
from minidl.strategy.reduction import Watch
from minidl.tasks import Adversarial, Phase, Sums, Supervised

cases = dense_cases() | image_cases() | sequence_cases() | token_cases()
runtimes = st.builds(
    Virtual, st.sampled_from(["none", "unlimited"]), st.none() | st.integers(0, 99)
)


@given(
    case=cases,
    workers=st.integers(1, 4),
    algorithm=st.sampled_from(["ring", "tree", "halving-doubling", "full"]),
    bucket_bytes=st.integers(1, 400),
    runtime=runtimes,
)
def test_overlap_changes_no_bit(
    case: Case, workers: int, algorithm: str, bucket_bytes: int, runtime: Virtual
) -> None:
    def trained(overlap: bool, runtime: Virtual) -> train.Trainer:
        how = strategy.AllReduce(
            workers, algorithm, bucket_bytes=bucket_bytes, overlap=overlap, runtime=runtime
        )
        return case.trained(how)

    plain, beside = trained(False, Virtual()), trained(True, runtime)
    for name, value in plain.weights().items():
        np.testing.assert_array_equal(beside.weights()[name], value)
    assert_same_weights(case.trained(strategy.Serial()), beside)
    assert plain.history.bytes_sent() == beside.history.bytes_sent()


@given(case=dense_cases(), bucket_bytes=st.integers(1, 200), runtime=runtimes)
def test_layers_may_meet_in_the_middle_of_a_pass(
    case: Case, bucket_bytes: int, runtime: Virtual
) -> None:
    """Synchronised batch norm asks for sums while buckets are on their way."""
    layers = (*case.layers[:1], nn.BatchNorm(synchronised=True), *case.layers[1:])
    case = Case(layers, case.dataset, case.loss, case.optimizer, case.batch_size, case.seed)
    how = strategy.AllReduce(3, bucket_bytes=bucket_bytes, overlap=True, runtime=runtime)
    plain = strategy.AllReduce(3, bucket_bytes=bucket_bytes, runtime=Virtual())
    one, other = case.trained(how).weights(), case.trained(plain).weights()
    for name, value in other.items():
        np.testing.assert_array_equal(one[name], value)


class Twice(nn.Layer):
    """A layer used twice, one of whose parameters a third shares."""

    def __init__(self, width: int) -> None:
        self.inner = nn.Sequential(nn.Linear(width), nn.Tanh())
        self.other = nn.Linear(width)

    def build(self, shape: nn.Shape) -> nn.Shape:
        self.inner.build(shape)
        self.other.weight = self.inner[0].weight
        return self.other.build(shape)

    def forward(self, x: nn.Array, mode: nn.Mode) -> tuple[nn.Array, Any]:
        x, first = self.inner.forward(x, mode)
        x, second = self.other.forward(x, mode)
        x, third = self.inner.forward(x, mode)
        return x, (first, second, third)

    def backward(self, dy: nn.Array, saved: Any) -> nn.Array:
        first, second, third = saved
        dy = self.inner.backward(dy, third)
        return self.inner.backward(self.other.backward(dy, second), first)


def told_and_final(layers: tuple[nn.Layer, ...], x: np.ndarray, passes: int = 2) -> Counter[str]:
    """Run passes; how often each parameter was told complete, each time with its final gradient."""
    model = nn.Sequential(*copy.deepcopy(layers))
    buffer = model.initialise(x.shape[1:], dtype=np.float64)
    told: dict[str, np.ndarray] = {}
    counts: Counter[str] = Counter()

    def tell(name: str) -> None:
        told[name] = buffer.grads[buffer.index[name]].copy()
        counts[name] += 1

    watch = Watch(model, tell)
    for step in range(passes):
        watch.begin()
        y, saved = model.forward(x, nn.Mode(True, step=step, batch_size=len(x)))
        model.accumulate(rng.stream(1, "dy").normal(size=y.shape), saved)
        for name, then in told.items():
            np.testing.assert_array_equal(buffer.grads[buffer.index[name]], then, err_msg=name)
    assert set(told) == set(buffer.index)
    return counts


@given(case=cases | dense_cases(batch_norm=True))
def test_a_gradient_is_complete_when_it_is_told_so(case: Case) -> None:
    takes_integers = case.layers[0].takes_integers
    dataset = case.dataset.with_integers() if takes_integers else case.dataset
    assert set(told_and_final(case.layers, dataset.inputs[:3]).values()) == {2}


def test_a_layer_used_twice_is_complete_after_its_first_use() -> None:
    x = rng.stream(0, "x").normal(size=(4, 3))
    assert set(told_and_final((Twice(3), nn.Linear(2)), x).values()) == {2}


@pytest.mark.parametrize(
    "model", [models.resnet20(classes=3), models.googlenet(classes=3), models.char_lstm(5, 4)]
)
def test_so_it_is_in_the_models(model: nn.Layer) -> None:
    integers = model.takes_integers
    x: Any = (
        np.zeros((2, 6), np.int64) if integers else rng.stream(0, "x").normal(size=(2, 32, 32, 3))
    )
    assert set(told_and_final((model,), x, 1).values()) == {1}


def small(layers: int = 3) -> Case:
    numbers = rng.stream(0, "x")
    body = itertools.chain.from_iterable((nn.Linear(16), nn.Tanh()) for _ in range(layers))
    dataset = data.Dataset(numbers.normal(size=(32, 8)), np.arange(32) % 3)
    return Case((*body, nn.Linear(3)), dataset, nn.CrossEntropy(), optim.SGD(0.1), 8, seed=1)


@pytest.mark.timeout(60)
def test_on_real_processes_exchanges_begin_before_the_backward_pass_ends() -> None:
    how = strategy.AllReduce(
        2,
        bucket_bytes=64,
        overlap=True,
        runtime=Processes(deadline=30, link=Link(latency=2e-3, bandwidth=1e8)),
    )
    case = small(12)
    trained = case.trained(how)
    plain = case.trained(strategy.AllReduce(2, bucket_bytes=64, runtime=Virtual()))
    for name, value in plain.weights().items():
        np.testing.assert_array_equal(trained.weights()[name], value)
    trace = trained.history.trace
    assert trace is not None
    rows = dict(zip(trace.names, trace.ranks, strict=True))
    assert list(rows) == ["worker 0", f"worker 0{BESIDE}", "worker 1", f"worker 1{BESIDE}"]
    early = 0
    for step in range(len(trained.history.losses)):
        own, beside = (s[s["step"] == step] for s in (rows["worker 0"], rows[f"worker 0{BESIDE}"]))
        backward = own[own["kind"] == KINDS.index("backward")]
        early += beside["start"].min() < backward["stop"].max()
    assert early > 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("algorithm", sorted(ALL_REDUCES))
def test_every_algorithm_overlaps(algorithm: str) -> None:
    case = small()
    plain = case.trained(strategy.AllReduce(4, algorithm, bucket_bytes=500, runtime=Virtual()))
    beside = strategy.AllReduce(4, algorithm, bucket_bytes=500, overlap=True, runtime=Virtual())
    for name, value in case.trained(beside).weights().items():
        np.testing.assert_array_equal(plain.weights()[name], value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bucket_bytes": 0}, "bucket_bytes must be a whole number of at least 1, not 0"),
        ({"bucket_bytes": 0.5}, "bucket_bytes must be a whole number of at least 1, not 0.5"),
    ],
)
def test_bad_settings_are_one_clear_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        strategy.AllReduce(2, **settings)


@pytest.mark.parametrize("wrong", [1, 0, 2])
def test_buckets_out_of_order_are_an_error(wrong: int) -> None:
    """Where another rank has no samples and goes by the order, sums would be of other buckets."""

    class Wrong(Launches):
        def filled(self, name: str) -> list[int]:
            numbers = list(super().filled(name))
            return [wrong] * 2 if 0 in numbers else []

    how = strategy.AllReduce(
        2,
        bucket_bytes=64,
        overlap=True,
        bucketing=Bucketing(launches=Wrong),
        runtime=Virtual(),
    )
    message = f"bucket {wrong} was launched, .* the next is {0 if wrong else 1}"
    with pytest.raises(PlanError, match=message):
        small(1).trained(how)


@dataclass(frozen=True)
class Mirrored(Supervised):
    """Learns from each sample as it is, and then from its mirror image."""

    def gradients(self, phase: Phase, model: nn.Layer, batch: data.Batch, *others: Any) -> Sums:
        sums = super().gradients(phase, model, batch, *others)
        super().gradients(phase, model, replace(batch, x=-batch.x), *others)
        return sums


@pytest.mark.parametrize("runtime", [Virtual(), Processes(deadline=20)], ids=["one", "many"])
def test_a_task_with_two_backward_passes_is_not_overlapped(runtime: Any) -> None:
    """The second would add to sums that are on their way, or have come."""
    case, weights = small(1), []
    for how in (strategy.Serial(), strategy.AllReduce(2, bucket_bytes=64, runtime=runtime)):
        model = nn.Sequential(*copy.deepcopy(case.layers))
        task = Mirrored(case.loss)
        trainer = train.Trainer(model, task, case.optimizer, seed=1, dtype="float64")
        trainer.fit(case.dataset, epochs=1, batch_size=8, strategy=how)
        weights.append(trainer.weights())
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, rtol=1e-8, err_msg=name)
    how = strategy.AllReduce(2, bucket_bytes=64, overlap=True, runtime=runtime)
    with pytest.raises(InputError, match="the gradient of .* is to change again"):
        trainer.fit(case.dataset, epochs=1, batch_size=8, strategy=how)


def test_a_game_is_not_overlapped() -> None:
    game = models.mlp_gan((4, 4, 1), latent=3)
    trainer = train.Trainer(game, Adversarial(), optim.SGD(0.1))
    images = data.Dataset(np.zeros((8, 4, 4, 1)), np.zeros(8, int))
    how = strategy.AllReduce(2, overlap=True, runtime=Virtual())
    with pytest.raises(InputError, match="overlap=True is for supervised tasks"):
        trainer.fit(images, epochs=1, batch_size=4, strategy=how)
