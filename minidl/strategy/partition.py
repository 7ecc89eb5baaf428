"""Cutting a network into consecutive stages of nearly equal work."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from minidl.errors import InputError
from minidl.nn import Layer, Sequential, Shape


@dataclass(frozen=True)
class Stage:
    """Some consecutive layers of a network.

    Parameters
    ----------
    layers
        The layers, which keep the names that they have in the whole network.
    input_shape, output_shape
        Of one sample.
    """

    layers: tuple[Layer, ...]
    input_shape: Shape
    output_shape: Shape

    def model(self) -> Sequential:
        """The stage as a network of its own."""
        return Sequential(*self.layers, names=[layer.path for layer in self.layers])


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
    layers = list(_flatten(model))
    if len(layers) < stages:
        raise InputError(
            f"{stages} stages need as many layers, and the model has {len(layers)}: "
            f"choose between 1 and {len(layers)} stages"
        )
    shapes = list(accumulate(layers, lambda shape, layer: layer.build(shape), initial=input_shape))
    work = [_work(layer, shape) for layer, shape in zip(layers, shapes[1:], strict=True)]
    cuts = _balance(work, stages)
    parts = tuple(Stage(tuple(layers[a:b]), shapes[a], shapes[b]) for a, b in pairwise([0, *cuts]))
    _require_disjoint(parts)
    return parts


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


def _balance(work: list[int], stages: int) -> list[int]:
    """Where each stage ends, so that the heaviest is as light as possible.

    ``best[k][n]`` is the least possible weight of the heaviest of `k` stages
    that hold the first `n` layers.
    """
    count = len(work)
    sums = [0, *accumulate(work)]
    best = [[float("inf")] * (count + 1) for _ in range(stages + 1)]
    last_cut = [[0] * (count + 1) for _ in range(stages + 1)]
    best[0][0] = 0
    for k in range(1, stages + 1):
        for n in range(k, count + 1):
            for cut in range(k - 1, n):
                heaviest = max(best[k - 1][cut], sums[n] - sums[cut])
                if heaviest < best[k][n]:
                    best[k][n], last_cut[k][n] = heaviest, cut
    cuts = [count]
    for k in range(stages, 1, -1):
        cuts.append(last_cut[k][cuts[-1]])
    return cuts[::-1]


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
