"""A network that foretells the next character of a text (Graves 2013; Karpathy et al. 2015)."""

from __future__ import annotations

from minidl import nn
from minidl.checks import counted, number


@counted
def char_lstm(
    classes: int = 64,
    features: int = 32,
    hidden_size: int = 192,
    layers: int = 1,
    dropout: float = 0.3,
) -> nn.Sequential:
    """Embedding, LSTM, linear: characters (N, T) to logits (N, T, classes) of those that follow.

    Parameters
    ----------
    classes
        How many characters there are.
    features
        The size of the vector that stands for a character.
    hidden_size
        Numbers in the state of each layer of the `LSTM`.
    layers
        How many layers the `LSTM` has, one upon the other.
    dropout
        The rate of `Dropout` behind each layer of it.

    References
    ----------
    Graves, A., "Generating sequences with recurrent neural networks", 2013, arXiv:1308.0850.
    """
    number("char_lstm: dropout", dropout, below=1)
    return nn.Sequential(
        nn.Embedding(classes, features),
        nn.LSTM(hidden_size, layers, dropout=dropout if layers > 1 else 0.0),
        nn.Dropout(dropout),
        nn.Linear(classes),
    )
