"""Networks of the lecture, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from minidl.errors import InputError, unknown_name
from minidl.models.alexnet import alexnet
from minidl.models.decoding import Decoded, beam, greedy
from minidl.models.digits_cnn import digits_cnn
from minidl.models.googlenet import googlenet
from minidl.models.lenet5 import lenet5
from minidl.models.mlp import mlp
from minidl.models.resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from minidl.models.resnet_cifar import resnet20, resnet32, resnet56
from minidl.models.seq2seq import Seq2Seq, seq2seq
from minidl.models.vgg import vgg11, vgg13, vgg16, vgg19
from minidl.nn.layer import Layer

__all__ = [
    "Decoded",
    "Seq2Seq",
    "alexnet",
    "beam",
    "digits_cnn",
    "googlenet",
    "greedy",
    "known",
    "lenet5",
    "make",
    "mlp",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet152",
    "seq2seq",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
]

_MAKERS: tuple[Callable[..., Layer], ...] = (
    mlp, lenet5, digits_cnn, alexnet, vgg11, vgg13, vgg16, vgg19, googlenet,
    resnet18, resnet34, resnet50, resnet101, resnet152, resnet20, resnet32, resnet56,
    seq2seq,
)  # fmt: skip


def known() -> dict[str, Callable[..., Layer]]:
    """The functions that make networks, by name."""
    return {made.__name__: made for made in _MAKERS}


def make(name: str, **settings: Any) -> Layer:
    """The network of this name.

    Parameters
    ----------
    name
        One of `known`.
    **settings
        Handed to the function that makes it.

    Raises
    ------
    UnknownNameError
        If there is no such network.
    InputError
        If it has no such setting.
    """
    makers = known()
    if name not in makers:
        raise unknown_name("model", name, makers)
    signature = inspect.signature(makers[name])
    strange = sorted(set(settings) - set(signature.parameters))
    if strange:
        raise InputError(
            f"model {name} has no setting {', '.join(strange)}; "
            f"its settings are {', '.join(signature.parameters)}"
        )
    return makers[name](**settings)
