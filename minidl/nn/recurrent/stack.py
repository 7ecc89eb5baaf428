"""What RNN, GRU and LSTM have in common: a cell is scanned over a sequence."""

from __future__ import annotations

from typing import Any, ClassVar

from minidl import kernels
from minidl.errors import ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape
from minidl.nn.recurrent.cell import Cell, State
from minidl.nn.settings import whole


class Recurrent(Layer):
    """A recurrent layer, (N, T, D) to (N, T, H); the base of `RNN`, `GRU` and `LSTM`.

    As a layer it starts every sequence from a state of zeros. `forward_from` starts from a
    given state and returns the last one: so a sequence can be made step by step, or cut
    into pieces, with the gradient flowing through the cut by `backward_through`, or stopped
    there (truncated back-propagation through time).

    A state is a tuple of arrays, each (N, cells, H).

    Parameters
    ----------
    hidden_size
        H, the size of a state and of an output.

    Raises
    ------
    InputError
        If a setting is not one of those allowed.
    """

    cell: ClassVar[type[Cell]]

    def __init__(self, hidden_size: int) -> None:
        name = type(self).__name__
        self.hidden_size = whole(f"{name}: hidden_size", hidden_size)
        self.cells = {"0": self.cell(self.hidden_size)}

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 2 or min(shape) < 1:
            raise ShapeError(
                f"{self.describe()} needs sequences (steps, features) of at least one step with "
                f"one feature, not samples of shape {shape}"
            )
        self.cells["0"].declare(shape[1])
        return shape[0], self.hidden_size

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        y, _, saved = self.forward_from(x, None, mode)
        return y, saved

    def backward(self, dy: Array, saved: Any) -> Array:
        return self.backward_through(dy, None, saved)[0]

    def forward_from(self, x: Array, state: State | None, mode: Mode) -> tuple[Array, State, Any]:
        """The outputs, the state after the last step, and what `backward_through` needs.

        Parameters
        ----------
        x
            (N, T, D); T may differ from call to call.
        state
            The state before the first step: None for zeros, or what another call returned.

        Raises
        ------
        ShapeError
            If either has another shape.
        """
        features = self.cells["0"].weight.value.shape[0]
        if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != features:
            raise ShapeError(
                f"{self.describe()} was built for batches (N, T, {features}) with T at least 1 "
                f"and cannot take one of shape {x.shape}"
            )
        state = self._checked(state, x)
        y, last, kept = self.cells["0"].scan(
            _turned(x), tuple(s[:, 0] for s in state), None, mode.training
        )
        return _turned(y), tuple(s[:, None] for s in last), kept

    def backward_through(self, dy: Array, dstate: State | None, saved: Any) -> tuple[Array, State]:
        """The gradients by x and by the first state; the parameters' are added to theirs.

        Parameters
        ----------
        dy
            (N, T, H), the gradient by the outputs.
        dstate
            That by the last state, beyond what comes through the outputs; None for none.
        saved
            What `forward_from` returned.
        """
        dstate = self._checked(dstate, dy)
        dx, dfirst = self.cells["0"].scan_back(_turned(dy), tuple(d[:, 0] for d in dstate), saved)
        return _turned(dx), tuple(d[:, None] for d in dfirst)

    def _checked(self, state: State | None, like: Array) -> State:
        shape = (len(like), len(self.cells), self.hidden_size)
        if state is None:
            xp = kernels.array_module(like)
            return tuple(xp.zeros(shape, like.dtype) for _ in range(self.cell.arrays))
        if [s.shape for s in state] != [shape] * self.cell.arrays:
            raise ShapeError(
                f"{self.describe()} needs a state of {self.cell.arrays} array(s) of shape {shape}, "
                f"not {[s.shape for s in state]}"
            )
        return state


def _turned(x: Array) -> Array:
    """Batch first to steps first, or back."""
    return kernels.array_module(x).ascontiguousarray(x.swapaxes(0, 1))
