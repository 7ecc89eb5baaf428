"""Synchronised batch norm: workers that share a batch normalise by the whole of it."""

from __future__ import annotations

import copy
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Case, assert_same_weights, dense_cases, image_cases

from minidl import data, models, nn, optim, rng, strategy
from minidl.errors import NonFiniteError
from minidl.runtime import Processes, Virtual
from minidl.runtime.conversation import conversation
from minidl.runtime.requests import Report
from minidl.tasks import Adversarial
from minidl.train import Trainer

MAKES = st.sampled_from([strategy.RingAllReduce, strategy.ParameterServer])


def synchronised(layer: nn.Layer) -> nn.Layer:
    """The layer, all of whose batch norms are synchronised."""
    layer = copy.deepcopy(layer)
    for _, inner in layer.walk():
        if isinstance(inner, nn.BatchNorm):
            inner.synchronised = True
    return layer


def network() -> nn.Sequential:
    """With batch norm inside of a composite, where no strategy could cut."""
    return nn.Sequential(
        nn.Linear(4), nn.BatchNorm(synchronised=True), nn.Tanh(),
        nn.Residual(nn.Sequential(nn.Linear(4), nn.BatchNorm(synchronised=True))), nn.Linear(2),
    )  # fmt: skip


def samples(count: int, shape: tuple[int, ...] = (3,)) -> data.Dataset:
    numbers = rng.stream(count, "samples")
    return data.Dataset(numbers.normal(size=(count, *shape)), numbers.integers(0, 2, count))


def trained(how: strategy.Strategy, model: nn.Layer, train: data.Dataset, batch: int) -> Trainer:
    trainer = Trainer(model, nn.CrossEntropy(), optim.SGD(lr=0.05, momentum=0.9), dtype="float64")
    trainer.fit(train, epochs=2, batch_size=batch, strategy=how)
    return trainer


@settings(max_examples=15)  # and more networks below
@given(
    make=MAKES,
    count=st.integers(5, 14),
    batch=st.integers(4, 7),
    workers=st.integers(1, 4),
    buffering=st.sampled_from(["none", "unlimited"]),
)
def test_workers_equal_the_serial_run_on_whole_batches(
    make: Any, count: int, batch: int, workers: int, buffering: Any
) -> None:
    """Also where the last batch is too small to give every worker a sample."""
    serial = trained(strategy.Serial(), network(), samples(count), batch)
    how = make(workers, runtime=Virtual(buffering))
    assert_same_weights(serial, trained(how, network(), samples(count), batch))


@given(case=dense_cases(batch_norm=True) | image_cases(), make=MAKES, workers=st.integers(2, 4))
def test_drawn_networks(case: Case, make: Any, workers: int) -> None:
    layers = tuple(synchronised(layer) for layer in case.layers)
    optimizer = optim.SGD(lr=0.005)  # rounding of gradients that are 0 must not become steps
    case = Case(layers, case.dataset, case.loss, optimizer, case.batch_size, case.seed)
    serial = case.trained(strategy.Serial())
    assert_same_weights(serial, case.trained(make(workers, runtime=Virtual())))


def test_without_synchronising_the_groups_show() -> None:
    model = network()
    for _, layer in model.walk():
        if isinstance(layer, nn.BatchNorm):
            layer.synchronised = False
    ring = trained(strategy.RingAllReduce(2, runtime=Virtual()), model, samples(12), 6)
    serial = trained(strategy.Serial(), network(), samples(12), 6)
    with pytest.raises(AssertionError):
        assert_same_weights(serial, ring)


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("make", [strategy.RingAllReduce, strategy.ParameterServer])
def test_on_real_processes_and_its_bytes(make: Any, workers: int) -> None:
    real = trained(make(workers, runtime=Processes(deadline=30)), network(), samples(13), 6)
    virtual = trained(make(workers, runtime=Virtual()), network(), samples(13), 6)
    for name, value in virtual.weights().items():
        np.testing.assert_array_equal(real.weights()[name], value)
    # Two layers of 4 channels: a mean with the count, a variance, and twice a mean backward.
    numbers, steps = 2 * (5 + 4 + 8), len(virtual.history.losses)
    for trainer in (real, virtual):
        sent = sum(trainer.history.bytes_sent(["statistics"]))
        assert sent == 8 * steps * 2 * numbers * (workers - 1)


@pytest.mark.parametrize("make", [strategy.RingAllReduce, strategy.ParameterServer])
def test_the_adversarial_task_is_synchronised_too(make: Any) -> None:
    def fitted(how: strategy.Strategy) -> dict[str, np.ndarray]:
        norm = nn.BatchNorm(synchronised=True)
        gan = models.GAN(
            nn.Sequential(nn.Linear(4), norm, nn.Tanh(), nn.Linear(3)),
            nn.Sequential(nn.Linear(4), nn.BatchNorm(synchronised=True), nn.Tanh(), nn.Linear(1)),
            latent=2,
        )
        trainer = Trainer(gan, Adversarial(discriminator_steps=2), optim.SGD(0.05), dtype="float64")
        trainer.fit(samples(13), epochs=2, batch_size=5, strategy=how)
        return trainer.weights()

    serial, shared = fitted(strategy.Serial()), fitted(make(3, runtime=Virtual()))
    for name, value in serial.items():
        np.testing.assert_allclose(shared[name], value, rtol=1e-8, atol=1e-10)


class Overflow(nn.Layer):
    """The identity, but for the first samples of the third batch."""

    def forward(self, x: nn.Array, mode: nn.Mode) -> tuple[nn.Array, Any]:
        return x * (np.inf if mode.step == 2 and mode.first == 0 else 1.0), None

    def backward(self, dy: nn.Array, saved: Any) -> nn.Array:
        return dy


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("make", [strategy.RingAllReduce, strategy.ParameterServer])
def test_a_loss_that_overflows_on_one_rank_is_its_error(make: Any) -> None:
    """To find the layer it runs forward again, when nobody else is there to be asked."""
    model = nn.Sequential(
        nn.Linear(4), nn.BatchNorm(synchronised=True), Overflow(), nn.Linear(2)
    )  # fmt: skip
    with pytest.raises(NonFiniteError, match="first appears in the output of Overflow"):
        trained(make(2, runtime=Virtual()), model, samples(24), 8)


class TestConversation:
    """A function that asks, run as a generator."""

    @staticmethod
    def asking(*events: object) -> Generator[Any, Any, None]:
        for event in events:
            yield Report(event)

    def test_requests_come_in_order_and_the_result_last(self) -> None:
        def function(ask: Any) -> str:
            ask(self.asking(1, 2))
            ask(self.asking())
            ask(self.asking(3))
            return "done"

        def whole() -> Generator[Any, Any, None]:
            assert (yield from conversation(function)) == "done"
            yield Report("after")

        assert [request.event for request in whole()] == [1, 2, 3, "after"]

    def test_what_the_function_raises_is_raised(self) -> None:
        def function(ask: Any) -> None:
            ask(self.asking(1))
            raise ZeroDivisionError("mine")

        program = conversation(function)
        next(program)
        with pytest.raises(ZeroDivisionError, match="mine"):
            next(program)

    def test_a_program_that_is_closed_ends_the_function(self) -> None:
        ended = []

        def function(ask: Any) -> None:
            try:
                ask(self.asking(1))
            finally:
                ended.append(True)

        program = conversation(function)
        next(program)
        program.close()
        assert ended == [True]
