"""The gated recurrent unit (Cho et al. 2014): one state that is kept or renewed, gate by gate."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.nn import init
from minidl.nn.parameters import Array, Parameter
from minidl.nn.recurrent.cell import Cell, Kept, State
from minidl.nn.recurrent.stack import Recurrent


class GRUCell(Cell):
    """r, u = sigmoid(zx + zh), n = tanh(zx + r zh); h' = (1 - u) n + u h."""

    gates = 3
    separate = True

    candidate_bias: Parameter

    def declare(self, features: int) -> None:
        super().declare(features)
        self.parameter("candidate_bias", (self.hidden_size,), init.zeros)

    def step(self, zx: Array, zh: Array, state: State) -> tuple[State, Any]:
        zh[:, 2 * self.hidden_size :] += self.candidate_bias.value
        (h,) = state
        h_next, gates = kernels.of(zx).gru_cell(zx, zh, h)
        return (h_next,), (gates, h)

    def step_back(self, dstate: State, kept: Any) -> tuple[Array, Array, tuple[Any, ...]]:
        dzx, dzh, dh = kernels.of(dstate[0]).gru_cell_gradient(dstate[0], *kept)
        return dzx, dzh, (dh,)

    def run(self, zx: Array, state: State, mask: Array | None) -> tuple[Array, State, Any]:
        if mask is not None:
            return super().run(zx, state, mask)
        u, b = self.recurrent.value, self.candidate_bias.value
        hs, gates = kernels.of(zx).gru_scan(zx, u, b, *state)
        return hs, (hs[-1],), gates

    def run_back(self, dy: Array, dstate: State, kept: Kept) -> tuple[Array, Array, State]:
        if kept.mask is not None:
            return super().run_back(dy, dstate, kept)
        u = self.recurrent.value
        dzx, dzh, dh = kernels.of(dy).gru_scan_gradient(dy, *dstate, u, kept.steps, kept.states)
        return dzx, dzh, (dh,)

    def collect(self, dzh: Array) -> None:
        if self.candidate_bias.trainable:
            own = dzh[:, 2 * self.hidden_size :]
            self.candidate_bias.grad += kernels.of(dzh).bias_gradient(own)


class GRU(Recurrent):
    """The gated recurrent unit: (N, T, D) to (N, T, H).

    A cell's `weight` is (D, 3 H), its `recurrent` weight (H, 3 H) and its `bias` (3 H,), each
    three equal parts for the gates r and u and the candidate n. The gate r weighs what the
    candidate gets from the state, and that part has a bias of its own, `candidate_bias` (H,),
    as in cuDNN and PyTorch: 3 (D H + H² + H) + H parameters. A state is one array, (h,).

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

    cell = GRUCell
