"""Networks of the lecture, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from minidl.errors import InputError, unknown_name
from minidl.models.digits_cnn import digits_cnn
from minidl.models.lenet5 import lenet5
from minidl.models.mlp import mlp
from minidl.nn.layer import Layer

__all__ = ["digits_cnn", "known", "lenet5", "make", "mlp"]


def known() -> dict[str, Callable[..., Layer]]:
    """The functions that make networks, by name."""
    return {made.__name__: made for made in (mlp, lenet5, digits_cnn)}


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
