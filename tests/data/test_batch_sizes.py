"""Batches that grow: the sizes, and a run with them under every strategy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import data, nn, optim, rng, strategy
from minidl.errors import InputError
from minidl.runtime import Virtual
from minidl.train import Trainer


@given(
    first=st.integers(1, 9),
    factor=st.integers(1, 4),
    every=st.integers(1, 3),
    most=st.none() | st.integers(1, 50),
)
def test_sizes_grow_by_the_factor_up_to_the_most(
    first: int, factor: int, every: int, most: int | None
) -> None:
    sizes = [data.GrowingBatch(first, factor, every, most)(epoch) for epoch in range(3 * every)]
    for epoch, size in enumerate(sizes):
        wanted = first * factor ** (epoch // every)
        assert size == (wanted if most is None or wanted <= most else max(first, most))


def test_sizes_may_be_numbers_of_numpy() -> None:
    """They were refused as no whole numbers, and a factor of int64 would overflow."""
    sizes = np.array([10, 10, 1, 10**6])
    assert data.GrowingBatch(*sizes) == data.GrowingBatch(*sizes.tolist())
    assert data.GrowingBatch(*sizes)(100) == 10**6


@given(
    first=st.integers(3, 5), factor=st.integers(2, 3), every=st.integers(1, 2),
    how=st.sampled_from([
        strategy.Serial(), strategy.Pipeline(2, runtime=Virtual()),
        *(make(workers, runtime=Virtual()) for workers in (1, 2, 3)
          for make in (strategy.RingAllReduce, strategy.ParameterServer)),
    ]),
    parts=st.sampled_from([(4,), (1, 3), (2, 2)]),
)  # fmt: skip
def test_every_strategy_trains_with_growing_batches(
    first: int, factor: int, every: int, how: strategy.Strategy, parts: tuple[int, ...]
) -> None:
    numbers = rng.stream(first, "growing")
    train = data.Dataset(numbers.normal(size=(17, 3)), numbers.integers(0, 2, 17))
    size = data.GrowingBatch(first, factor, every)
    found = []
    for chosen, lengths in ((strategy.Serial(), (4,)), (how, parts)):
        trainer = Trainer(
            nn.Sequential(nn.Linear(4), nn.Tanh(), nn.Linear(2)), nn.CrossEntropy(),
            optim.Adam(lr=0.01), dtype="float64",
        )  # fmt: skip
        for epochs in lengths:
            trainer.fit(train, epochs=epochs, batch_size=size, strategy=chosen)
        steps = [-(-17 // size(epoch)) for epoch in range(4)]
        assert [record.steps for record in trainer.history.epochs] == steps
        assert trainer.step == sum(steps) == len(trainer.history.losses)
        found.append(trainer.weights())
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("settings", [(0,), (1, 0), (1, 2, 0), (1, 2, 1, 0), (1.5,), (True,)])
def test_sizes_are_whole_numbers(settings: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="must be a whole number of at least 1"):
        data.GrowingBatch(*settings)
