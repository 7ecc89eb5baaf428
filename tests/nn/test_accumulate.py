"""Training spares the gradient by the network's input, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import nn, optim, rng
from minidl.train import Trainer


class Doubled(nn.Linear):
    """A layer of one's own, which knows only `backward`: its gradients are twice as large."""

    def backward(self, dy: nn.Array, saved: Any) -> nn.Array:
        return super().backward(2 * dy, saved)


class DoubledConv(nn.Conv2d):
    """The same, of another layer."""

    def backward(self, dy: nn.Array, saved: Any) -> nn.Array:
        return super().backward(2 * dy, saved)


@pytest.mark.parametrize(
    ("plain", "doubled", "shape"),
    [
        (lambda: nn.Linear(2), lambda: Doubled(2), (3,)),
        (lambda: nn.Conv2d(2, 3), lambda: DoubledConv(2, 3), (3, 3, 1)),
    ],
)
def test_a_subclass_that_overrides_backward_is_asked(plain: Any, doubled: Any, shape: Any) -> None:
    numbers = rng.stream(0, "accumulate")
    x, y = numbers.normal(size=(6, *shape)), numbers.integers(0, 2, 6)
    moved = []
    for make in (plain, doubled):
        trainer = Trainer(
            nn.Sequential(make(), nn.Flatten()), nn.CrossEntropy(), optim.SGD(0.1), dtype="float64"
        )
        trainer.predict(x)
        before = trainer.weights()
        trainer.fit((x, y), epochs=1, batch_size=6)
        moved.append({name: w - before[name] for name, w in trainer.weights().items()})
    for name, step in moved[0].items():
        np.testing.assert_allclose(moved[1][name], 2 * step, rtol=1e-9)
