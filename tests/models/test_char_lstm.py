"""A network that continues text: its size, that it learns, and what it makes up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import data, models, nn, optim
from minidl.errors import InputError, ShapeError
from minidl.train import Trainer

WORDS = 5


def network(seed: int = 0, layers: int = 1) -> nn.Sequential:
    """A small one, with weights large enough to have preferences."""
    made = models.char_lstm(WORDS, features=3, hidden_size=4, layers=layers, dropout=0.5)
    made.initialise((2,), seed=seed, dtype=np.float64).values[...] *= 3
    return made


SEQUENCES = st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=7).map(np.array)
NETWORKS = st.builds(network, st.integers(0, 5), st.integers(1, 2))


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 9])
def test_its_size_follows_the_formula(layers: int, steps: int) -> None:
    c, d, h = 65, 7, 11
    made = models.char_lstm(c, features=d, hidden_size=h, layers=layers, dropout=0.1)
    first, other = (4 * (width * h + h * h + h) for width in (d, h))
    assert len(made.initialise((steps,))) == c * d + first + (layers - 1) * other + h * c + c
    assert made.build((steps,)) == (steps, c)


@given(NETWORKS, SEQUENCES, st.data())
def test_a_sequence_may_come_in_pieces(made: nn.Sequential, x: np.ndarray, drawn) -> None:
    whole, _ = made.forward(x[np.newaxis], nn.EVALUATE)
    cuts = sorted(drawn.draw(st.sets(st.integers(1, len(x) - 1)))) if len(x) > 1 else []
    states, outputs = None, []
    for piece in np.split(x, cuts):
        y, states = models.forward_from(made, piece[np.newaxis], states)
        outputs.append(y)
    np.testing.assert_allclose(np.concatenate(outputs, axis=1), whole, rtol=1e-12, atol=1e-14)


def likeliest(made: nn.Sequential, start: np.ndarray, count: int) -> list[int]:
    """The definition: the whole sequence is shown anew for each further number."""
    sequence = list(start)
    for _ in range(count):
        logits, _ = made.forward(np.array([sequence]), nn.EVALUATE)
        sequence.append(int(logits[0, -1].argmax()))
    return sequence[len(start) :]


@given(NETWORKS, SEQUENCES, st.integers(0, 9), st.integers(0, 99))
def test_without_temperature_the_likeliest_follows(
    made: nn.Sequential, start: np.ndarray, count: int, seed: int
) -> None:
    expected = likeliest(made, start, count)
    for temperature in (0, 1e-9):
        found = models.sample(made, start, count, temperature=temperature, seed=seed)
        assert found.tolist() == expected


@given(NETWORKS, SEQUENCES, st.integers(0, 99), st.floats(0, 5))
def test_equal_seeds_draw_equal_sequences(
    made: nn.Sequential, start: np.ndarray, seed: int, temperature: float
) -> None:
    one, two, longer = (
        models.sample(made, start, count, temperature=temperature, seed=seed)
        for count in (10, 10, 12)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, longer[:10])


def test_other_seeds_draw_other_sequences() -> None:
    drawn = {tuple(models.sample(network(), np.array([0]), 20, seed=seed)) for seed in range(8)}
    assert len(drawn) == 8


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_numbers_are_as_frequent_as_the_softmax_says(temperature: float) -> None:
    """A network that forgets all it sees: its bias alone decides."""
    made = network()
    logits = np.array([2.0, 1.0, 0.0, -1.0, 0.5])
    made[3].weight.value[...] = 0
    made[3].bias.value[...] = logits
    count = 4000
    drawn = models.sample(made, np.array([1]), count, temperature=temperature)
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    found = np.bincount(drawn, minlength=WORDS) / count
    assert np.all(np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / count))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": np.array([], int)}, "start must have shape (T,), T at least 1, not (0,)"),
        ({"start": np.array([[1]])}, "start must have shape (T,), T at least 1, not (1, 1)"),
        ({"start": np.array([5])}, "inputs must be from 0 to 4"),
        ({"start": np.array([0.5])}, "cannot take float64 inputs"),
        ({"count": -1}, "count must be a whole number of at least 0, not -1"),
        ({"temperature": -0.1}, "temperature must be at least 0 and finite, not -0.1"),
        ({"temperature": np.nan}, "temperature must be at least 0 and finite, not nan"),
        ({"network": nn.Linear(3)}, "the network must be a Sequential, not Linear"),
    ],
)
def test_bad_input_is_refused(settings: dict, message: str) -> None:
    given_ = {"network": network(), "start": np.array([1]), "count": 3} | settings
    with pytest.raises(InputError) as caught:
        models.sample(**given_)
    assert message in str(caught.value)


def test_states_must_fit_the_network() -> None:
    x = np.array([[1, 2]])
    _, states = models.forward_from(network(), x)
    with pytest.raises(ShapeError, match="needs a state of 2 array"):
        models.forward_from(network(layers=2), x, states)
    with pytest.raises(InputError, match="4 layers need as many states, not 3"):
        models.forward_from(network(), x, states[:3])


def test_a_short_training_beats_counting() -> None:
    """The last character but one decides: what no bigram can know."""
    text = "abcbadbe" * 40
    classes = tuple("abcde")
    train = data.windows(text, classes, 16)
    trainer = Trainer(
        models.char_lstm(5, features=8, hidden_size=16, dropout=0),
        nn.CrossEntropy(),
        optim.Adam(lr=0.02),
    )
    trainer.fit(train, epochs=12, batch_size=4)
    assert trainer.evaluate(train)["loss"] < 0.5 * data.bigram_loss(train, train)
    made = models.sample(trainer.model, data.encode("abcbadbeab", classes), 16, temperature=0)
    assert data.decode(made, classes) == "cbadbeabcbadbeab"
