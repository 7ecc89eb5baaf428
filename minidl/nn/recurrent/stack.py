"""What RNN, GRU and LSTM have in common: cells scanned over a sequence, stacked, both ways."""

from __future__ import annotations

from typing import Any, ClassVar

from minidl import kernels
from minidl.checks import MANY, checked, whole
from minidl.errors import InputError, ShapeError
from minidl.kernels.contracts.types import no_array
from minidl.nn.dropout import Dropout
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape
from minidl.nn.recurrent.cell import Cell, State


@checked
class Recurrent(Layer):
    """A recurrent layer, (N, T, D) to (N, T, H); the base of `RNN`, `GRU` and `LSTM`.

    As a layer it starts every sequence from a state of zeros. `forward_from` starts from a
    given state and returns the last one: so a sequence can be made step by step, or cut
    into pieces, with the gradient flowing through the cut by `backward_through`, or stopped
    there (truncated back-propagation through time).

    Its cells are named by their layer, ``"0"``, ``"1"`` and so on, each followed, if the layer
    is bidirectional, by the one that goes backwards, ``"0_reverse"``. Upper cells see the
    outputs of the layer below: H numbers a step, or 2 H. A state is a tuple of arrays, each
    (N, cells, H), the cells in this order.

    Sequences of different lengths are padded to one, and a mask says which steps exist
    (`with_mask`). A step that does not exist leaves every state as it is, whatever stands
    there; the output repeats the state. So padding changes nothing, at whichever end it is.

    Parameters
    ----------
    hidden_size
        H, the size of a state.
    layers
        How many are stacked.
    bidirectional
        Whether each layer also reads the sequence from its end. The output is then
        (N, T, 2 H): what has been read up to a step, and what from there on.
    dropout
        The rate of `Dropout` between layers.
    masked
        Whether the last feature of the input is no feature but the mask: above 0.5 where a
        step exists. Its gradient is 0.

    Raises
    ------
    InputError
        If a setting is not one of those allowed.
    """

    cell: ClassVar[type[Cell]]

    def __init__(
        self,
        hidden_size: int,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        masked: bool = False,
    ) -> None:
        name = type(self).__name__
        self.hidden_size = whole(f"{name}: hidden_size", hidden_size)
        self.layers = whole(f"{name}: layers", layers, most=MANY)
        self.bidirectional = bidirectional
        self.masked = masked
        if dropout and layers == 1:
            raise InputError(
                f"{name}: dropout stands between layers, and there is only one; "
                "put nn.Dropout behind it instead"
            )
        self.dropouts = [Dropout(dropout) for _ in range(layers - 1)]
        self.ends = ("", "_reverse") if bidirectional else ("",)
        self.cells = {
            f"{layer}{end}": self.cell(self.hidden_size)
            for layer in range(layers)
            for end in self.ends
        }

    @property
    def out_features(self) -> int:
        """The size of an output, H, or 2 H if bidirectional."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    def build(self, shape: Shape) -> Shape:
        features = shape[-1] - self.masked if shape else 0
        if len(shape) != 2 or shape[0] < 1 or features < 1:
            raise ShapeError(
                f"{self.describe()} needs sequences (steps, features) of at least one step with "
                f"one feature{' and the mask' if self.masked else ''}, not samples of shape {shape}"
            )
        for layer in range(self.layers):
            for cell in self._directions(layer):
                cell.declare(self.out_features if layer else features)
        return shape[0], self.out_features

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        mask = None
        if self.masked:
            self.expect_features(x, self.cells["0"].weight.value.shape[0] + 1)
            x, mask = x[..., :-1], x[..., -1] > 0.5
        y, _, saved = self.forward_from(x, None, mode, mask)
        return y, saved

    def backward(self, dy: Array, saved: Any) -> Array:
        dx, _ = self.backward_through(dy, None, saved)
        if not self.masked:
            return dx
        xp = kernels.array_module(dx)
        return xp.concatenate((dx, xp.zeros((*dx.shape[:2], 1), dx.dtype)), axis=2)

    def forward_from(
        self, x: Array, state: State | None, mode: Mode, mask: Array | None = None
    ) -> tuple[Array, State, Any]:
        """The outputs, the state after the last step, and what `backward_through` needs.

        Parameters
        ----------
        x
            (N, T, D); T may differ from call to call.
        state
            The state before the first step: None for zeros, or what another call returned.
            A cell that goes backwards starts from its part at the end of the sequence.
        mode
            How the pass is meant.
        mask
            (N, T), true where a step exists; None if all do. It stands beside x here, whether
            or not the layer is `masked`.

        Raises
        ------
        ShapeError
            If one of them has another shape.
        """
        features = self.cells["0"].weight.value.shape[0]
        for each in (x,) if mask is None else (x, mask):
            if not hasattr(each, "dtype"):
                raise no_array(each, taker=self.describe())
        if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != features:
            raise ShapeError(
                f"{self.describe()} was built for batches (N, T, {features}) with T at least 1 "
                f"and cannot take one of shape {x.shape}"
            )
        if mask is not None and mask.shape != x.shape[:2]:
            raise ShapeError(
                f"{self.describe()} needs a mask of shape {x.shape[:2]}, not {mask.shape}"
            )
        xp, pending = kernels.array_module(x), _by_cell(self._checked(state, x))
        x, lasts, saved = _turned(x), [], []
        if mask is not None:
            mask = _turned(mask)[:, :, None]
            x = xp.where(mask, x, x.dtype.type(0))  # padding may be NaN, and NaN times 0 is too
        for layer in range(self.layers):
            dropped = None
            if layer:
                x, dropped = self.dropouts[layer - 1].forward(x.swapaxes(0, 1), mode)
                x = _turned(x)
            outputs, kept = [], []
            for way, cell in zip((1, -1), self._directions(layer), strict=False):
                exists = None if mask is None else mask[::way]
                y, last, of_cell = cell.scan(x[::way], pending.pop(0), exists, mode.training)
                outputs.append(y[::way])
                lasts.append(last)
                kept.append(of_cell)
            x = xp.concatenate(outputs, axis=2) if self.bidirectional else outputs[0]
            saved.append((dropped, kept))
        return _turned(x), _by_array(lasts), saved if mode.training else None

    def backward_through(self, dy: Array, dstate: State | None, saved: Any) -> tuple[Array, State]:
        """The gradients by x and by the first state; the parameters' are added to theirs.

        Parameters
        ----------
        dy
            (N, T, H) or (N, T, 2 H), the gradient by the outputs.
        dstate
            That by the last state, beyond what comes through the outputs; None for none.
        saved
            What `forward_from` returned.
        """
        steps, n = saved[0][1][0].x.shape[:2]
        self.expect_gradient(dy, (n, steps, self.out_features))
        xp, pending = kernels.array_module(dy), _by_cell(self._checked(dstate, dy))
        dy = _turned(dy)
        dfirsts: list[State] = []
        for layer in reversed(range(self.layers)):
            dropped, kept = saved[layer]
            cells = self._directions(layer)
            parts = xp.split(dy, len(cells), axis=2)
            dx: Array = 0
            for way, cell, d, of_cell in reversed(
                list(zip((1, -1), cells, parts, kept, strict=False))
            ):
                dx_of_cell, dfirst = cell.scan_back(d[::way], pending.pop(), of_cell)
                dx = dx + dx_of_cell[::way]
                dfirsts.insert(0, dfirst)
            dy = dx
            if layer:
                dy = _turned(self.dropouts[layer - 1].backward(dy.swapaxes(0, 1), dropped))
        return _turned(dy), _by_array(dfirsts)

    def _directions(self, layer: int) -> list[Cell]:
        return [self.cells[f"{layer}{end}"] for end in self.ends]

    def _checked(self, state: State | None, like: Array) -> State:
        shape = (len(like), len(self.cells), self.hidden_size)
        if state is None:
            xp = kernels.array_module(like)
            return tuple(xp.zeros(shape, like.dtype) for _ in range(self.cell.arrays))
        shapes = [getattr(s, "shape", type(s).__name__) for s in state]
        if shapes != [shape] * self.cell.arrays:
            raise ShapeError(
                f"{self.describe()} needs a state of {self.cell.arrays} array(s) of shape {shape}, "
                f"not {shapes}"
            )
        return state


def _by_cell(state: State) -> list[State]:
    """The states (N, H) of each cell."""
    return [tuple(s[:, cell] for s in state) for cell in range(state[0].shape[1])]


def _by_array(states: list[State]) -> State:
    """The states of all cells together, (N, cells, H)."""
    xp = kernels.array_module(states[0][0])
    return tuple(xp.stack(arrays, axis=1) for arrays in zip(*states, strict=True))


def _turned(x: Array) -> Array:
    """Batch first to steps first, or back."""
    return kernels.array_module(x).ascontiguousarray(x.swapaxes(0, 1))
