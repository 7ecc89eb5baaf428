"""The bubble of a pipeline: the idle share measured on real processes, beside the formula.

Every layer sleeps for a set time, forward and twice as long backward, so that two
cores serve any number of stages. Then one stage is made slower than the others.

Run it with ``python -m benchmarks.pipeline_bubble``.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

from benchmarks.measure import machine
from minidl import nn, optim, strategy
from minidl.nn.layer import Array
from minidl.plans.formulas import gpipe_bubble, gpipe_makespan
from minidl.runtime.trace import KINDS, Trace
from minidl.train import Trainer

SLEEP = 0.008
"""Seconds that a layer takes for a micro-batch forward; backward takes twice that."""
STEPS = 6


class Sleeper(nn.Layer):
    """A layer that does nothing, slowly."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def forward(self, x: Array, mode: nn.Mode) -> tuple[Array, Any]:
        time.sleep(self.seconds)
        return x, None

    def backward(self, dy: Array, saved: Any) -> Array:
        time.sleep(2 * self.seconds)
        return dy


def measured_bubble(seconds: list[float], micro_batches: int) -> float:
    """The share of all stages' time that is not spent in forward or backward, in a median step."""
    samples = 4 * micro_batches
    inputs = np.zeros((samples * STEPS, 3))
    trainer = Trainer(nn.Sequential(*map(Sleeper, seconds)), nn.MSE(), optim.SGD(lr=0.1))
    history = trainer.fit(
        (inputs, inputs.copy()),
        epochs=1,
        batch_size=samples,
        strategy=strategy.Pipeline(len(seconds), micro_batches),
    )
    assert history.trace is not None
    return median(_idle(history.trace.steps(step, step)) for step in range(1, STEPS))


def _idle(trace: Trace) -> float:
    computing = [
        spans[np.isin(spans["kind"], [KINDS.index("forward"), KINDS.index("backward")])]
        for spans in trace.ranks
    ]
    begin = min(spans["start"].min() for spans in computing)
    end = max(spans["stop"].max() for spans in computing)
    busy = sum(float((spans["stop"] - spans["start"]).sum()) for spans in computing)
    return 1 - busy / ((end - begin) * len(computing))


def main() -> None:
    """Print measured and expected bubbles."""
    print(machine())
    print("GPipe; idle share of the stages in a step: measured on processes, by formula")
    for stages in (2, 3, 4):
        for micro_batches in (1, 2, 4, 8):
            found = measured_bubble([SLEEP] * stages, micro_batches)
            expected = gpipe_bubble(stages, micro_batches)
            print(f"p={stages} m={micro_batches}: {found:6.1%}   (p-1)/(m+p-1) = {expected:6.1%}")
    for slow in range(3):
        seconds = [SLEEP * (2 if stage == slow else 1) for stage in range(3)]
        found = measured_bubble(seconds, 4)
        backward = [2 * each for each in seconds]
        ideal = gpipe_makespan(seconds, backward, 4)
        expected = 1 - 4 * sum(seconds + backward) / (3 * ideal)
        print(f"p=3 m=4, stage {slow} twice as slow: {found:6.1%}   by makespan {expected:6.1%}")


if __name__ == "__main__":
    main()
