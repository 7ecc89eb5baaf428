"""Whole numbers reach a network that begins with an embedding, and only such a one, as they are."""

from __future__ import annotations

import numpy as np
import pytest
from cases import MAKERS, strategy, trainer

from minidl import data, nn
from minidl.errors import InputError, NotBuiltError

X = np.random.default_rng(0).integers(0, 5, (20, 3))
Y = X.max(axis=1) % 3


def network() -> nn.Sequential:
    inner = nn.Sequential(nn.Embedding(5, 4), nn.Flatten())
    return nn.Sequential(inner, nn.Tanh(), nn.Linear(3))


@pytest.mark.parametrize("name", MAKERS)
def test_tokens_are_trained_on_evaluated_and_predicted_under_every_strategy(name: str) -> None:
    made = trainer(network())
    made.fit((X, Y), epochs=2, batch_size=8, validation=(X, Y), strategy=strategy(name))
    assert made.history.last().validation == pytest.approx(made.evaluate((X, Y)))
    assert made.predict(X.astype(np.uint8)).shape == (20, 3)
    np.testing.assert_array_equal(made.predict(X), made.predict(data.Dataset(X, Y)))


def test_large_numbers_are_not_rounded_to_floats() -> None:
    """2**24 + 1 is no float32."""
    tokens = data.Dataset(np.array([[2**24 + 1]]), np.array([0]))
    assert tokens.batch(slice(None))[0].dtype == np.float32
    x, _ = tokens.with_integers().batch(slice(None))
    assert x.dtype == tokens.inputs.dtype
    assert x[0, 0] == 2**24 + 1
    x[...] = 0
    assert tokens.inputs.all()


def test_a_network_without_embedding_gets_integers_as_floats() -> None:
    made = trainer(nn.Sequential(nn.Linear(3)))
    assert made.predict(X).dtype == np.float32


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((X.astype(float), Y), "needs integers as they are; these inputs have dtype float64"),
        (data.Dataset(X, Y, scale=0.5), "scale 0.5"),
        (data.Dataset(X, Y, offset=1.0), "offset 1.0"),
        ((X + 1, Y), "from 0 to 4; they run from 1 to 5"),
        ((X - 1, Y), "from 0 to 4; they run from -1 to 3"),
    ],
)
def test_inputs_that_cannot_be_looked_up_are_refused_before_training(bad, message) -> None:
    made = trainer(network())
    for act in (
        lambda: made.fit(bad, epochs=1, batch_size=4),
        lambda: made.fit((X, Y), epochs=1, batch_size=4, validation=bad),
        lambda: made.evaluate(bad),
        lambda: made.predict(bad[0] if isinstance(bad, tuple) else bad),
    ):
        with pytest.raises(InputError, match=message):
            act()
    with pytest.raises(NotBuiltError):
        made.weights()
