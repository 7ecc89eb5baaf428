"""The scan under every recurrent layer: one cell, step after step, and back again.

Only the product with the state has to wait for the step before. So the inputs of all
steps are multiplied at once, as are, on the way back, all that the parameters get.
Within, the steps are axis 0: what a step needs then lies together in memory.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from minidl import kernels
from minidl.nn import init
from minidl.nn.layer import Layer
from minidl.nn.parameters import Array, Initialiser, Parameter

State = tuple[Array, ...]
"""What passes from step to step; the first array, (N, H), is also the step's output."""


class Kept(NamedTuple):
    """What a scan keeps for its way back."""

    x: Array
    """(T, N, D)"""
    states: Array
    """(T + 1, N, H), the output before each step, and after the last."""
    steps: Any
    """What `run` kept of all steps."""
    mask: Array | None
    """(T, N, 1), true where a step exists."""


class Cell(Layer):
    """One direction of one layer, with the parameters of all its gates side by side.

    Parameters
    ----------
    hidden_size
        H, the size of the state.
    """

    gates: ClassVar[int] = 1
    """How many sizes H the product with the input has."""
    arrays: ClassVar[int] = 1
    """How many arrays a state has."""
    separate: ClassVar[bool] = False
    """Whether the products with input and state have gradients of their own."""

    weight: Parameter
    recurrent: Parameter
    bias: Parameter

    def __init__(self, hidden_size: int) -> None:
        self.hidden_size = hidden_size

    def declare(self, features: int) -> None:
        """Declare the parameters for inputs with this many features."""
        k, h = self.gates, self.hidden_size
        self.parameter("weight", (features, k * h), init.blocks(*k * [init.xavier_uniform]))
        self.parameter("recurrent", (h, k * h), init.blocks(*k * [init.orthogonal]))
        self.parameter("bias", (k * h,), self.bias_init())

    def bias_init(self) -> Initialiser:
        """What draws the bias."""
        return init.zeros

    def step(self, zx: Array, zh: Array, state: State) -> tuple[State, Any]:
        """The state after a step, and what the step keeps.

        Parameters
        ----------
        zx
            (N, k H), the products with the input.
        zh
            (N, k H), the products with the state; may be overwritten.
        state
            Before the step.
        """
        raise TypeError(f"{type(self).__name__} defines no step")

    def step_back(self, dstate: State, kept: Any) -> tuple[Array, Array, tuple[Any, ...]]:
        """The gradients by `zx`, `zh` and the state before; of the latter, 0 for none.

        What the state before gets through `zh` is not for the step to know.
        """
        raise TypeError(f"{type(self).__name__} defines no step back")

    def scan(
        self, x: Array, state: State, mask: Array | None, keep: bool
    ) -> tuple[Array, State, Kept | None]:
        """The outputs of all steps (T, N, H), the state after the last, what `scan_back` needs."""
        x, state = self.weight.cast(x), tuple(map(self.weight.cast, state))
        k, (count, n, features) = kernels.of(x), x.shape
        zx = k.matmul(x.reshape(count * n, features), self.weight.value)
        zx += self.bias.value
        zx = zx.reshape(count, n, zx.shape[1])
        states, last, steps = self.run(zx, state, mask)
        return states[1:], last, Kept(x, states, steps, mask) if keep else None

    def run(self, zx: Array, state: State, mask: Array | None) -> tuple[Array, State, Any]:
        """Step after step: the outputs before and after each, the last state, what steps keep.

        A cell may have one kernel do all of it.
        """
        k, xp = kernels.of(zx), kernels.array_module(zx)
        states = xp.empty((len(zx) + 1, *state[0].shape), zx.dtype)
        states[0] = state[0]
        steps = []
        for t in range(len(zx)):
            new, kept = self.step(zx[t], k.matmul(state[0], self.recurrent.value), state)
            if mask is not None:
                new = tuple(xp.where(mask[t], a, b) for a, b in zip(new, state, strict=True))
            state = new
            states[t + 1] = state[0]
            steps.append(kept)
        return states, state, steps

    def scan_back(self, dy: Array, dstate: State, kept: Kept) -> tuple[Array, State]:
        """The gradients by x and by the first state; the parameters' are added to theirs.

        Parameters
        ----------
        dy
            (T, N, H), what each output gets from outside of the layer.
        dstate
            What the last state gets beyond that.
        """
        dy, dstate = self.weight.cast(dy), tuple(map(self.weight.cast, dstate))
        k, (x, states, _, _) = kernels.of(dy), kept
        (count, n, features), columns = x.shape, self.gates * self.hidden_size
        dzx, dzh, dfirst = self.run_back(dy, dstate, kept)
        dzx, dzh = dzx.reshape(count * n, columns), dzh.reshape(count * n, columns)
        if self.weight.trainable:
            self.weight.grad += k.matmul(x.reshape(count * n, features).T, dzx)
        if self.recurrent.trainable:
            before = states[:-1].reshape(count * n, self.hidden_size)
            self.recurrent.grad += k.matmul(before.T, dzh)
        if self.bias.trainable:
            self.bias.grad += k.bias_gradient(dzx)
        self.collect(dzh)
        return k.matmul(dzx, self.weight.value.T).reshape(x.shape), dfirst

    def run_back(self, dy: Array, dstate: State, kept: Kept) -> tuple[Array, Array, State]:
        """The gradients by `zx` and `zh` of all steps, and by the first state."""
        k, xp = kernels.of(dy), kernels.array_module(dy)
        _, _, steps, mask = kept
        back = xp.ascontiguousarray(self.recurrent.value.T)
        dzx = xp.empty((*dy.shape[:2], len(back)), dy.dtype)
        dzh = xp.empty_like(dzx) if self.separate else dzx
        for t in reversed(range(len(dy))):
            dstate = (dstate[0] + dy[t], *dstate[1:])
            through = dstate if mask is None else tuple(xp.where(mask[t], d, 0) for d in dstate)
            dzx[t], dzh_t, before = self.step_back(through, steps[t])
            if self.separate:
                dzh[t] = dzh_t
            before = (k.matmul(dzh_t, back) + before[0], *before[1:])
            if mask is not None:
                before = tuple(
                    b + xp.where(mask[t], 0, d) for b, d in zip(before, dstate, strict=True)
                )
            dstate = before
        return dzx, dzh, dstate

    def collect(self, dzh: Array) -> None:
        """Add to the gradients of parameters that only this kind of cell has."""
