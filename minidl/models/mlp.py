"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

from minidl import nn
from minidl.checks import counted


@counted
def mlp(hidden: Sequence[int] = (128,), classes: int = 10) -> nn.Sequential:
    """Fully connected layers with ReLU between them, for samples of any shape.

    Parameters
    ----------
    hidden
        The sizes of the hidden layers; none gives softmax regression.
    classes
        The number of outputs.
    """
    layers: list[nn.Layer] = [nn.Flatten()]
    for size in hidden:
        layers += [nn.Linear(size), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(classes, weight_init=nn.init.xavier_uniform))
