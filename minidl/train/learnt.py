"""What a trainer owns: a model's weights, and the vectors its optimizer remembers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod

import numpy as np

from minidl.errors import InputError
from minidl.nn import Layer, ParameterBuffer, Shape
from minidl.nn.parameters import Parameter
from minidl.optim import LossScale, MixedPrecision, Optimizer
from minidl.strategy.replica import with_loss_scale


class Learnt:
    """Weights and optimizer slots of one model.

    Both together are also written as one array, the *state*: weights in row 0, the
    optimizer's slots in further rows (see `Strategy.run`).

    Parameters
    ----------
    model
        Is built. Parameters that have values, from another trainer or `initialise`, keep
        them; the others are drawn.
    shape
        Of one sample.
    seed, dtype
        Of the weights.
    optimizer
        Whose slots are kept.
    precision
        If not None, a loss scale lies beside the weights.

    Raises
    ------
    InputError, ShapeError
        If these do not suit each other. The model is then as it was before.
    """

    def __init__(
        self,
        model: Layer,
        shape: Shape,
        seed: int,
        dtype: np.dtype,
        optimizer: Optimizer,
        precision: MixedPrecision | None,
    ) -> None:
        given = {name: p.value for name, p in model.parameters().items() if p.initialised}
        self._before = [(p, vars(p).copy()) for p in model.parameters().values()]
        self.model, self.shape, self.dtype = model, shape, dtype
        self._lent = False
        try:
            self.buffer = model.initialise(shape, seed=seed, dtype=dtype)
            if precision is not None:
                parameters = with_loss_scale(model.parameters(), LossScale(precision))
                self.buffer = ParameterBuffer(parameters, dtype)
                self.buffer.draw(seed)
            for name, value in given.items():
                self.buffer.parameters[name].value[...] = value
            optimizer.check(self.buffer.places)
        except Exception:
            self.forget()
            raise
        self.slots = {name: np.zeros(self.buffer.trainable, dtype) for name in optimizer.slots}

    def check(self, optimizer: Optimizer) -> None:
        """Raise an InputError if this optimizer, which may be another by now, cannot go on."""
        optimizer.check(self.buffer.places)
        if tuple(optimizer.slots) != tuple(self.slots):
            raise InputError(
                f"{type(optimizer).__name__} remembers {optimizer.slots}, and the optimizer that "
                f"the trainer began with {(*self.slots,)}: make another Trainer of this model, "
                "which goes on from its weights"
            )

    def forget(self) -> None:
        """Leave the model as if this had never been made, so that other data can be tried."""
        self.model.forget({id(parameter) for parameter, _ in self._before})
        for parameter, attributes in self._before:
            vars(parameter).update(attributes)

    def reclaim(self) -> None:
        """Own the weights that the model has now, also where another trainer has trained it.

        Raises
        ------
        InputError
            If a fit is under way: the weights here are those of its beginning then.
        """
        if self._lent:
            raise InputError(
                "a fit is under way, and until its end the model's weights are not the trainer's: "
                "a callback has Run.model() to evaluate or predict with, and Run.save()"
            )
        self.buffer.reclaim()

    def state(self) -> np.ndarray:
        """A copy of everything as one array."""
        state = np.zeros((1 + len(self.slots), len(self.buffer)), self.dtype)
        state[0] = self.buffer.values
        for row, slot in enumerate(self.slots.values(), start=1):
            state[row, : self.buffer.trainable] = slot
        return state

    def adopt(self, state: np.ndarray) -> None:
        """Take everything from a state."""
        self.buffer.values[...] = state[0]
        for row, slot in enumerate(self.slots.values(), start=1):
            slot[...] = state[row, : self.buffer.trainable]

    def tensors(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Views of a state: every parameter and its slots, by their names in checkpoints."""
        tensors = {}
        for name, parameter in self.buffer.parameters.items():
            place = self.buffer.index[name]
            tensors[f"model.{name}"] = state[0, place].reshape(parameter.shape)
            if parameter.trainable:
                for slot, values in zip(self.slots, state[1:], strict=True):
                    tensors[f"optimizer.{slot}.{name}"] = values[place]
        return tensors

    @contextmanager
    def bound(self, values: np.ndarray) -> Iterator[Layer]:
        """Within the block, the model with these values."""
        with self.buffer.borrowed(values):
            yield self.model

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Within the block the model's parameters belong to whoever trains it."""
        values, grads = self.buffer.values, self.buffer.grads
        try:
            self._lent = True
            for parameter in self.buffer.parameters.values():
                parameter.value = parameter.grad = None
            yield
        finally:
            self._lent = False
            self.buffer.bind(values, grads)


def declared(model: Layer, shape: Shape, precision: MixedPrecision | None) -> dict[str, Parameter]:
    """The parameters that a model would have for inputs of this shape; the model is as before.

    Raises
    ------
    ShapeError
        If it cannot take such inputs.
    """
    before = {id(parameter) for parameter in model.parameters().values()}
    try:
        model.build(shape)
        parameters = model.parameters()
        if precision is None:
            return parameters
        return with_loss_scale(parameters, LossScale(precision))
    finally:
        model.forget(before)


def tensor_shapes(parameters: Mapping[str, Parameter], slots: Sequence[str]) -> dict[str, Shape]:
    """The shapes of what `Learnt.tensors` gives."""
    shapes: dict[str, Shape] = {}
    for name, parameter in parameters.items():
        shapes[f"model.{name}"] = parameter.shape
        if parameter.trainable:
            shapes |= {f"optimizer.{slot}.{name}": (prod(parameter.shape),) for slot in slots}
    return shapes
