"""How a `Seq2Seq` writes by itself: always the likeliest next token, or several ways at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl import kernels
from minidl.checks import MANY, checked, whole
from minidl.errors import ShapeError
from minidl.models.seq2seq import Seq2Seq
from minidl.nn.layer import EVALUATE
from minidl.nn.parameters import Array
from minidl.reprs import brief


class Decoded(NamedTuple):
    """What has been written for each source."""

    tokens: Array
    """(N, steps), with padding behind the end."""
    scores: Array
    """(N,), the logarithm of its probability, the end's included."""

    def __repr__(self) -> str:
        return brief(self)


@checked
def greedy(model: Seq2Seq, sources: np.ndarray, *, start: int, end: int, steps: int) -> Decoded:
    """The likeliest token at each step, which is then given to the next.

    Parameters
    ----------
    model
        Initialised.
    sources
        (N, S), whole numbers, padded.
    start
        The token that the decoder is given first.
    end
        The token behind which a text has finished.
    steps
        How many tokens it writes at most; of equally likely ones the first.

    Raises
    ------
    InputError
        If `steps` is not positive, or a source, `start` or `end` is no token of the model's.
    """
    if sources.ndim != 2:
        raise ShapeError(f"greedy: sources must be (N, S), not of shape {sources.shape}")
    whole("greedy: steps", steps, most=MANY)
    whole("greedy: start", start, 0, most=model.target_embedding.vocabulary - 1)
    whole("greedy: end", end, 0, most=model.output.out_features - 1)
    xp, n = kernels.array_module(sources), len(sources)
    state, _ = model.encode(sources, EVALUATE)
    token, done = xp.full(n, start), xp.zeros(n, bool)
    tokens, scores = xp.full((n, steps), model.padding), xp.zeros(n, state[0].dtype)
    for step in range(steps):
        logits, state, _ = model.decode(token[:, None], state, EVALUATE)
        token = logits[:, 0].argmax(axis=1)
        scores += xp.where(done, 0, _log_softmax(logits[:, 0])[xp.arange(n), token])
        tokens[:, step] = xp.where(done, model.padding, token)
        done |= token == end
    return Decoded(tokens, scores)


@checked
def beam(
    model: Seq2Seq, sources: np.ndarray, width: int, *, start: int, end: int, steps: int
) -> Decoded:
    """The best found by following the `width` likeliest beginnings at each step.

    Width 1 is `greedy`, and a width of all there are finds the likeliest of all. In between,
    a wider beam mostly finds better, but need not: a beginning that would have ended well may
    be pushed out by others that look better just then.

    Parameters
    ----------
    model
        As for `greedy`.
    sources
        As for `greedy`.
    start
        As for `greedy`.
    end
        As for `greedy`.
    steps
        How many tokens are written at most.
    width
        How many beginnings are kept for each source; of equally likely ones the first.

    Raises
    ------
    InputError
        As `greedy`, and if `width` is not positive.

    References
    ----------
    Sutskever, Vinyals and Le, "Sequence to sequence learning with neural networks", 2014,
    section 3.2.
    """
    if sources.ndim != 2:
        raise ShapeError(f"beam: sources must be (N, S), not of shape {sources.shape}")
    whole("beam: steps", steps, most=MANY)
    whole("beam: start", start, 0, most=model.target_embedding.vocabulary - 1)
    whole("beam: end", end, 0, most=model.output.out_features - 1)
    whole("beam: width", width, most=MANY)
    xp, n, words = kernels.array_module(sources), len(sources), model.output.out_features
    state, _ = model.encode(sources, EVALUATE)
    kind = state[0].dtype
    ended = xp.where(xp.arange(words) == model.padding, 0, -xp.inf).astype(kind)
    # Beginnings (N, K), one at first: what is written, its score, whether it has ended.
    tokens, scores = xp.full((n, 1, 1), start), xp.zeros((n, 1), kind)
    done = xp.zeros((n, 1), bool)
    for _ in range(steps):
        count = done.shape[1]
        logits, state, _ = model.decode(tokens[:, :, -1].reshape(-1, 1), state, EVALUATE)
        gains = _log_softmax(logits[:, 0]).reshape(n, count, words)
        # What has ended goes on in one way only, at no cost: with padding.
        gains = xp.where(done[:, :, None], ended, gains)
        totals = (scores[:, :, None] + gains).reshape(n, count * words)
        best = xp.argsort(-totals, axis=1, kind="stable")[:, :width]
        kept, token = best // words, best % words
        tokens = xp.take_along_axis(tokens, kept[:, :, None], axis=1)
        tokens = xp.concatenate((tokens, token[:, :, None]), axis=2)
        scores = xp.take_along_axis(totals, best, axis=1)
        done = xp.take_along_axis(done, kept, axis=1) | (token == end)
        rows = (xp.arange(n)[:, None] * count + kept).reshape(-1)
        state = tuple(array[rows] for array in state)
    return Decoded(tokens[:, 0, 1:], scores[:, 0])


def _log_softmax(logits: Array) -> Array:
    """Of each row (N, V)."""
    xp = kernels.array_module(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
