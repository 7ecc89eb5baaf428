"""LeNet-5 (LeCun et al. 1998), for images of up to 32×32."""

from __future__ import annotations

from minidl import nn
from minidl.checks import counted


@counted
def lenet5(classes: int = 10) -> nn.Sequential:
    """Two convolutions with average pooling, then three full layers, with tanh between.

    61,706 parameters for ten classes and one channel. Of the paper's details left
    out here, as usual: every map of the second convolution sees all maps of the
    first, pooling has no parameters, and the output is a plain linear layer.

    Parameters
    ----------
    classes
        The number of outputs.
    """
    xavier = nn.init.xavier_uniform
    return nn.Sequential(
        nn.FitImage(32),
        nn.Conv2d(6, 5, weight_init=xavier),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 5, weight_init=xavier),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(120, weight_init=xavier),
        nn.Tanh(),
        nn.Linear(84, weight_init=xavier),
        nn.Tanh(),
        nn.Linear(classes, weight_init=xavier),
    )
