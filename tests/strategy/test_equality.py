"""The law of the house: whatever the strategy, the trained weights are the serial run's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import (
    Case,
    assert_same_weights,
    continuation_cases,
    dense_cases,
    image_cases,
    sequence_cases,
    token_cases,
)

from minidl import optim, strategy
from minidl.runtime import Virtual
from minidl.strategy.partition import partition

ORDERS = st.builds(
    Virtual,
    buffering=st.sampled_from(["none", "unlimited"]),
    seed=st.none() | st.integers(0, 99),
)
MAKES = st.sampled_from([strategy.RingAllReduce, strategy.ParameterServer, strategy.Pipeline])
CASES = dense_cases() | image_cases() | sequence_cases() | token_cases() | continuation_cases()


@given(case=CASES, workers=st.integers(1, 4), runtime=ORDERS)
def test_ring_equals_serial(case: Case, workers: int, runtime: Virtual) -> None:
    serial = case.trained(strategy.Serial())
    ring = case.trained(strategy.RingAllReduce(workers, runtime=runtime))
    assert_same_weights(serial, ring)
    np.testing.assert_allclose(ring.history.losses, serial.history.losses, rtol=1e-7)


@given(case=CASES, workers=st.integers(1, 4), runtime=ORDERS)
def test_parameter_server_equals_serial(case: Case, workers: int, runtime: Virtual) -> None:
    serial = case.trained(strategy.Serial())
    server = case.trained(strategy.ParameterServer(workers, runtime=runtime))
    assert_same_weights(serial, server)
    np.testing.assert_allclose(server.history.losses, serial.history.losses, rtol=1e-7)


@given(
    case=CASES,
    stages=st.integers(1, 4),
    micro_batches=st.integers(1, 6),
    schedule=st.sampled_from(["gpipe", "sequential"]),
    runtime=ORDERS,
)
def test_pipeline_equals_serial(
    case: Case, stages: int, micro_batches: int, schedule: str, runtime: Virtual
) -> None:
    stages = min(stages, len(case.layers))
    serial = case.trained(strategy.Serial())
    pipeline = case.trained(strategy.Pipeline(stages, micro_batches, schedule, runtime=runtime))
    assert_same_weights(serial, pipeline)
    np.testing.assert_allclose(pipeline.history.losses, serial.history.losses, rtol=1e-7)


@given(case=CASES, make=MAKES, workers=st.integers(1, 4), limit=st.floats(1e-3, 10))
def test_a_gradient_is_clipped_by_its_norm_over_all_stages(
    case: Case, make: Any, workers: int, limit: float
) -> None:
    case = replace(case, optimizer=optim.Clipped(optim.SGD(lr=0.01), norm=limit))
    if make is strategy.Pipeline:
        workers = min(workers, len(case.layers))
    serial = case.trained(strategy.Serial())
    assert_same_weights(serial, case.trained(make(workers, runtime=Virtual())))


@given(case=CASES, micro_batches=st.integers(1, 6))
def test_slices_of_a_batch_sum_to_the_batch(case: Case, micro_batches: int) -> None:
    assert_same_weights(
        case.trained(strategy.Serial()), case.trained(strategy.Serial(micro_batches))
    )


@given(case=dense_cases(batch_norm=True), make=MAKES, parts=st.integers(1, 3))
def test_batch_statistics_follow_the_groups_that_are_seen(
    case: Case, make: Any, parts: int
) -> None:
    """Running means included: they are summed over ranks as gradients are."""
    grouped = case.trained(strategy.Serial(micro_batches=parts))
    if make is strategy.Pipeline:
        other = strategy.Pipeline(2, micro_batches=parts, runtime=Virtual())
    else:
        other = make(parts, runtime=Virtual())
    assert_same_weights(grouped, case.trained(other))


@given(case=CASES, workers=st.integers(1, 4))
def test_bytes_of_data_parallel_strategies_equal_the_formulas(case: Case, workers: int) -> None:
    for chosen in (
        strategy.RingAllReduce(workers, runtime=Virtual()),
        strategy.ParameterServer(workers, runtime=Virtual()),
    ):
        trainer = case.trained(chosen)
        expected = trainer.expected_bytes(case.dataset, 2, case.batch_size, chosen)
        for operation, each in expected.items():
            sent = trainer.history.bytes_sent([operation])
            assert sum(sent) == pytest.approx(sum(each))
            # A vector that does not divide is cut into chunks that differ by one element.
            slack = 8 * 2 * workers * len(trainer.history.losses)
            assert sent == pytest.approx(each, abs=slack)
        size = sum(weights.size for weights in trainer.weights().values())
        steps = len(trainer.history.losses)
        if isinstance(chosen, strategy.RingAllReduce):
            assert sum(trainer.history.bytes_sent()) == 8 * steps * 2 * size * (workers - 1)
        else:
            assert sum(trainer.history.bytes_sent()) == 8 * steps * 2 * size * workers


@given(case=CASES, stages=st.integers(1, 3), micro_batches=st.integers(1, 5))
def test_bytes_of_a_pipeline_equal_the_borders(case: Case, stages: int, micro_batches: int) -> None:
    chosen = strategy.Pipeline(min(stages, len(case.layers)), micro_batches, runtime=Virtual())
    trainer = case.trained(chosen)
    expected = trainer.expected_bytes(case.dataset, 2, case.batch_size, chosen)
    for operation, each in expected.items():
        assert trainer.history.bytes_sent([operation]) == each
    borders = partition(trainer.model, case.dataset.sample_shape, chosen.stages)[:-1]
    across = sum(int(np.prod(stage.output_shape)) for stage in borders)
    found = 8 * 2 * 2 * len(case.dataset) * across
    if case.optimizer.needs_norm:  # a number across each border in every step, and back
        found += 8 * 2 * (chosen.stages - 1) * len(trainer.history.losses)
    assert sum(trainer.history.bytes_sent()) == found


@given(case=CASES, make=MAKES, order=ORDERS)
def test_a_run_is_repeatable_bit_for_bit(case: Case, make: Any, order: Virtual) -> None:
    """Also when messages arrive in another order: sums are taken in order of rank."""
    workers = min(3, len(case.layers))
    one = case.trained(make(workers, runtime=Virtual())).weights()
    two = case.trained(make(workers, runtime=order)).weights()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


@given(case=CASES, make=MAKES, workers=st.integers(1, 4))
def test_validation_does_not_depend_on_the_strategy(case: Case, make: Any, workers: int) -> None:
    if make is strategy.Pipeline:
        workers = min(workers, len(case.layers))
    found = []
    for each in (strategy.Serial(), make(workers, runtime=Virtual())):
        trainer = case.trained(each, epochs=1)
        trainer.fit(
            case.dataset,
            epochs=1,
            batch_size=case.batch_size,
            validation=case.dataset,
            strategy=each,
        )
        assert trainer.history.last().validation == pytest.approx(trainer.evaluate(case.dataset))
        found.append(trainer.history.last().validation)
    assert found[1] == pytest.approx(found[0], rel=1e-6)
