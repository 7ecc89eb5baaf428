"""VGG (Simonyan and Zisserman 2015): nothing but 3×3 convolutions, one after another.

Three of them see as much as one of 7×7, with 27 C² parameters rather than 49 C²
and two more nonlinearities.
"""

from __future__ import annotations

from collections.abc import Sequence

from minidl import nn
from minidl.checks import counted


@counted
def vgg11(classes: int = 1000, width: int = 64, hidden: int = 4096) -> nn.Sequential:
    """VGG-11: 132,863,336 parameters for 224×224×3 and a thousand classes; see `vgg16`."""
    return _vgg((1, 1, 2, 2, 2), classes, width, hidden)


@counted
def vgg13(classes: int = 1000, width: int = 64, hidden: int = 4096) -> nn.Sequential:
    """VGG-13: 133,047,848 parameters for 224×224×3 and a thousand classes; see `vgg16`."""
    return _vgg((2, 2, 2, 2, 2), classes, width, hidden)


@counted
def vgg16(classes: int = 1000, width: int = 64, hidden: int = 4096) -> nn.Sequential:
    """VGG-16: 138,357,544 parameters for 224×224×3 and a thousand classes.

    Five groups of convolutions with a pooling after each, then three full layers
    with dropout. Images need at least 32×32 pixels.

    Parameters
    ----------
    classes
        The number of outputs.
    width
        Filters in the first group; there are 2, 4, 8 and 8 times as many in the others.
    hidden
        The size of the two hidden full layers.
    """
    return _vgg((2, 2, 3, 3, 3), classes, width, hidden)


@counted
def vgg19(classes: int = 1000, width: int = 64, hidden: int = 4096) -> nn.Sequential:
    """VGG-19: 143,667,240 parameters for 224×224×3 and a thousand classes; see `vgg16`."""
    return _vgg((2, 2, 4, 4, 4), classes, width, hidden)


def _vgg(convolutions: Sequence[int], classes: int, width: int, hidden: int) -> nn.Sequential:
    """The network with this many convolutions in each of its five groups."""
    layers: list[nn.Layer] = []
    for count, factor in zip(convolutions, (1, 2, 4, 8, 8), strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(factor * width, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), *_full(hidden), *_full(hidden), _output(classes))


def _full(size: int) -> tuple[nn.Layer, ...]:
    return nn.Linear(size), nn.ReLU(), nn.Dropout(0.5)


def _output(classes: int) -> nn.Layer:
    return nn.Linear(classes, weight_init=nn.init.xavier_uniform)
