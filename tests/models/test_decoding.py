"""Writing by itself: what greedy and beam search find, held to all that could be written."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from finite_differences import randomise
from hypothesis import given
from hypothesis import strategies as st

from minidl import nn
from minidl.errors import InputError
from minidl.models import Decoded, Seq2Seq, beam, greedy

PADDING, START, END, WORDS, READ = 0, 1, 2, 4, 3


def a_network(seed: int, cell: str = "gru", layers: int = 1) -> Seq2Seq:
    """With random parameters, float64, large ones so that it is sure of what it says."""
    network = Seq2Seq(READ, 5, WORDS, 3, 3, layers, cell=cell)
    buffer = network.initialise((READ + 1,), dtype=np.float64)
    randomise(buffer, np.random.default_rng(seed))
    buffer.values *= 2
    return network


networks = st.builds(
    a_network, st.integers(0, 9999), st.sampled_from(["gru", "lstm"]), st.integers(1, 2)
)
sources = st.builds(
    lambda n, seed: np.random.default_rng(seed).integers(0, 5, (n, READ)),
    st.integers(0, 4),
    st.integers(0, 9999),
)
lengths = st.integers(1, 4)


def by_greed(network: Seq2Seq, source: np.ndarray, steps: int) -> Decoded:
    return greedy(network, source, start=START, end=END, steps=steps)


def by_beam(network: Seq2Seq, source: np.ndarray, width: int, steps: int) -> Decoded:
    return beam(network, source, width, start=START, end=END, steps=steps)


def scored(network: Seq2Seq, source: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The log-probability of each token under teacher forcing, 0 behind the end."""
    given = np.concatenate((np.full((len(tokens), 1), START), tokens[:, :-1]), axis=1)
    logits, _ = network.forward(np.concatenate((source, given), axis=1), nn.EVALUATE)
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    chosen = np.log(np.take_along_axis(p, tokens[:, :, None], axis=2)[:, :, 0])
    return np.where(behind_the_end(tokens), 0, chosen)


def behind_the_end(tokens: np.ndarray) -> np.ndarray:
    ends = np.cumsum(tokens == END, axis=1)
    return np.pad(ends, ((0, 0), (1, 0)))[:, :-1] > 0


@given(network=networks, source=sources, steps=lengths, width=st.integers(1, 6))
def test_a_score_is_the_log_probability_of_what_was_written(network, source, steps, width):
    for found in (by_greed(network, source, steps), by_beam(network, source, width, steps)):
        assert found.tokens.shape == (len(source), steps)
        assert (found.tokens[behind_the_end(found.tokens)] == PADDING).all()
        expected = scored(network, source, found.tokens).sum(axis=1)
        np.testing.assert_allclose(found.scores, expected, rtol=1e-9, atol=1e-12)


@given(network=networks, source=sources, steps=lengths)
def test_greed_takes_the_likeliest_at_every_step(network, source, steps):
    tokens = by_greed(network, source, steps).tokens
    given = np.concatenate((np.full((len(tokens), 1), START), tokens[:, :-1]), axis=1)
    logits, _ = network.forward(np.concatenate((source, given), axis=1), nn.EVALUATE)
    expected = np.where(behind_the_end(tokens), PADDING, logits.argmax(axis=2))
    np.testing.assert_array_equal(tokens, expected)


@given(network=networks, source=sources, steps=lengths)
def test_a_beam_of_one_is_greed(network, source, steps):
    one, other = by_beam(network, source, 1, steps), by_greed(network, source, steps)
    np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_array_equal(one.scores, other.scores)


@given(network=networks, source=sources, steps=st.integers(1, 3), width=st.integers(1, 6))
def test_the_widest_beam_finds_the_best_of_all_and_no_other_a_better_one(
    network, source, steps, width
):
    every = np.array(list(product(range(WORDS), repeat=steps)))
    every = np.unique(np.where(behind_the_end(every), PADDING, every), axis=0)
    widest = by_beam(network, source, WORDS**steps, steps)
    for row, one in enumerate(source):
        scores = scored(network, np.tile(one, (len(every), 1)), every).sum(axis=1)
        assert widest.scores[row] == pytest.approx(scores.max())
        np.testing.assert_array_equal(widest.tokens[row], every[scores.argmax()])
    for other in (by_greed(network, source, steps), by_beam(network, source, width, steps)):
        assert (other.scores <= widest.scores + 1e-12).all()


@given(network=networks, source=sources, steps=lengths, width=st.integers(1, 6))
def test_each_source_is_decoded_as_it_would_be_alone(network, source, steps, width):
    together = by_beam(network, source, width, steps)
    for row in range(len(source)):
        alone = by_beam(network, source[row : row + 1], width, steps)
        np.testing.assert_array_equal(alone.tokens[0], together.tokens[row])


def a_chain(table: np.ndarray) -> Seq2Seq:
    """A decoder whose next token depends on the last one alone, with the probabilities given."""
    words = len(table)
    network = Seq2Seq(READ, 5, words, words, words, cell="gru")
    buffer = network.initialise((READ + 1,), dtype=np.float64)
    buffer.values[...] = 0
    network.target_embedding.weight.value[...] = np.eye(words)
    cell = network.decoder.cells["0"]
    cell.bias.value[words : 2 * words] = -40  # the gate that would keep the old state
    cell.weight.value[:, 2 * words :] = 40 * np.eye(words)
    network.output.weight.value[...] = np.log(np.maximum(table, 1e-9))
    return network


def test_a_wider_beam_can_find_worse():
    """The way to 5 by 3 is pushed out by 6 and 7, which look better just then and lead nowhere."""
    table = np.full((8, 8), 1 / 8)
    for token, following in {
        START: {3: 0.4, 4: 0.35, 5: 0.25},
        3: {5: 0.3, 3: 0.25, 6: 0.25, 7: 0.2},
        4: {6: 0.5, 7: 0.5},
        5: {END: 1},
    }.items():
        table[token] = [following.get(after, 0) for after in range(8)]
    network, source = a_chain(table), np.ones((1, READ), int)
    found = [by_beam(network, source, width, 3) for width in (1, 2, 3)]
    assert [one.tokens[0].tolist()[0] for one in found] == [3, 4, 5]
    np.testing.assert_allclose(
        np.exp([one.scores[0] for one in found]), [0.4 * 0.3, 0.35 * 0.5 / 8, 0.25], rtol=1e-6
    )
    assert found[0].tokens.tolist() == [[3, 5, END]]
    assert found[2].tokens.tolist() == [[5, END, PADDING]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 0}, "beam: width must be a whole number of at least 1, not 0"),
        ({"steps": 0}, "steps must be a whole number of at least 1, not 0"),
        ({"start": WORDS}, "start must be a whole number from 0 to 3, not 4"),
        ({"end": -1}, "end must be a whole number from 0 to 3, not -1"),
        ({"end": 2**63}, "end must be a whole number from 0 to 3, not 9223372036854775808"),
    ],
)
def test_what_cannot_be_decoded_is_refused(wrong, message):
    network, source = a_network(0), np.ones((1, READ), int)
    given = {"start": START, "end": END, "steps": 2} | wrong
    with pytest.raises(InputError, match=message):
        beam(network, source, **{"width": 2} | given)
    if "width" not in wrong:
        with pytest.raises(InputError, match=message):
            greedy(network, source, **given)
