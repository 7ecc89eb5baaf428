"""Outputs along the way of a deep network, in training only (Szegedy et al. 2015, section 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minidl import kernels
from minidl.checks import checked, is_number, whole
from minidl.errors import InputError, ShapeError
from minidl.kernels.contracts.types import floats
from minidl.nn.layer import Layer, Mode
from minidl.nn.loss import Loss, expect_outputs
from minidl.nn.parameters import Array, Shape


@checked
class AuxiliaryHeads(Layer):
    """Stages one after another, each but the last with a head that tries to answer already.

    In evaluation the heads rest, and the output is that of the last stage, (N, ..., C). In
    training those of the heads follow it on the last axis, (N, ..., C + C + ...), for a loss
    to weigh: see `WithAuxiliary`. So gradients reach the lower stages by a short way too. As
    training and evaluation differ in shape, it stands last in a network.

    The stages are named by their place, the heads ``"head0"``, ``"head1"`` and so on.

    Parameters
    ----------
    *stages
        Two or more layers.
    heads
        One layer less: ``heads[i]`` is given what ``stages[i]`` puts out. All must put out
        what the last stage does, but for the numbers.

    Raises
    ------
    InputError
        If there are not as many, or one is no layer.
    """

    def __init__(self, *stages: Layer, heads: Sequence[Layer]) -> None:
        for part in (*stages, *heads):
            if not isinstance(part, Layer):
                raise InputError(f"AuxiliaryHeads: {part!r} is no layer")
        if len(stages) < 2 or len(heads) != len(stages) - 1:
            raise InputError(
                "AuxiliaryHeads needs two or more stages and a head for each but the last, "
                f"not {len(stages)} stages and {len(heads)} heads"
            )
        self.stages = stages
        self.heads = tuple(heads)

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield from zip(map(str, range(len(self.stages))), self.stages, strict=True)
        for place, head in enumerate(self.heads):
            yield f"head{place}", head

    def build(self, shape: Shape) -> Shape:
        answers = []
        for stage, head in zip(self.stages, self.heads, strict=False):
            shape = stage.build(shape)
            answers.append(head.build(shape))
        shape = self.stages[-1].build(shape)
        if not shape or any(answer != shape for answer in answers):
            raise ShapeError(
                f"{self.describe()}: the last stage puts out {shape}, the heads "
                f"{', '.join(map(str, answers))}; they must be equal, and of one axis at least"
            )
        return shape

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        answers, saved = [], []
        for stage, head in zip(self.stages, self.heads, strict=False):
            x, of_stage = stage.forward(x, mode)
            if mode.training:
                answer, of_head = head.forward(x, mode)
                answers.append(answer)
                saved.append((of_stage, of_head))
        y, of_last = self.stages[-1].forward(x, mode)
        if not mode.training:
            return y, None
        y = kernels.array_module(y).concatenate((y, *answers), axis=-1)
        return y, (y.shape, [*saved, (of_last, None)])

    def backward(self, dy: Array, saved: Any) -> Array:
        return self._back(dy, saved, -1)

    def accumulate(self, dy: Array, saved: Any) -> None:
        learning = (place for place, stage in enumerate(self.stages) if stage.learns)
        self._back(dy, saved, next(learning, len(self.stages)))

    def _back(self, dy: Array, saved: Any, first: int) -> Array:
        """The gradient by the input of the stage behind `first`, which needs none of its own."""
        shape, kept = saved
        self.expect_gradient(dy, shape)
        dx, *danswers = kernels.array_module(dy).split(dy, len(self.stages), axis=-1)
        for place in reversed(range(len(self.stages))):
            stage, (of_stage, of_head) = self.stages[place], kept[place]
            if place < len(self.heads):
                head, danswer = self.heads[place], danswers[place]
                if place >= first:
                    dx = dx + head.backward(danswer, of_head)
                elif head.learns:
                    head.accumulate(danswer, of_head)
            if place > first:
                dx = stage.backward(dx, of_stage)
            elif place == first:
                stage.accumulate(dx, of_stage)
        return dx


@checked
class WithAuxiliary(Loss):
    """``loss(y) + Σ weights[i] loss(y_i)`` for the output y of a network and y_i of its heads.

    For a network that ends with `AuxiliaryHeads`. In evaluation, where there are no y_i, it
    is the loss of y, and metrics always are y's.

    Parameters
    ----------
    loss
        Any loss.
    outputs
        C, the size of y's last axis, by which the y_i are told apart from it.
    weights
        One for each head.

    Raises
    ------
    InputError
        If the loss is none, `outputs` is not positive, or a weight is negative or infinite.
    """

    def __init__(self, loss: Loss, outputs: int, weights: Sequence[float] = (0.3, 0.3)) -> None:
        if not isinstance(loss, Loss):
            raise InputError(f"WithAuxiliary: loss must be a loss, not {loss!r}")
        if len(weights) == 0 or not all(is_number(weight) and weight >= 0 for weight in weights):
            raise InputError(
                f"WithAuxiliary: weights must be one or more finite numbers from 0, not {weights}"
            )
        self.loss = loss
        self.outputs = whole("WithAuxiliary: outputs", outputs)
        self.weights = tuple(weights)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        losses, saved = zip(
            *(self.loss.forward(y, targets) for y in self._parts(outputs)), strict=True
        )
        weighed = zip((1.0, *self.weights), losses, strict=False)
        return sum(weight * each for weight, each in weighed), saved

    def backward(self, dlosses: Array, saved: Any) -> Array:
        floats(dlosses)
        weighed = zip((1.0, *self.weights), saved, strict=False)
        parts = [self.loss.backward(weight * dlosses, kept) for weight, kept in weighed]
        return kernels.array_module(dlosses).concatenate(parts, axis=-1)

    def metrics(self, outputs: Array, targets: Array) -> dict[str, Array]:
        return self.loss.metrics(self._parts(outputs)[0], targets)

    def taken(self, outputs_shape: Shape, targets: np.ndarray) -> np.ndarray:
        return self.loss.taken(outputs_shape, targets)

    def check(self, outputs_shape: Shape, targets: np.ndarray) -> None:
        if outputs_shape[-1:] != (self.outputs,):
            raise ShapeError(
                f"WithAuxiliary was made for {self.outputs} outputs, and the network puts out "
                f"samples of shape {outputs_shape}"
            )
        self.loss.check(outputs_shape, targets)

    def _parts(self, outputs: Array) -> list[Array]:
        """y alone, or y and all y_i."""
        expect_outputs(self, outputs)
        count = 1 + len(self.weights)
        if outputs.shape[-1] not in (self.outputs, count * self.outputs):
            raise ShapeError(
                f"WithAuxiliary with {len(self.weights)} weights needs {self.outputs} outputs, or "
                f"{count * self.outputs} in training, not a batch of shape {outputs.shape}"
            )
        parts = outputs.shape[-1] // self.outputs
        return list(kernels.array_module(outputs).split(outputs, parts, axis=-1))
