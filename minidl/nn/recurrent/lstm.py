"""Long short-term memory (Hochreiter and Schmidhuber 1997; with a forget gate, Gers et al. 2000).

The memory c is added to, not multiplied by a matrix, at every step: so a gradient can
travel far through it.
"""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.nn import init
from minidl.nn.parameters import Array, Initialiser
from minidl.nn.recurrent.cell import Cell, Kept, State
from minidl.nn.recurrent.stack import Recurrent


class LSTMCell(Cell):
    """i, f, o = sigmoid(z), g = tanh(z); c' = f c + i g; h' = o tanh(c')."""

    gates = 4
    arrays = 2

    def bias_init(self) -> Initialiser:
        # A forget gate that starts open (Gers et al. 2000): the memory lasts until learnt else.
        return init.blocks(init.zeros, init.ones, init.zeros, init.zeros)

    def step(self, zx: Array, zh: Array, state: State) -> tuple[State, Any]:
        zh += zx
        _, c = state
        h, c_next, gates = kernels.of(zx).lstm_cell(zh, c)
        return (h, c_next), (gates, c, c_next)

    def step_back(self, dstate: State, kept: Any) -> tuple[Array, Array, tuple[Any, ...]]:
        dh, dc_next = dstate
        dz, dc = kernels.of(dh).lstm_cell_gradient(dh, dc_next, *kept)
        return dz, dz, (0, dc)

    def run(self, zx: Array, state: State, mask: Array | None) -> tuple[Array, State, Any]:
        if mask is not None:
            return super().run(zx, state, mask)
        hs, cs, gates = kernels.of(zx).lstm_scan(zx, self.recurrent.value, *state)
        return hs, (hs[-1], cs[-1]), (gates, cs)

    def run_back(self, dy: Array, dstate: State, kept: Kept) -> tuple[Array, Array, State]:
        if kept.mask is not None:
            return super().run_back(dy, dstate, kept)
        u, (gates, cs) = self.recurrent.value, kept.steps
        dz, dh, dc = kernels.of(dy).lstm_scan_gradient(dy, *dstate, u, gates, cs)
        return dz, dz, (dh, dc)


class LSTM(Recurrent):
    """Long short-term memory: (N, T, D) to (N, T, H).

    A cell's `weight` is (D, 4 H), its `recurrent` weight (H, 4 H) and its `bias` (4 H,),
    each four equal parts for the gates i, f, g and o: 4 (D H + H² + H) parameters. The bias
    of the forget gate f starts at 1. A state is a pair of arrays (h, c).

    Parameters
    ----------
    hidden_size
        H, the size of a state.
    layers
        How many are stacked; `Recurrent` also says how to pass a state on.
    bidirectional
        Whether each layer also reads the sequence from its end; the output is then (N, T, 2 H).
    dropout
        The rate of `Dropout` between layers, from 0 to below 1.
    masked
        Whether the last feature of the input is the mask; see `Recurrent`.
    """

    cell = LSTMCell
