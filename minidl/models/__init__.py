"""Networks of the lecture, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from minidl.checks import checked
from minidl.errors import InputError, unknown_name
from minidl.models.alexnet import alexnet
from minidl.models.char_lstm import char_lstm
from minidl.models.decoding import Decoded, beam, greedy
from minidl.models.digits_cnn import digits_cnn
from minidl.models.gan import GAN, dcgan, mlp_gan
from minidl.models.googlenet import googlenet
from minidl.models.lenet5 import lenet5
from minidl.models.mlp import mlp
from minidl.models.resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from minidl.models.resnet_cifar import resnet20, resnet32, resnet56
from minidl.models.sampling import forward_from, sample
from minidl.models.seq2seq import Seq2Seq, seq2seq
from minidl.models.vgg import vgg11, vgg13, vgg16, vgg19
from minidl.nn.layer import Layer
from minidl.nn.parameters import Shape

__all__ = [
    "GAN",
    "Decoded",
    "Seq2Seq",
    "alexnet",
    "beam",
    "char_lstm",
    "dcgan",
    "digits_cnn",
    "forward_from",
    "googlenet",
    "greedy",
    "known",
    "lenet5",
    "make",
    "mlp",
    "mlp_gan",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet152",
    "sample",
    "seq2seq",
    "usual_input",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
]

_MAKERS: dict[Shape, tuple[Callable[..., Layer], ...]] = {
    (28, 28, 1): (mlp, lenet5, dcgan, mlp_gan),
    (8, 8, 1): (digits_cnn,),
    (224, 224, 3): (
        alexnet, vgg11, vgg13, vgg16, vgg19, googlenet,
        resnet18, resnet34, resnet50, resnet101, resnet152,
    ),
    (32, 32, 3): (resnet20, resnet32, resnet56),
    (64,): (char_lstm,),
    (41,): (seq2seq,),
}  # fmt: skip
"""What makes networks, by the shape of the samples that they are drawn for."""


def known() -> dict[str, Callable[..., Layer]]:
    """The functions that make networks, by name."""
    return {made.__name__: made for makers in _MAKERS.values() for made in makers}


@checked
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


@checked
def usual_input(name: str) -> Shape:
    """The shape of the samples that the network of this name is drawn for.

    The images of MNIST, of the embedded digits, of CIFAR or of ImageNet, for which counts
    are published; or as many characters as it is trained on at a time.

    Raises
    ------
    UnknownNameError
        If there is no such network.
    """
    for shape, makers in _MAKERS.items():
        if name in (made.__name__ for made in makers):
            return shape
    raise unknown_name("model", name, known())
