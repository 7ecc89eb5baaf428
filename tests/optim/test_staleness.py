"""Smaller steps for late gradients: the weights, and a run that diverges without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import data, nn, optim, plans, sim
from minidl.errors import InputError
from minidl.optim import SGD, StalenessAware
from minidl.runtime import Virtual
from minidl.sim.formulas import stability_edge
from minidl.strategy import ParameterServer
from minidl.train import Trainer

missed = st.lists(st.integers(0, 50), min_size=1, max_size=6)


@given(missed)
def test_weights_are_the_papers(staleness: list[int]) -> None:
    none = [0.0] * len(staleness)
    assert SGD(0.1).weights(staleness, none) == (1.0,) * len(staleness)
    each = StalenessAware(SGD(0.1)).weights(staleness, none)
    assert each == pytest.approx([1 / max(1, tau) for tau in staleness])
    mean = StalenessAware(SGD(0.1), "mean").weights(staleness, none)
    assert mean == pytest.approx([1 / max(1, np.mean(staleness))] * len(staleness))


@given(st.lists(st.floats(0, 1e3), min_size=1), st.floats(0.01, 10))
def test_by_distance_is_the_variable_rate_up_to_the_largest(
    distances: list[float], constant: float
) -> None:
    rule = StalenessAware(SGD(0.1), "distance", constant)
    found = rule.weights([0] * len(distances), distances)
    wanted = [min(1.0, constant / d**2) if d * d > 0 else 1.0 for d in distances]
    assert found == pytest.approx(wanted)


@dataclass(frozen=True)
class Asks(optim.SGD):
    """Writes down, on the class, what it is told of distances."""

    needs: bool = False
    told: ClassVar[list[float]] = []

    @property
    def needs_distance(self) -> bool:
        return self.needs

    def weights(self, staleness: Sequence[int], distances: Sequence[float]) -> tuple[float, ...]:
        self.told.extend(distances)
        return super().weights(staleness, distances)


@pytest.mark.parametrize("clock", ["real", "virtual"])
@pytest.mark.parametrize("needs", [False, True])
def test_distances_are_told_to_those_who_ask(clock: str, needs: bool) -> None:
    Asks.told.clear()
    train = data.Dataset(np.ones((8, 1)), np.ones((8, 1)))
    trainer = Trainer(nn.Sequential(nn.Linear(1)), nn.MSE(), Asks(0.1, needs=needs))
    how = ParameterServer(2, plans.Async(), runtime=Virtual())
    trainer.fit(train, epochs=1, batch_size=4, strategy=how, clock=clock)
    assert len(Asks.told) == 4
    assert np.isfinite(Asks.told).all() if needs else np.isnan(Asks.told).all()
    rules = [StalenessAware(SGD(0.1)), StalenessAware(SGD(0.1), "distance", 1.0)]
    assert [SGD(0.1).needs_distance, *(rule.needs_distance for rule in rules)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_a_distance_is_that_of_weights_not_of_running_means(clock: str) -> None:
    Asks.told.clear()
    train = data.Dataset(np.full((8, 1), 5.0), np.ones((8, 1)))
    model = nn.Sequential(nn.BatchNorm(), nn.Linear(1))
    trainer = Trainer(model, nn.MSE(), Asks(1e-12, needs=True), dtype="float64")
    how = ParameterServer(2, plans.Async(), runtime=Virtual())
    trainer.fit(train, epochs=1, batch_size=4, strategy=how, clock=clock)
    assert 0 < max(Asks.told) < 1e-9


def final_size(optimizer: optim.Optimizer, learners: int) -> float:
    """How large w is after 600 updates of x²w² (curvature 2 at x = 1) by stale gradients."""
    train = data.Dataset(np.ones((learners, 1)), np.zeros((learners, 1)))
    trainer = Trainer(nn.Sequential(nn.Linear(1, bias=False)), nn.MSE(), optimizer, dtype="float64")
    trainer.predict(train)
    start = abs(float(trainer.weights()["0.weight"][0, 0]))
    how = ParameterServer(learners, plans.Async(), straggler=sim.Constant(1.0))
    epochs = -(-600 // learners)
    trainer.fit(train, epochs=epochs, batch_size=learners, strategy=how, clock="virtual")
    assert {stale for step in trainer.history.staleness[learners:] for stale in step} == {
        learners - 1
    }
    return abs(float(trainer.weights()["0.weight"][0, 0])) / start


@pytest.mark.parametrize("learners", [4, 8, 16])
def test_a_run_beyond_the_edge_of_stability_is_rescued(learners: int) -> None:
    """Every gradient misses P - 1 updates; the edge is that of the formula."""
    edge = stability_edge(learners - 1) / 2
    assert final_size(SGD(0.9 * edge), learners) < 1
    assert final_size(SGD(1.2 * edge), learners) > 1
    for way in ("gradient", "mean"):
        assert final_size(StalenessAware(SGD(1.2 * edge), way), learners) < 1


def test_by_distance_rescues_it_too() -> None:
    """It keeps the weights from growing, though near the minimum it does nothing."""
    edge = stability_edge(7) / 2
    assert final_size(SGD(1.5 * edge), 8) > 1e6
    assert final_size(StalenessAware(SGD(1.5 * edge), "distance", 1e-3), 8) < 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StalenessAware(3), "optimizer must be an Optimizer, not 3"),  # type: ignore[arg-type]
        (
            lambda: optim.Clipped(StalenessAware(SGD(0.1)), norm=1.0),
            r"write StalenessAware\(Clipped\(...\)\) instead",
        ),
        (
            lambda: optim.Groups(StalenessAware(SGD(0.1)), ()),
            r"write StalenessAware\(Groups\(...\)\) instead",
        ),
        (lambda: StalenessAware(SGD(0.1), "age"), "unknown way to be aware of staleness 'age'"),
        (lambda: StalenessAware(SGD(0.1), constant=1.0), "a constant belongs to by='distance'"),
        (lambda: StalenessAware(SGD(0.1), "distance"), "a constant belongs to by='distance'"),
        (lambda: StalenessAware(SGD(0.1), "distance", 0.0), "constant"),
    ],
)
def test_bad_settings_are_one_clear_error(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_it_is_slowed_with_what_it_holds() -> None:
    assert StalenessAware(SGD(0.2)).slowed(0.5) == StalenessAware(SGD(0.1))
