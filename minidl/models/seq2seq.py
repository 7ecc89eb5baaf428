"""From one sequence to another: an encoder reads, a decoder writes, and a state is all between.

Sutskever, Vinyals and Le 2014 (LSTM, the source read from its end); Cho et al. 2014 (GRU).
"""

from __future__ import annotations

from typing import Any

from minidl import kernels, nn
from minidl.checks import MANY, checked, whole
from minidl.errors import ShapeError, unknown_name
from minidl.nn.layer import Mode
from minidl.nn.parameters import Array, Shape
from minidl.nn.recurrent.cell import State

_CELLS: dict[str, type[nn.Recurrent]] = {"gru": nn.GRU, "lstm": nn.LSTM}


@checked
class Seq2Seq(nn.Layer):
    """Encoder and decoder as one layer: whole numbers (N, S + T) to logits (N, T, V).

    A sample is a source of S tokens, padded, and behind it what the decoder is given in T
    steps. In training that is the target moved by one step, with a token for the start before
    it (teacher forcing), so that to learn to write is ordinary supervised training: by
    ``nn.CrossEntropy(ignore_index=padding)`` with the targets (N, T). To write by itself,
    see `greedy` and `beam`.

    Padding of the source is masked, at whichever end it is. Of what the decoder is given,
    nothing need be masked: padding behind the end concerns only outputs behind the end.

    Parameters
    ----------
    source_steps
        S, the length of every source.
    source_words
        How many different tokens there are to read.
    target_words
        How many different tokens there are to write, V.
    features
        The size of a token's embedding.
    hidden_size
        The size of a state.
    layers
        How many recurrent layers are stacked, in the encoder and in the decoder.
    cell
        ``"gru"`` or ``"lstm"``.
    dropout
        The rate of `nn.Dropout` between these layers.
    padding
        The token that fills a source up.
    reverse
        Whether the source is read from its end. Its beginning is then nearest to the beginning
        of what is written, which helped Sutskever et al. a lot.

    Raises
    ------
    InputError
        If a setting is not one of those allowed.
    """

    def __init__(
        self,
        source_steps: int,
        source_words: int,
        target_words: int,
        features: int = 64,
        hidden_size: int = 128,
        layers: int = 1,
        *,
        cell: str = "gru",
        dropout: float = 0.0,
        padding: int = 0,
        reverse: bool = True,
    ) -> None:
        if cell not in _CELLS:
            raise unknown_name("cell", cell, _CELLS)
        self.source_steps = whole("Seq2Seq: source_steps", source_steps)
        whole("Seq2Seq: layers", layers, most=MANY)
        whole("Seq2Seq: source_words", source_words)
        whole("Seq2Seq: target_words", target_words)
        self.padding = whole("Seq2Seq: padding", padding, least=0)
        self.reverse = reverse
        self.source_embedding = nn.Embedding(source_words, features)
        self.encoder = _CELLS[cell](hidden_size, layers, dropout=dropout)
        self.target_embedding = nn.Embedding(target_words, features)
        self.decoder = _CELLS[cell](hidden_size, layers, dropout=dropout)
        self.output = nn.Linear(target_words, weight_init=nn.init.xavier_uniform)

    @property
    def takes_integers(self) -> bool:
        """Yes."""
        return True

    def check_integers(self, x: Array) -> None:
        self.source_embedding.check_integers(x[:, : self.source_steps])
        self.target_embedding.check_integers(x[:, self.source_steps :])

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 1 or shape[0] <= self.source_steps:
            raise ShapeError(
                f"{self.describe()} needs samples (steps,) of {self.source_steps} tokens to read "
                f"and at least one that the decoder is given, not of shape {shape}"
            )
        self.encoder.build(self.source_embedding.build((self.source_steps,)))
        given = self.target_embedding.build((shape[0] - self.source_steps,))
        return self.output.build(self.decoder.build(given))

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        state, of_source = self.encode(x[:, : self.source_steps], mode)
        y, _, of_target = self.decode(x[:, self.source_steps :], state, mode)
        return y, (of_source, of_target) if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        of_source, of_target = saved
        dgiven, dstate = self.decode_back(dy, of_target)
        if self.encoder.learns or self.source_embedding.learns:
            dsource = self.encode_back(dstate, of_source)
        else:
            dsource = kernels.array_module(dy).zeros((len(dy), self.source_steps), dy.dtype)
        return kernels.array_module(dy).concatenate((dsource, dgiven), axis=1)

    def encode(self, source: Array, mode: Mode) -> tuple[State, Any]:
        """All that the decoder learns of a source (N, S), and what `encode_back` needs."""
        if source.ndim != 2:
            raise ShapeError(f"{self.describe()} reads sources (N, S), not of shape {source.shape}")
        if self.reverse:
            source = source[:, ::-1]
        x, looked_up = self.source_embedding.forward(source, mode)
        _, state, read = self.encoder.forward_from(x, None, mode, source != self.padding)
        return state, (looked_up, read, source.shape) if mode.training else None

    def encode_back(self, dstate: State, saved: Any) -> Array:
        """The gradient by the source, which is 0; the parameters' are added to theirs."""
        looked_up, read, shape = saved
        xp = kernels.array_module(dstate[0])
        unused = xp.zeros((*shape, self.encoder.out_features), dstate[0].dtype)
        dx, _ = self.encoder.backward_through(unused, dstate, read)
        return self.source_embedding.backward(dx, looked_up)

    def decode(self, given: Array, state: State, mode: Mode) -> tuple[Array, State, Any]:
        """Logits for the token that follows each of those given, and the state then.

        Parameters
        ----------
        given
            (N, T); T may differ from call to call, and 1 is how a decoder writes by itself.
        state
            What `encode`, or the call before, returned.
        mode
            How the pass is meant.
        """
        x, looked_up = self.target_embedding.forward(given, mode)
        h, state, written = self.decoder.forward_from(x, state, mode)
        y, of_output = self.output.forward(h, mode)
        return y, state, (looked_up, written, of_output) if mode.training else None

    def decode_back(self, dy: Array, saved: Any) -> tuple[Array, State]:
        """The gradients by what was given, which is 0, and by the first state."""
        looked_up, written, of_output = saved
        dh = self.output.backward(dy, of_output)
        dx, dstate = self.decoder.backward_through(dh, None, written)
        return self.target_embedding.backward(dx, looked_up), dstate


@checked
def seq2seq(
    source_steps: int = 30,
    source_words: int = 71,
    target_words: int = 14,
    features: int = 64,
    hidden_size: int = 128,
    layers: int = 1,
    cell: str = "gru",
    reverse: bool = True,
) -> Seq2Seq:
    """An encoder and a decoder without attention, sized for reading dates unless told otherwise.

    Parameters
    ----------
    source_steps
        How many of a sample's tokens are the source, S.
    source_words
        How many different tokens there are to read.
    target_words
        How many different tokens there are to write, V.
    features
        Numbers that stand for a token.
    hidden_size
        Numbers in the state of each layer, H.
    layers
        How many layers encoder and decoder have, one upon the other.
    cell
        ``"gru"`` or ``"lstm"``, of encoder and decoder alike.
    reverse
        Whether the source is read from its end.
    """
    return Seq2Seq(
        source_steps,
        source_words,
        target_words,
        features,
        hidden_size,
        layers,
        cell=cell,
        reverse=reverse,
    )
