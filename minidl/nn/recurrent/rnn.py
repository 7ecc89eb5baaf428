"""The simple recurrent network (Elman 1990)."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.nn.parameters import Array
from minidl.nn.recurrent.cell import Cell, State
from minidl.nn.recurrent.stack import Recurrent


class RNNCell(Cell):
    """h' = tanh(zx + zh)."""

    def step(self, zx: Array, zh: Array, state: State) -> tuple[State, Any]:
        zh += zx
        h = kernels.of(zx).tanh(zh)
        return (h,), h

    def step_back(self, dstate: State, kept: Any) -> tuple[Array, Array, tuple[Any, ...]]:
        dz = kernels.of(kept).tanh_gradient(dstate[0], kept)
        return dz, dz, (0,)


class RNN(Recurrent):
    """The simple recurrent network with a tanh: (N, T, D) to (N, T, H).

    A cell's `weight` is (D, H), its `recurrent` weight (H, H) and its `bias` (H,):
    D H + H² + H parameters. A state is one array, (h,).

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

    cell = RNNCell
