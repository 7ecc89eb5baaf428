"""Whatever the algorithm of the all-reduce, the weights are the serial run's, the bytes its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Case, assert_same_weights, dense_cases, image_cases

from minidl import data, nn, optim, rng, strategy
from minidl.errors import InputError
from minidl.plans import ALL_REDUCES
from minidl.runtime import Alone, Processes, Virtual


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """An algorithm for 1 to 4 workers, with options that fit."""
    workers, algorithm = draw(st.integers(1, 4)), draw(st.sampled_from(sorted(ALL_REDUCES)))
    options: dict[str, Any] = {}
    if algorithm == "torus":
        rows = draw(st.sampled_from([x for x in range(1, workers + 1) if workers % x == 0]))
        options = {"shape": (rows, workers // rows)}
    elif algorithm == "hierarchical":
        options = {"groups": draw(st.integers(1, workers))}
    elif "tree" in algorithm:
        options = {"pieces": draw(st.integers(1, 3))}
    return {"workers": workers, "algorithm": algorithm, "options": options}


@given(
    case=dense_cases() | image_cases(),
    chosen=arguments(),
    buffering=st.sampled_from(["none", "unlimited"]),
)
def test_every_algorithm_equals_serial(case: Case, chosen: dict[str, Any], buffering: Any) -> None:
    how = strategy.AllReduce(**chosen, runtime=Virtual(buffering))
    trainer = case.trained(how)
    assert_same_weights(case.trained(strategy.Serial()), trainer)
    expected = trainer.expected_bytes(case.dataset, 2, case.batch_size, how)["gradients"]
    # Chunks of a vector that does not divide differ by one element.
    slack = 8 * 40 * len(trainer.history.losses)
    assert trainer.history.bytes_sent(["gradients"]) == pytest.approx(expected, abs=slack)
    assert sum(trainer.history.bytes_sent(["gradients"])) == pytest.approx(sum(expected), abs=slack)


@pytest.mark.parametrize("overlap", [False, True])
@given(case=dense_cases())
def test_one_worker_has_nobody_to_ask(overlap: bool, case: Case) -> None:
    """So it needs no other process."""
    alone = case.trained(strategy.AllReduce(1, overlap=overlap, runtime=Alone()))
    assert_same_weights(case.trained(strategy.Serial()), alone)


@given(case=dense_cases(batch_norm=True))
def test_statistics_are_synchronised_beside_any_algorithm(case: Case) -> None:
    how = strategy.AllReduce(3, "tree", runtime=Virtual())
    case.trained(how)


@pytest.mark.parametrize("algorithm", sorted({*ALL_REDUCES} - {"ring"}))
@settings(max_examples=6)  # of each of seven
@given(case=dense_cases())
def test_all_ranks_are_the_same_bit_for_bit(algorithm: str, case: Case) -> None:
    """Else their weights would drift apart."""
    one = case.trained(strategy.AllReduce(4, algorithm, runtime=Virtual()))
    two = case.trained(strategy.AllReduce(4, algorithm, runtime=Virtual("unlimited", seed=5)))
    for name, value in one.weights().items():
        assert (two.weights()[name] == value).all()


@pytest.mark.parametrize("algorithm", ["tree", "torus", "halving-doubling"])
def test_on_real_processes(algorithm: str) -> None:
    dataset = data.Dataset(rng.stream(0, "x").normal(size=(9, 3)), np.arange(9) % 2)
    layers = (nn.Linear(4), nn.Tanh(), nn.Linear(2))
    case = Case(layers, dataset, nn.CrossEntropy(), optim.Adam(0.01), 5, seed=1)
    real = case.trained(strategy.AllReduce(3, algorithm, runtime=Processes(deadline=30)))
    virtual = case.trained(strategy.AllReduce(3, algorithm, runtime=Virtual()))
    for name, value in virtual.weights().items():
        assert (real.weights()[name] == value).all()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"workers": 2, "algorithm": "star"}, "there is no all-reduce 'star'; there are 'ring'"),
        (
            {"workers": 4, "algorithm": "torus", "options": {"shape": (2, 3)}},
            "a shape whose product is 4",
        ),
        ({"workers": 2, "options": {"shape": (1, 2)}}, "all-reduce 'ring' has no option 'shape'"),
    ],
)
def test_bad_settings_are_one_clear_error(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        strategy.AllReduce(**chosen, runtime=Virtual()).formula  # noqa: B018
