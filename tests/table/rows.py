"""What a row of the table of layers is: how to draw one, its twin in PyTorch, its network.

The columns are the checks that every layer, loss and update rule must pass. A row says
where one of them is done otherwise (`notes`) or cannot be done at all (`absent`), and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import nn, optim

COLUMNS = {
    "reference": "the definition keeps its promises",
    "cpu": "the CPU kernels equal the definition",
    "gpu": "the GPU kernels equal the definition",
    "oracle": "PyTorch agrees, or else what the note says",
    "finite differences": "gradients by inputs and parameters equal differences",
    "ring": "trained weights equal the serial run's",
    "server": "trained weights equal the serial run's",
    "pipeline": "trained weights equal the serial run's",
}
STRATEGIES = ("ring", "server", "pipeline")


@dataclass(frozen=True)
class Row:
    """One thing that is public, and how it is checked.

    Parameters
    ----------
    kind
        The class.
    drawn
        What Hypothesis draws for the checks: a `Layer`, a `Loss`, ... of the classes below.
    notes
        By column: what its check is where it is not the one of all other rows.
    absent
        By column: why there can be no such check.
    groups
        Whether a cut batch is another one: the serial run is then cut in the same way.
    """

    kind: type
    drawn: st.SearchStrategy[Any]
    name: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    groups: bool = False

    @property
    def title(self) -> str:
        return self.name or self.kind.__name__


Twin = Callable[[Any, Any, Mapping[str, Any]], Any]
"""The same function by PyTorch: ``twin(torch, x, parameters)``, to be differentiated by it."""


@dataclass(frozen=True)
class OneLayer:
    """A layer, inputs for it, and the same function in PyTorch."""

    layer: nn.Layer
    x: np.ndarray
    twin: Twin

    def __repr__(self) -> str:
        settings = {k: v for k, v in vars(self.layer).items() if not isinstance(v, nn.Parameter)}
        return f"{type(self.layer).__name__}({settings}) of {self.x.shape}"


@dataclass(frozen=True)
class OneLoss:
    """A loss, outputs and targets for it, and PyTorch's: ``twin(torch, outputs, targets)``.

    The twin's numbers, (N, ...), have each sample's loss as their mean.
    """

    loss: nn.Loss
    outputs: np.ndarray
    targets: np.ndarray
    twin: Twin


@dataclass(frozen=True)
class OneRule:
    """An update rule, and an oracle.

    ``twin(torch, named tensors)`` gives a function that makes a step with their gradients.
    """

    rule: optim.Optimizer
    twin: Callable[[Any, Mapping[str, Any]], Callable[[], None]] | None = None


@dataclass(frozen=True)
class OneGame:
    """An adversarial loss and its three sides in PyTorch: ``twin(torch, z, side)``."""

    loss: nn.AdversarialLoss
    twin: Callable[[Any, Any, str], Any]
