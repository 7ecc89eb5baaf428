"""Cutting a network into consecutive stages of nearly equal work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from minidl.checks import checked, naming, whole
from minidl.errors import InputError
from minidl.nn import Layer, Sequential, Shape
from minidl.plans import balance
from minidl.reprs import brief


@dataclass(frozen=True)
class Stage:
    """Some consecutive layers of a network.

    Parameters
    ----------
    layers
        The layers, which keep the names that they have in the whole network.
    input_shape
        Of one sample that the stage is given.
    output_shape
        Of one sample that the stage passes on.
    """

    layers: tuple[Layer, ...]
    input_shape: Shape
    output_shape: Shape

    __repr__ = brief

    def model(self) -> Sequential:
        """The stage as a network of its own."""
        return Sequential(*self.layers, names=[layer.path for layer in self.layers])


@checked
def partition(model: Layer, input_shape: Shape, stages: int) -> tuple[Stage, ...]:
    """Cut a network into stages so that the largest has as little work as possible.

    Work is estimated from shapes alone: a multiply-add for each parameter at each
    output position, and one operation for each output element.

    Raises
    ------
    InputError
        If the network is no `Sequential`, has fewer layers than `stages`, or uses
        one parameter in two stages.
    """
    if not isinstance(model, Sequential):
        raise InputError(
            f"a pipeline cuts a Sequential into stages; {type(model).__name__} is none"
        )
    whole("partition: stages", stages)
    layers = list(_flatten(model))
    if len(layers) < stages:
        raise InputError(
            f"{stages} stages need as many layers, and the model has {len(layers)}: "
            f"choose between 1 and {len(layers)} stages"
        )
    with naming("partition: input_shape"):
        shapes = [*accumulate(layers, lambda shape, layer: layer.build(shape), initial=input_shape)]
    work = [_work(layer, shape) for layer, shape in zip(layers, shapes[1:], strict=True)]
    parts = tuple(
        Stage(tuple(layers[run]), shapes[run.start], shapes[run.stop])
        for run in balance(work, stages)
    )
    _require_disjoint(parts)
    return parts


def first_learning(stages: Sequence[Stage]) -> int:
    """The number of the first stage that learns: no gradient is needed before it."""
    return next((at for at, stage in enumerate(stages) if stage.model().learns), 0)


def _flatten(model: Sequential) -> list[Layer]:
    """The layers in order, those of nested `Sequential`s in place."""
    return [
        inner
        for _, layer in model.children()
        for inner in (_flatten(layer) if isinstance(layer, Sequential) else [layer])
    ]


def _work(layer: Layer, output_shape: Shape) -> int:
    positions = int(np.prod(output_shape[:-1], dtype=np.int64))
    parameters = sum(parameter.size for parameter in layer.parameters().values())
    return parameters * positions + int(np.prod(output_shape, dtype=np.int64))


def _require_disjoint(stages: tuple[Stage, ...]) -> None:
    """Refuse parameters that two stages would have to keep equal."""
    owner: dict[int, int] = {}
    for number, stage in enumerate(stages):
        for name, parameter in stage.model().parameters().items():
            if owner.setdefault(id(parameter), number) != number:
                raise InputError(
                    f"{name} is used in stages {owner[id(parameter)]} and {number}; "
                    "a layer with parameters can live in one stage only"
                )
