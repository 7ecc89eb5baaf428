"""Residual networks for small images, as He et al. (2016, section 4.2) drew them for CIFAR-10."""

from __future__ import annotations

from minidl import nn
from minidl.checks import counted
from minidl.models.resnet import block_of, convolution


@counted
def resnet20(classes: int = 10, width: int = 16) -> nn.Sequential:
    """ResNet-20: 269,722 parameters (0.27M) for three channels and ten classes.

    A 3×3 convolution, three stages of as many residual blocks each, the mean
    over the image and one full layer. The second and the third stage halve the
    image and double the filters; their shortcuts have no parameters (`PadChannels`).

    Parameters
    ----------
    classes
        The number of outputs.
    width
        Filters of the first stage.
    """
    return _resnet(3, classes, width)


@counted
def resnet32(classes: int = 10, width: int = 16) -> nn.Sequential:
    """ResNet-32: 464,154 parameters (0.46M) for three channels and ten classes; see `resnet20`."""
    return _resnet(5, classes, width)


@counted
def resnet56(classes: int = 10, width: int = 16) -> nn.Sequential:
    """ResNet-56: 853,018 parameters (0.85M) for three channels and ten classes; see `resnet20`."""
    return _resnet(9, classes, width)


def _resnet(blocks: int, classes: int, width: int) -> nn.Sequential:
    """The network of 6 blocks + 2 layers."""
    layers = [*convolution(width, 3), nn.ReLU()]
    for stage in range(3):
        for place in range(blocks):
            narrows = stage > 0 and place == 0
            layers.append(_block(width * 2**stage, 2 if narrows else 1))
    output = nn.Linear(classes, weight_init=nn.init.xavier_uniform)
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), output)


def _block(width: int, stride: int) -> nn.Sequential:
    body = [*convolution(width, 3, stride), nn.ReLU(), *convolution(width, 3)]
    return block_of(body, nn.PadChannels(width, stride) if stride > 1 else None)
