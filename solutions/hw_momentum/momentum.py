"""Homework: stochastic gradient descent with momentum, as an optimizer of minidl."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# stub: from minidl import data, errors, models, nn, optim, strategy
# solution: begin
from minidl import data, models, nn, optim, strategy

# solution: end
from minidl.train import Trainer


@dataclass(frozen=True)
class Momentum(optim.Optimizer):
    """Gradient descent that keeps a part of its velocity.

    With w the weights, g the gradient by them and v the velocity, 0 at first, a step is

        v = momentum · v + g
        w = w - lr · v                      or, with `nesterov`,
        w = w - lr · (g + momentum · v)     where v is the new one

    as in PyTorch's ``torch.optim.SGD``. Without momentum it is w = w - lr · g.

    Parameters
    ----------
    lr
        The learning rate. It may differ from one step to the next: v knows nothing of it.
    momentum
        How much of the velocity is kept, from 0 to 1; 0.9 is usual.
    nesterov
        Whether to use the gradient once more, as if looking a step ahead.
    """

    lr: float
    momentum: float = 0.9
    nesterov: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the vectors that are kept from step to step.

        An optimizer has no state of its own. Whoever trains holds a vector of zeros, as
        long as the weights, for each name given here, hands them to every `step`, and can
        cut them, send them or save them. What needs no memory should name none.

        Hints
        -----
        - A tuple of one string has a comma: ("velocity",).
        """
        # stub: raise errors.NotWrittenError("slots is not written yet: what is to be kept?")
        # solution: begin
        return ("velocity",) if self.momentum else ()
        # solution: end

    def step(
        self, values: np.ndarray, grads: np.ndarray, slots: dict[str, np.ndarray], step: int
    ) -> None:
        """Move the weights, in place.

        Parameters
        ----------
        values
            All weights of the network, (P,), or a part of them. To be changed in place.
        grads
            Their gradient, (P,). Not to be changed.
        slots
            For each name in `slots` a vector, (P,). To be changed in place.
        step
            How many steps came before.

        Hints
        -----
        - `values -= ...` changes the array that the caller holds; `values = values - ...`
          makes a new one, of which the caller learns nothing. So does `v = v * 0.9`.
        """
        # stub: raise errors.NotWrittenError("step is not written yet: see its hints")
        # solution: begin
        if not self.momentum:
            values -= self.lr * grads
            return
        v = slots["velocity"]
        v *= self.momentum
        v += grads
        values -= self.lr * (grads + self.momentum * v if self.nesterov else v)
        # solution: end


def train(
    optimizer: optim.Optimizer, epochs: int = 4, how: strategy.Strategy | None = None
) -> tuple[list[float], dict[str, np.ndarray]]:
    """Train an MLP on digits; the loss after each epoch on unseen digits, and the weights."""
    digits, unseen = data.digits()
    trainer = Trainer(models.mlp(), nn.CrossEntropy(), optimizer, seed=0)
    history = trainer.fit(
        digits, epochs=epochs, batch_size=64, validation=unseen, progress=False,
        strategy=how or strategy.Serial(),
    )  # fmt: skip
    return [epoch.validation["loss"] for epoch in history.epochs], trainer.weights()


if __name__ == "__main__":
    print("the loss on unseen digits after each epoch")
    for title, optimizer, how in (
        ("yours, no momentum", Momentum(0.01, 0.0), None),
        ("yours", Momentum(0.01), None),
        ("yours, on a ring of 2", Momentum(0.01), strategy.RingAllReduce(2)),
        ("minidl's", optim.SGD(0.01, momentum=0.9), None),
        ("yours, Nesterov's", Momentum(0.01, nesterov=True), None),
        ("minidl's, Nesterov's", optim.SGD(0.01, momentum=0.9, nesterov=True), None),
    ):
        losses, _ = train(optimizer, how=how)
        print(f"{title:22}", *(f"{loss:.4f}" for loss in losses))
