"""What a trainer owns: a model's weights, and the vectors its optimizer remembers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from minidl.errors import InputError
from minidl.nn import Layer, Parameter, ParameterBuffer, Shape
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
    seed
        Decides the initial weights.
    dtype
        Of the weights.
    optimizer
        Whose slots are kept.
    precision
        If not None, a loss scale lies beside the weights.

    Raises
    ------
    InputError
        If optimizer and model do not suit each other. The model is then as it was before.
    ShapeError
        If the model cannot take such samples. The model is then as it was before.
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
        self._before = [(p, vars(p).copy()) for p in model.parameters().values()]
        self.model, self.shape, self.seed, self.dtype = model, shape, seed, dtype
        self._loss_scale = None if precision is None else LossScale(precision)
        self._lent = False
        self.buffer = self._laid_out()
        try:
            optimizer.check(self._weights)
        except Exception:
            self.forget()
            raise
        self.slots = {name: np.zeros(self.buffer.trainable, dtype) for name in optimizer.slots}

    def _laid_out(self) -> ParameterBuffer:
        """A buffer for the model as it is now, which is built for `shape` and keeps its values.

        If that fails, the model is as it was before.
        """
        scale = self._loss_scale
        before = [(p, vars(p).copy()) for p in self.model.parameters().values()]
        if scale is not None:
            before.append((scale, vars(scale).copy()))
        given = [(parameter, parameter.value) for parameter, _ in before if parameter.initialised]
        try:
            buffer = self.model.initialise(self.shape, seed=self.seed, dtype=self.dtype)
            if scale is not None:
                parameters = with_loss_scale(self.model.parameters(), scale)
                buffer = ParameterBuffer(parameters, self.dtype)
                buffer.draw(self.seed)
            for parameter, value in given:
                parameter.value[...] = value
        except Exception:
            _undo(self.model, before)
            raise
        self._structure, self._parts = self._structure_now()
        return buffer

    def _structure_now(self) -> tuple[list[tuple[Any, ...]], list[Any]]:
        """All that decides how the parameters are laid out; and the parts, which keep their ids."""
        layers, parameters = list(self.model.walk()), self.model.parameters()
        structure: list[tuple[Any, ...]] = [(path, layer.path, id(layer)) for path, layer in layers]
        structure += [(name, each.frozen, id(each)) for name, each in parameters.items()]
        return structure, [*(layer for _, layer in layers), *parameters.values()]

    @property
    def _weights(self) -> list[str]:
        """The names of all parameters that are learnt, or would be if they were not frozen."""
        return [name for name, each in self.buffer.parameters.items() if each.has_gradient]

    def check(self, optimizer: Optimizer) -> None:
        """Raise an InputError if this optimizer, which may be another by now, cannot go on."""
        optimizer.check(self._weights)
        if self.buffer.frozen and not self.buffer.trainable:
            raise InputError(
                "every parameter of the model is frozen, so there is nothing to train: "
                "call unfreeze() on the layers that are to learn"
            )
        if tuple(optimizer.slots) != tuple(self.slots):
            raise InputError(
                f"{type(optimizer).__name__} remembers {optimizer.slots}, and the optimizer that "
                f"the trainer began with {(*self.slots,)}: make another Trainer of this model, "
                "which goes on from its weights"
            )

    def forget(self) -> None:
        """Leave the model as if this had never been made, so that other data can be tried."""
        _undo(self.model, self._before)

    def reclaim(self, model: Layer, shape: Shape | None = None) -> None:
        """Own the weights that the model has now, whoever has changed it in the meantime.

        Another trainer may have trained it. Layers may have been replaced, added, removed,
        shared, renamed, frozen or unfrozen: a parameter that was here before keeps its value
        and its slots, wherever it is now. A new one keeps the value that it has, or draws
        one, and its slots begin at zero, as do those of one that was frozen.

        Parameters
        ----------
        model
            As it is now.
        shape
            Of one sample, for which new layers are built; the one before if None.

        Raises
        ------
        InputError
            If a fit is under way: the weights here are those of its beginning then.
        ShapeError
            If the layers do not fit each other or the shape. All is then as it was before.
        """
        self.require_here()
        before = self.model, self.shape
        self.model = model
        if self._structure_now()[0] == self._structure:
            self.buffer.reclaim()
            return
        remembered = {
            id(self.buffer.parameters[name]): [slot[place] for slot in self.slots.values()]
            for name, place in self.buffer.places.items()
        }
        self.shape = self.shape if shape is None else shape
        try:
            self.buffer = self._laid_out()
        except Exception:
            self.model, self.shape = before
            raise
        self.slots = {name: np.zeros(self.buffer.trainable, self.dtype) for name in self.slots}
        for name, place in self.buffer.places.items():
            known = remembered.get(id(self.buffer.parameters[name]))
            if known is not None:
                for slot, values in zip(self.slots.values(), known, strict=True):
                    slot[place] = values

    def rebuild(self) -> None:
        """Undo a trial build for another shape, unless the layers were changed since."""
        if self._structure_now()[0] == self._structure:
            self.model.build(self.shape)

    def require_here(self) -> None:
        """Raise an InputError if a fit is under way, which has the weights until its end."""
        if self._lent:
            raise InputError(
                "a fit is under way, and until its end the model's weights are not the trainer's: "
                "a callback has Run.model() to evaluate or predict with, and Run.save()"
            )

    def require_unchanged(self) -> None:
        """Raise an InputError if a callback has changed the layers of the model in training."""
        if self._structure_now()[0] != self._structure:
            raise InputError(
                "a callback has replaced, added, removed, frozen or unfrozen layers while the "
                "model is being trained: do that between two fits"
            )

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

    def restore(self, state: np.ndarray) -> None:
        """Take everything from an earlier state but how many steps have been skipped since."""
        skipped = 0 if self._loss_scale is None else self._loss_scale.skipped
        self.adopt(state)
        if self._loss_scale is not None:
            self._loss_scale.skipped = skipped

    def take(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Take everything from the tensors of a checkpoint."""
        for name, view in self.tensors([self.buffer.values, *self.slots.values()]).items():
            view[...] = tensors[name]

    def tensors(self, state: np.ndarray | Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Views of a state: every parameter and its slots, by their names in checkpoints."""
        tensors, learnt = {}, self.buffer.places
        for name, parameter in self.buffer.parameters.items():
            place = self.buffer.index[name]
            tensors[f"model.{name}"] = state[0][place].reshape(parameter.shape)
            if name in learnt:
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
                parameter.bind(None, None)
            yield
        finally:
            self._lent = False
            self.buffer.bind(values, grads)


def _undo(model: Layer, before: Sequence[tuple[Parameter, dict[str, Any]]]) -> None:
    """Leave a model with these parameters alone, and with what they held."""
    model.forget({id(parameter) for parameter, _ in before})
    for parameter, attributes in before:
        vars(parameter).update(attributes)


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
