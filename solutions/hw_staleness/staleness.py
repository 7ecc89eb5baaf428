"""Homework: two ways to trust stale gradients less, and a run that they rescue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# stub: from minidl import data, errors, nn, optim, plans, sim, strategy
# solution: begin
from minidl import data, nn, optim, plans, sim, strategy

# solution: end
from minidl.sim.formulas import stability_edge
from minidl.train import Trainer


@dataclass(frozen=True)
class ByGradient(optim.SGD):
    """Gradient descent that multiplies a gradient of staleness τ by 1/max(1, τ).

    Zhang, Gupta, Lian and Liu, "Staleness-aware async-SGD for distributed deep learning".
    """

    def weights(self, staleness: Sequence[int], distances: Sequence[float]) -> tuple[float, ...]:
        """Say what the gradients of one update are multiplied with, before their mean is taken.

        Parameters
        ----------
        staleness
            For each gradient τ, how many updates it has missed: how often the weights have
            changed since those that it was computed from. At least one gradient.
        distances
            For each gradient how far the weights have moved since. Not needed here.

        Returns
        -------
        tuple of float
            A number for each gradient, in their order.
        """
        # stub: raise errors.NotWrittenError("ByGradient.weights is not written yet: see its task")
        # solution: begin
        return tuple(1 / max(1, missed) for missed in staleness)
        # solution: end


@dataclass(frozen=True)
class ByMean(optim.SGD):
    """Gradient descent that multiplies all gradients of an update by one over their mean τ.

    Where this mean is below 1, they are left as they are. Gupta, Zhang and Wang, "Model
    accuracy and runtime tradeoff in distributed deep learning".
    """

    def weights(self, staleness: Sequence[int], distances: Sequence[float]) -> tuple[float, ...]:
        """Say what the gradients of one update are multiplied with, as for `ByGradient`.

        Hints
        -----
        - All numbers are the same, and there are as many as there are gradients.
        - (0.5,) * 3 is a tuple of three.
        """
        # stub: raise errors.NotWrittenError("ByMean.weights is not written yet: see its hints")
        # solution: begin
        mean = sum(staleness) / len(staleness)
        return (1 / max(1.0, mean),) * len(staleness)
        # solution: end


def train(optimizer: optim.Optimizer, learners: int = 8, epochs: int = 40) -> list[float]:
    """Descend w² with gradients that have all missed P - 1 updates; ``abs(w)``, epoch by epoch.

    P learners take equally long, and every gradient makes an update, P of them an epoch. The
    curvature of w² is 2; w begins at 1.
    """
    ones = data.Dataset(np.ones((learners, 1)), np.zeros((learners, 1)))
    model = nn.Sequential(nn.Linear(1, bias=False, weight_init=nn.init.ones))
    trainer = Trainer(model, nn.MSE(), optimizer, dtype="float64")
    how = strategy.ParameterServer(learners, plans.Async(), straggler=sim.Constant(1.0))
    history = trainer.fit(
        ones, epochs=epochs, batch_size=learners, strategy=how, clock="virtual", progress=False,
        validation=ones,
    )  # fmt: skip
    return [epoch.validation["loss"] ** 0.5 for epoch in history.epochs]


if __name__ == "__main__":
    edge = stability_edge(7) / 2
    print(f"8 learners, staleness 7: stable below a learning rate of {edge:.4f}")
    print("abs(w) after                       4      8     16     32     40 epochs")
    for title, optimizer in (
        ("plain, 0.8 of it", optim.SGD(0.8 * edge)),
        ("plain, 1.5 of it", optim.SGD(1.5 * edge)),
        ("yours by gradient, 1.5 of it", ByGradient(1.5 * edge)),
        ("yours by mean, 1.5 of it", ByMean(1.5 * edge)),
    ):
        sizes = train(optimizer)
        print(f"{title:30}", *(f"{sizes[epoch - 1]:6.3g}" for epoch in (4, 8, 16, 32, 40)))
