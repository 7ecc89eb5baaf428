"""AlexNet (Krizhevsky 2014), the network that began it, in its form for one device."""

from __future__ import annotations

from minidl import nn
from minidl.checks import counted


@counted
def alexnet(classes: int = 1000, width: int = 64, hidden: int = 4096) -> nn.Sequential:
    """Five convolutions with three poolings, then three full layers with dropout.

    61,100,840 parameters for 224×224×3 and a thousand classes, as in torchvision.
    Of the 2012 paper's details, two halves on two devices and local response
    normalisation are left out, as in Krizhevsky's "One weird trick" (2014).

    Parameters
    ----------
    classes
        The number of outputs.
    width
        Filters of the first convolution; all others are in proportion.
    hidden
        The size of the two hidden full layers.
    """
    return nn.Sequential(
        nn.Conv2d(width, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(3 * width, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(6 * width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4 * width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(hidden),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(hidden),
        nn.ReLU(),
        nn.Linear(classes, weight_init=nn.init.xavier_uniform),
    )
