"""The columns of the strategies: a small network, trained in one process and in several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from networks import Case, assert_same_weights

from minidl import data, nn, optim, strategy
from minidl.runtime import Virtual

ORDERS = st.builds(Virtual, buffering=st.sampled_from(["none", "unlimited"]))


@dataclass(frozen=True)
class Layout:
    """How many share a batch, and how: as ``strategy`` says, on virtual ranks."""

    parts: int
    runtime: Virtual

    def chosen(self, name: str, layers: int) -> strategy.Strategy:
        if name == "pipeline":
            stages = min(self.parts, layers)
            return strategy.Pipeline(stages, micro_batches=self.parts, runtime=self.runtime)
        make = {"ring": strategy.RingAllReduce, "server": strategy.ParameterServer}[name]
        return make(self.parts, runtime=self.runtime)


layouts = st.builds(Layout, st.integers(2, 4), ORDERS)


def check_equal(case: Case, name: str, layout: Layout, groups: bool = False) -> None:
    """Train under the strategy of this name and in one process; compare all weights.

    `groups` says that the one process cuts each batch as the strategy does.
    """
    serial = case.trained(strategy.Serial(layout.parts if groups else 1))
    assert_same_weights(serial, case.trained(layout.chosen(name, len(case.layers)), epochs=2))


def around(layer: nn.Layer, inputs: np.ndarray) -> tuple[nn.Layer, ...]:
    """A network with parameters to learn before and behind a layer, where it lets them."""
    if layer.takes_integers:
        return layer, nn.Flatten(), nn.Linear(2)
    before = (nn.Linear(inputs.shape[-1]), nn.Tanh())
    if isinstance(layer, nn.AuxiliaryHeads):
        return *before, layer
    return *before, layer, nn.Flatten(), nn.Linear(2)


def case_of(
    layers: Sequence[nn.Layer],
    inputs: np.ndarray,
    targets: np.ndarray,
    loss: nn.Loss | None = None,
    optimizer: optim.Optimizer | None = None,
) -> Case:
    """A run of two epochs of three steps each; the last batch of an epoch is a smaller one."""
    rule = optim.SGD(lr=0.01, momentum=0.9) if optimizer is None else optimizer
    loss = nn.MSE() if loss is None else loss
    dataset = data.Dataset(inputs, targets)
    return Case(tuple(layers), dataset, loss, rule, batch_size=5, seed=1)
