"""What a run in virtual time costs: 64 learners, 2,000 updates, under every rule.

An update costs its gradients: those that are cancelled are never computed. So the time grows
with updates times gradients in an update, and hardly with the number of learners.

Run it with ``python -m benchmarks.virtual_time``.
"""

from __future__ import annotations

import resource
import time

from benchmarks.measure import machine
from minidl import data, models, nn, optim, plans, sim
from minidl.strategy import AllReduce, ParameterServer, Strategy
from minidl.train import Trainer

LEARNERS, UPDATES, SAMPLES = 64, 2000, 4
"""SAMPLES are those of a learner's mini-batch."""
LAW = sim.Exponential(1.0)


def seconds(how: Strategy, learners: int, gradients: int, updates: int) -> tuple[float, int]:
    """What so many updates took, and how many they were: an epoch is not begun in vain."""
    train, _ = data.digits()
    trainer = Trainer(models.mlp((32,)), nn.CrossEntropy(), optim.SGD(0.01))
    batch_size = SAMPLES * learners
    steps = -(-len(train) // batch_size) * learners / gradients
    began = time.perf_counter()
    history = trainer.fit(
        train,
        epochs=round(-(-updates // steps)),
        batch_size=batch_size,
        strategy=how,
        clock="virtual",
    )
    return time.perf_counter() - began, len(history.steps)


def main() -> None:
    """Print a line for each rule, and for other numbers of learners."""
    print(machine())
    seconds(ParameterServer(2, plans.Async(), LAW), 2, 1, 10)  # loads the kernels
    half = LEARNERS // 2
    rules = (
        plans.FullySync(), plans.KSync(half), plans.KBatchSync(half), plans.KAsync(half),
        plans.KBatchAsync(half), plans.Softsync(2), plans.Async(),
    )  # fmt: skip
    ways: list[tuple[str, Strategy, int, int]] = [
        (str(rule), ParameterServer(LEARNERS, rule, LAW), LEARNERS, rule.gradients(LEARNERS))
        for rule in rules
    ]
    ways.append(("ring", AllReduce(LEARNERS, straggler=LAW), LEARNERS, LEARNERS))
    for count in (4 * LEARNERS, 16 * LEARNERS):
        how = ParameterServer(count, plans.KAsync(half), LAW)
        ways.append((str(plans.KAsync(half)), how, count, half))
    for name, how, learners, gradients in ways:
        taken, updates = seconds(how, learners, gradients, UPDATES)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:18} {learners:4} learners, {updates} updates: {taken:6.1f} s, "
            f"{1e6 * taken / updates / gradients:4.0f} µs a gradient, {peak:.0f} MiB at most"
        )


if __name__ == "__main__":
    main()
