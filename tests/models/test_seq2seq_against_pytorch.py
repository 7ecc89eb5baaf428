"""Encoder and decoder equal PyTorch's, put together by hand: logits and every gradient."""

from __future__ import annotations

import numpy as np
import pytest
from finite_differences import randomise
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import nn
from minidl.models import Seq2Seq

torch = pytest.importorskip("torch", reason="PyTorch, the oracle of these tests, is not installed")

from test_recurrent_against_pytorch import close, of_parameters, twin  # noqa: E402

WORDS, FEATURES, HIDDEN = 4, 3, 3


def table(layer):
    """PyTorch's embedding with the same vectors."""
    return torch.nn.Embedding.from_pretrained(torch.tensor(layer.weight.value), freeze=False)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@settings(max_examples=15)
@given(n=st.integers(1, 4), read=st.integers(1, 5), written=st.integers(1, 4),
       layers=st.integers(1, 2), reverse=st.booleans(), seed=st.integers(0, 999))  # fmt: skip
def test_seq2seq(cell, n, read, written, layers, reverse, seed):
    generator = np.random.default_rng(seed)
    network = Seq2Seq(read, WORDS, WORDS, FEATURES, HIDDEN, layers, cell=cell, reverse=reverse)
    randomise(network.initialise((read + written,), dtype=np.float64), generator)
    parameters = network.parameters()
    before = {name: parameter.grad.copy() for name, parameter in parameters.items()}
    lengths = generator.integers(1, read + 1, n)
    source = np.where(
        np.arange(read) < lengths[:, None], generator.integers(1, WORDS, (n, read)), 0
    )
    given = generator.integers(0, WORDS, (n, written))
    logits, saved = network.forward(np.concatenate((source, given), axis=1), nn.Mode(training=True))
    dlogits = generator.normal(size=logits.shape)
    network.backward(dlogits, saved)

    words_in, words_out = table(network.source_embedding), table(network.target_embedding)
    encoder, decoder = twin(network.encoder, FEATURES), twin(network.decoder, FEATURES)
    w, b = (torch.tensor(p.value, requires_grad=True)
            for p in (network.output.weight, network.output.bias))  # fmt: skip
    ordered = source.copy()
    for row, length in zip(ordered, lengths, strict=True):
        if reverse:
            row[:length] = row[:length][::-1].copy()
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        words_in(torch.tensor(ordered)),
        torch.tensor(lengths),
        batch_first=True,
        enforce_sorted=False,
    )
    _, state = encoder(packed)
    outputs, _ = decoder(words_out(torch.tensor(given)), state)
    expected = outputs @ w + b
    expected.backward(torch.tensor(dlogits))

    close(logits, expected)
    for name, theirs in {
        "source_embedding.weight": words_in.weight,
        "target_embedding.weight": words_out.weight,
        "output.weight": w,
        "output.bias": b,
    }.items():
        close(parameters[name].grad - before[name], theirs.grad)
    for name, theirs in (("encoder", encoder), ("decoder", decoder)):
        layer = getattr(network, name)
        added = {
            id(p): p.grad - before[full]
            for full, p in parameters.items()
            if full.startswith(f"{name}.")
        }
        for one, gradient in of_parameters(layer, lambda p, added=added: added[id(p)]).items():
            if not one.startswith("bias_hh"):
                close(gradient, getattr(theirs, one).grad)
            elif cell == "gru":
                close(gradient[2 * HIDDEN :], getattr(theirs, one).grad[2 * HIDDEN :])
