"""What the tests of the trainer train: small networks on drawn data, under every strategy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import data, nn, optim, rng
from minidl.runtime import Runtime, Virtual
from minidl.strategy import ParameterServer, Pipeline, RingAllReduce, Serial, Strategy
from minidl.train import Trainer

MAKERS: dict[str, Callable[[Runtime], Strategy]] = {
    "serial": lambda runtime: Serial(),
    "server": lambda runtime: ParameterServer(2, runtime=runtime),
    "ring": lambda runtime: RingAllReduce(2, runtime=runtime),
    "pipeline": lambda runtime: Pipeline(2, micro_batches=3, runtime=runtime),
}
DISTRIBUTED = [name for name in MAKERS if name != "serial"]

OPTIMIZERS: dict[str, optim.Optimizer] = {
    "sgd": optim.SGD(lr=0.05),
    "momentum": optim.SGD(lr=0.05, momentum=0.9, weight_decay=0.001),
    "nesterov": optim.SGD(lr=0.05, momentum=0.8, nesterov=True),
    "adam": optim.Adam(lr=0.01),
    "adamw": optim.AdamW(lr=0.01),
    "adagrad": optim.Adagrad(lr=0.05),
    "rmsprop": optim.RMSprop(lr=0.005, momentum=0.5),
    "clipped": optim.Clipped(optim.SGD(lr=0.05, momentum=0.9), norm=0.3),
    "scheduled": optim.SGD(lr=optim.Cosine(0.05, 20), momentum=0.9),
}


def strategy(name: str, runtime: Runtime | None = None) -> Strategy:
    """The strategy of this name on two ranks, beside each other in this process by default."""
    return MAKERS[name](Virtual() if runtime is None else runtime)


def network(classes: int = 3) -> nn.Sequential:
    """A network with dropout, for samples of any shape."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(5), nn.ReLU(),
        nn.Linear(classes),
    )  # fmt: skip


def samples(count: int = 22, shape: tuple[int, ...] = (4,), classes: int = 3) -> data.Dataset:
    """Random inputs with labels."""
    numbers = rng.stream(0, "samples", count)
    return data.Dataset(numbers.normal(size=(count, *shape)), numbers.integers(0, classes, count))


def trainer(model: nn.Layer | None = None, **settings: Any) -> Trainer:
    """A trainer; SGD with momentum in float32 unless told otherwise."""
    settings.setdefault("optimizer", OPTIMIZERS["momentum"])
    settings.setdefault("loss", nn.CrossEntropy())
    return Trainer(network() if model is None else model, **settings)


@dataclass(frozen=True)
class State:
    """All that a further fit depends on, and the record of the past."""

    weights: dict[str, np.ndarray]
    slots: dict[str, np.ndarray]
    epoch: int
    step: int
    losses: list[float]
    figures: list[Any]

    @classmethod
    def of(cls, trained: Trainer) -> State:
        """A copy of a trainer's state."""
        return cls(
            trained.weights(),
            {name: slot.copy() for name, slot in trained._existing().slots.items()},
            trained.epoch,
            trained.step,
            list(trained.history.losses),
            [(r.epoch, r.train, r.validation, r.samples) for r in trained.history.epochs],
        )

    def assert_equals(self, other: State) -> None:
        """Bit for bit."""
        for mine, theirs in ((self.weights, other.weights), (self.slots, other.slots)):
            assert list(mine) == list(theirs)
            for name, array in mine.items():
                assert array.dtype == theirs[name].dtype
                np.testing.assert_array_equal(array, theirs[name], err_msg=name)
        assert (self.epoch, self.step) == (other.epoch, other.step)
        assert self.losses == other.losses
        assert self.figures == other.figures
