"""Residual networks for large images (He et al. 2016).

A block learns what is to be added to its input. From 50 layers on, blocks are
bottlenecks: 1×1 convolutions narrow and widen again what a 3×3 one works on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minidl import nn
from minidl.checks import counted

Block = Callable[[int, int, nn.Layer | None], nn.Sequential]
"""Makes a block from its width, its stride and its shortcut."""


@counted
def resnet18(classes: int = 1000, width: int = 64) -> nn.Sequential:
    """ResNet-18: 11,689,512 parameters for a thousand classes; see `resnet50`."""
    return _resnet(_basic, 1, (2, 2, 2, 2), classes, width)


@counted
def resnet34(classes: int = 1000, width: int = 64) -> nn.Sequential:
    """ResNet-34: 21,797,672 parameters for a thousand classes; see `resnet50`."""
    return _resnet(_basic, 1, (3, 4, 6, 3), classes, width)


@counted
def resnet50(classes: int = 1000, width: int = 64) -> nn.Sequential:
    """ResNet-50: 25,557,032 parameters for three channels and a thousand classes.

    A 7×7 convolution and a pooling, four stages of residual blocks, the mean over
    the image and one full layer. As in torchvision, the 3×3 convolution of a
    bottleneck has its stride ("version 1.5"); in the paper the first 1×1 has it.

    Parameters
    ----------
    classes
        The number of outputs.
    width
        Of the first stage's blocks; there are 2, 4 and 8 times as many filters in the others.
    """
    return _resnet(_bottleneck, 4, (3, 4, 6, 3), classes, width)


@counted
def resnet101(classes: int = 1000, width: int = 64) -> nn.Sequential:
    """ResNet-101: 44,549,160 parameters for a thousand classes; see `resnet50`."""
    return _resnet(_bottleneck, 4, (3, 4, 23, 3), classes, width)


@counted
def resnet152(classes: int = 1000, width: int = 64) -> nn.Sequential:
    """ResNet-152: 60,192,808 parameters for a thousand classes; see `resnet50`."""
    return _resnet(_bottleneck, 4, (3, 8, 36, 3), classes, width)


def _resnet(
    block: Block, expansion: int, blocks: Sequence[int], classes: int, width: int
) -> nn.Sequential:
    """The network with this many blocks a stage, whose outputs are `expansion` times as wide."""
    layers = [*convolution(width, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
    channels = width
    for stage, count in enumerate(blocks):
        for place in range(count):
            stride = 2 if stage and not place else 1
            given, channels = channels, expansion * width * 2**stage
            same = stride == 1 and given == channels
            shortcut = None if same else nn.Sequential(*convolution(channels, 1, stride))
            layers.append(block(width * 2**stage, stride, shortcut))
    output = nn.Linear(classes, weight_init=nn.init.xavier_uniform)
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), output)


def convolution(channels: int, size: int, stride: int = 1) -> list[nn.Layer]:
    """A convolution that keeps the image's size, but for the stride, and batch normalisation."""
    return [nn.Conv2d(channels, size, stride, padding=size // 2, bias=False), nn.BatchNorm()]


def block_of(body: Sequence[nn.Layer], shortcut: nn.Layer | None) -> nn.Sequential:
    """ReLU(body(x) + shortcut(x))."""
    return nn.Sequential(nn.Residual(nn.Sequential(*body), shortcut), nn.ReLU())


def _basic(width: int, stride: int, shortcut: nn.Layer | None) -> nn.Sequential:
    body = [*convolution(width, 3, stride), nn.ReLU(), *convolution(width, 3)]
    return block_of(body, shortcut)


def _bottleneck(width: int, stride: int, shortcut: nn.Layer | None) -> nn.Sequential:
    narrow = [*convolution(width, 1), nn.ReLU()]
    inside = [*convolution(width, 3, stride), nn.ReLU()]
    return block_of([*narrow, *inside, *convolution(4 * width, 1)], shortcut)
