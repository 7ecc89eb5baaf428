"""GoogLeNet (Szegedy et al. 2015): modules of parallel ways, with 1×1 convolutions to save work."""

from __future__ import annotations

from minidl import nn
from minidl.checks import counted


@counted
def googlenet(classes: int = 1000, width: int = 64, auxiliary: bool = False) -> nn.Sequential:
    """Nine Inception modules between two convolutions and one full layer.

    6,624,904 parameters for three channels and a thousand classes, as in
    torchvision, whose form this is: batch normalisation behind each convolution,
    and 3×3 where the paper's modules have 5×5. Where torchvision rounds a
    pooling's output size up, the window here is padded on either side instead,
    which gives the same sizes for images whose side divides by 32.

    Parameters
    ----------
    classes
        The number of outputs.
    width
        Filters of the first convolution; all others are in proportion, rounded down to
        no less than one.
    auxiliary
        Whether there are the paper's two further heads, which answer in training only, from
        the modules 4a and 4d: 13,004,888 parameters, as in torchvision. The loss then must be
        ``nn.WithAuxiliary(nn.CrossEntropy(), classes)``, and images need 65×65 pixels at least.
    """

    def filters(count: int) -> int:
        return max(1, count * width // 64)

    def module(*counts: int) -> nn.Concat:
        return inception(*map(filters, counts))

    to_4a = (
        *_convolution(filters(64), 7, stride=2),
        nn.MaxPool2d(3, stride=2, padding=1),
        *_convolution(filters(64), 1),
        *_convolution(filters(192), 3),
        nn.MaxPool2d(3, stride=2, padding=1),
        module(64, 96, 128, 16, 32, 32),
        module(128, 128, 192, 32, 96, 64),
        nn.MaxPool2d(3, stride=2, padding=1),
        module(192, 96, 208, 16, 48, 64),
    )
    to_4d = (
        module(160, 112, 224, 24, 64, 64),
        module(128, 128, 256, 24, 64, 64),
        module(112, 144, 288, 32, 64, 64),
    )
    to_the_end = (
        module(256, 160, 320, 32, 128, 128),
        nn.MaxPool2d(2),
        module(256, 160, 320, 32, 128, 128),
        module(384, 192, 384, 48, 128, 128),
        nn.GlobalAvgPool2d(),
        nn.Dropout(0.2),
        _output(classes),
    )
    if not auxiliary:
        return nn.Sequential(*to_4a, *to_4d, *to_the_end)
    heads = [_head(filters(128), filters(1024), classes) for _ in range(2)]
    stages = (nn.Sequential(*stage) for stage in (to_4a, to_4d, to_the_end))
    return nn.Sequential(nn.AuxiliaryHeads(*stages, heads=heads))


def inception(
    ones: int, before_small: int, small: int, before_large: int, large: int, pooled: int
) -> nn.Concat:
    """A module of four ways: 1×1; 1×1 then 3×3; 1×1 then 3×3; pooling then 1×1.

    Parameters
    ----------
    ones
        Filters of the way with one 1×1 convolution.
    small
        Filters of the first 3×3 convolution.
    large
        Filters of the second 3×3 convolution, which stands for the 5×5 of the paper.
    pooled
        Filters behind the pooling. All four together are the module's output channels.
    before_small
        Filters of the 1×1 convolution that narrows the input of `small`.
    before_large
        Filters of the 1×1 convolution that narrows the input of `large`.
    """
    return nn.Concat(
        nn.Sequential(*_convolution(ones, 1)),
        nn.Sequential(*_convolution(before_small, 1), *_convolution(small, 3)),
        nn.Sequential(*_convolution(before_large, 1), *_convolution(large, 3)),
        nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), *_convolution(pooled, 1)),
    )


def _convolution(channels: int, size: int, stride: int = 1) -> list[nn.Layer]:
    return [
        nn.Conv2d(channels, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm(eps=1e-3),
        nn.ReLU(),
    ]


def _head(channels: int, hidden: int, classes: int) -> nn.Sequential:
    """What answers along the way: pooling to 4×4 (of 14×14), 1×1, and two full layers."""
    return nn.Sequential(
        nn.AvgPool2d(5, stride=3),
        *_convolution(channels, 1),
        nn.Flatten(),
        nn.Linear(hidden),
        nn.ReLU(),
        nn.Dropout(0.7),
        _output(classes),
    )


def _output(classes: int) -> nn.Linear:
    return nn.Linear(classes, weight_init=nn.init.xavier_uniform)
