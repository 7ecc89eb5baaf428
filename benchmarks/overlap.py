"""What overlap hides of communication: LeNet-5 and ResNet-20 over an emulated link of 1 Gbit/s.

Two workers train with all gradients at once, in buckets, and in buckets beside the backward
pass, in turns. The first two differ by what buckets cost; the third from the second by what
overlap hides.

Run it with ``python -m benchmarks.overlap``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from benchmarks.measure import machine
from minidl import data, models, nn, optim, rng, strategy
from minidl.plans import Link, predicted_seconds, ring_all_reduce
from minidl.report.timeline import hidden_share
from minidl.runtime import Processes
from minidl.runtime.trace import KINDS, Trace
from minidl.train import Trainer

GIGABIT = Link(latency=50e-6, bandwidth=125e6)
"""50 microseconds and 1 Gbit/s."""
STEPS, ROUNDS = 12, 5


@dataclass(frozen=True)
class Network:
    """What is trained: a network, its images, samples in a global batch, bytes in a bucket."""

    make: Callable[[], nn.Sequential]
    image: tuple[int, int, int]
    batch_size: int
    bucket_bytes: int


NETWORKS = {
    "LeNet-5": Network(models.lenet5, (28, 28, 1), 64, 1 << 15),
    "ResNet-20": Network(models.resnet20, (32, 32, 3), 16, 1 << 17),
}


def trained(network: Network, steps: int, link: Link | None, **how: Any) -> Trainer:
    """A trainer after so many steps on random images, on two workers."""
    numbers = rng.stream(0, "images")
    count = network.batch_size * steps
    images = numbers.normal(size=(count, *network.image)).astype(np.float32)
    trainer = Trainer(network.make(), nn.CrossEntropy(), optim.SGD(0.01), seed=0)
    trainer.fit(
        data.Dataset(images, np.arange(count) % 10),
        epochs=1,
        batch_size=network.batch_size,
        strategy=strategy.AllReduce(2, runtime=Processes(link=link), **how),
    )
    return trainer


def trace_of(trainer: Trainer) -> Trace:
    """All but its first step, which loads kernels, and its last, after which all are evaluated."""
    trace = trainer.history.trace
    assert trace is not None
    return trace.steps(1, len(trainer.history.losses) - 2)


def step_seconds(trace: Trace) -> float:
    """Of a median step, from one forward pass to the next."""
    own = trace.ranks[0]
    begins = own["start"][own["kind"] == KINDS.index("forward")]
    return float(np.median(np.diff(begins)))


def main() -> None:
    """Print a line for each network."""
    print(machine())
    for name, network in NETWORKS.items():
        buckets = {"bucket_bytes": network.bucket_bytes}
        ways: dict[str, tuple[Link | None, dict[str, Any]]] = {
            "no link": (None, {}),
            "at once": (GIGABIT, {}),
            "buckets": (GIGABIT, buckets),
            "overlap": (GIGABIT, {**buckets, "overlap": True}),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        hidden = []
        for _ in range(ROUNDS):
            for way, (link, how) in ways.items():
                trainer = trained(network, STEPS, link, **how)
                trace = trace_of(trainer)
                seconds[way].append(step_seconds(trace))
                if way == "overlap":
                    hidden.append(hidden_share(trace))
        size = sum(value.nbytes for value in trainer.weights().values())
        alone = predicted_seconds(ring_all_reduce(2), size, GIGABIT.latency, GIGABIT.bandwidth)
        times = {way: median(each) for way, each in seconds.items()}
        saved = (times["buckets"] - times["overlap"]) / (times["buckets"] - times["no link"])
        shown = ", ".join(f"{way} {1e3 * each:.1f} ms" for way, each in times.items())
        print(
            f"{name}: {size / 1e6:.2f} MB, {1e3 * alone:.1f} ms on the link; a step: {shown}; "
            f"hidden {median(hidden):.0%} of the exchanges' time by the trace, "
            f"{saved:.0%} of what buckets over the link cost by the steps"
        )


if __name__ == "__main__":
    main()
