"""Threads that train: one model in one fit at a time, many models at once."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from minidl import nn, optim
from minidl.errors import InputError
from minidl.train import Run, Trainer

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 2


class Slow(nn.Linear):
    """Is built until both threads are in `fit`, or the other has been sent away."""

    def __init__(self) -> None:
        super().__init__(2)
        self.building = threading.Event()
        self.refused = threading.Event()

    def build(self, shape: nn.Shape) -> nn.Shape:
        self.building.set()
        self.refused.wait(0.5)
        return super().build(shape)


@pytest.mark.parametrize(("trainers", "shared"), [(1, False), (2, False), (2, True)])
def test_of_two_threads_that_begin_to_train_a_model_one_is_let_in(
    trainers: int, shared: bool
) -> None:
    """Or a layer that two models share."""
    model = Slow()
    models = [model, nn.Sequential(model) if shared else model]
    made = [Trainer(models[n], nn.CrossEntropy(), optim.SGD(lr=0.1)) for n in range(trainers)]
    outcomes: list[str] = []

    def train(trainer: Trainer) -> None:
        try:
            trainer.fit((X, Y), epochs=2, batch_size=4, progress=False)
            outcomes.append("trained")
        except InputError as error:
            outcomes.append(str(error))
            model.refused.set()

    first = threading.Thread(target=train, args=(made[0],))
    first.start()
    assert model.building.wait(10)
    train(made[-1])
    first.join()
    refused, trained = outcomes
    assert "a fit is under way" in refused
    assert trained == "trained"
    assert made[0].epoch == 2
    made[-1].fit((X, Y), epochs=1, batch_size=4, progress=False)  # later it is free again


def test_while_a_layer_is_trained_no_other_model_uses_it() -> None:
    """Its weights are elsewhere: `predict` drew new ones."""
    shared = nn.Linear(2)
    other = Trainer(nn.Sequential(shared, nn.ReLU()), nn.CrossEntropy(), optim.SGD(lr=0.1))
    other.evaluate((X, Y))
    refused = []

    def use(run: Run) -> None:
        for call in (lambda: other.predict(X), other.weights, lambda: other.load("nowhere")):
            with pytest.raises(InputError, match="a fit is under way"):
                call()
            refused.append(1)

    trainer = Trainer(nn.Sequential(shared), nn.CrossEntropy(), optim.SGD(lr=0.1))
    trainer.fit((X, Y), epochs=1, batch_size=4, progress=False, callbacks=use)
    assert refused == [1, 1, 1]
    np.testing.assert_array_equal(other.predict(X), np.maximum(trainer.predict(X), 0))


def test_a_fit_that_fails_leaves_the_model_free() -> None:
    trainer = Trainer(nn.Linear(2), nn.CrossEntropy(), optim.SGD(lr=0.1))
    with pytest.raises(InputError, match="epochs"):
        trainer.fit((X, Y), epochs=-1, batch_size=4)
    trainer.fit((X, Y), epochs=1, batch_size=4, progress=False)
    assert trainer.epoch == 1
