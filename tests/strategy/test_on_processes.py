"""The same law on real worker processes: fewer cases, the same programs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Case, assert_same_weights, dense_cases, image_cases, token_cases

from minidl import data, models, nn, optim, strategy
from minidl.runtime import Processes, Virtual
from minidl.train import Trainer

RUNTIME = Processes(deadline=20)


@settings(max_examples=6)
@given(
    case=dense_cases() | image_cases() | token_cases(),
    workers=st.integers(1, 4),
    kind=st.integers(0, 2),
)
def test_processes_equal_serial_and_the_virtual_run_bit_for_bit(
    case: Case, workers: int, kind: int
) -> None:
    make = (strategy.RingAllReduce, strategy.ParameterServer, strategy.Pipeline)[kind]
    workers = min(workers, len(case.layers))
    real = case.trained(make(workers, runtime=RUNTIME))
    assert_same_weights(case.trained(strategy.Serial()), real)
    virtual = case.trained(make(workers, runtime=Virtual()))
    for name, weights in real.weights().items():
        np.testing.assert_array_equal(weights, virtual.weights()[name])
    assert real.history.bytes_sent() == virtual.history.bytes_sent()


@pytest.mark.parametrize(
    "chosen",
    [
        strategy.RingAllReduce(3, runtime=RUNTIME),
        strategy.ParameterServer(3, runtime=RUNTIME),
        strategy.Pipeline(4, 3, runtime=RUNTIME),
        strategy.Pipeline(3, 5, "sequential", runtime=RUNTIME),
    ],
    ids=["ring", "server", "gpipe", "sequential"],
)
def test_real_images_on_more_workers_than_cores(chosen: strategy.Strategy) -> None:
    """Messages of several slots, a last batch that is short, dropout, validation."""
    digits, _ = data.digits()
    part = digits.take(slice(0, 101))

    def trained(how: strategy.Strategy) -> Trainer:
        trainer = Trainer(
            models.digits_cnn(),
            nn.CrossEntropy(),
            optim.SGD(lr=0.01, momentum=0.9),
            dtype="float64",
        )
        trainer.fit(part, epochs=2, batch_size=33, validation=part, strategy=how)
        return trainer

    serial, parallel = trained(strategy.Serial()), trained(chosen)
    assert_same_weights(serial, parallel)
    one, other = serial.history.last().validation, parallel.history.last().validation
    assert one is not None
    assert other == pytest.approx(one)
    expected = parallel.expected_bytes(part, 2, 33, chosen)
    for operation, each in expected.items():
        sent = parallel.history.bytes_sent([operation])
        assert sum(sent) == pytest.approx(sum(each))
