"""An encoder with its decoder is a layer like any other: every strategy trains it alike."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Case, assert_same_weights

from minidl import data, models, nn, optim, rng, strategy
from minidl.runtime import Virtual


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Small ones, on sources and targets of different lengths."""
    read, written, seed = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(0, 99))
    stack = draw(st.sampled_from([{}, {"layers": 2, "dropout": 0.3}]))
    cell, reverse = draw(st.sampled_from(["gru", "lstm"])), draw(st.booleans())
    layer = models.Seq2Seq(read, 5, 4, 2, 3, cell=cell, reverse=reverse, **stack)
    numbers, samples = rng.stream(seed, "test data"), draw(st.integers(4, 13))
    inputs = numbers.integers(0, 4, (samples, read + written))
    targets = numbers.integers(0, 4, (samples, written))
    rule = draw(
        st.sampled_from(
            [optim.Adam(lr=0.01), optim.Clipped(optim.SGD(lr=0.1, momentum=0.9), norm=0.1)]
        )
    )
    loss = nn.CrossEntropy(ignore_index=0)
    return Case((layer,), data.Dataset(inputs, targets), loss, rule, draw(st.integers(4, 9)), seed)


@settings(max_examples=10)
@given(case=cases(), workers=st.integers(1, 4), buffering=st.sampled_from(["none", "unlimited"]))
def test_every_strategy_equals_serial(case: Case, workers: int, buffering: str) -> None:
    serial, runtime = case.trained(strategy.Serial()), Virtual(buffering=buffering)
    for other in (
        strategy.Serial(micro_batches=workers),
        strategy.RingAllReduce(workers, runtime=runtime),
        strategy.ParameterServer(workers, runtime=runtime),
        strategy.Pipeline(1, micro_batches=workers, runtime=runtime),
    ):
        assert_same_weights(serial, case.trained(other))
