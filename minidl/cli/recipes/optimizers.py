"""Optimizers by the names that ``minidl train --optimizer`` takes."""

from __future__ import annotations

from collections.abc import Callable

from minidl import optim
from minidl.errors import unknown_name

_MAKERS: dict[str, tuple[float, Callable[[float], optim.Optimizer]]] = {
    "sgd": (0.05, lambda lr: optim.SGD(lr=lr, momentum=0.9)),
    "adam": (1e-3, lambda lr: optim.Adam(lr=lr)),
    "adamw": (1e-3, lambda lr: optim.AdamW(lr=lr)),
    "adagrad": (1e-2, lambda lr: optim.Adagrad(lr=lr)),
    "rmsprop": (1e-3, lambda lr: optim.RMSprop(lr=lr)),
    "lars": (5.0, lambda lr: optim.LARS(lr=lr)),
}


def optimizer(name: str, lr: float | None = None) -> optim.Optimizer:
    """The optimizer of this name, with its usual learning rate if None is given.

    Raises
    ------
    UnknownNameError
        If there is none; the message lists those there are.
    """
    if name not in _MAKERS:
        raise unknown_name("optimizer", name, _MAKERS)
    usual, make = _MAKERS[name]
    return make(usual if lr is None else lr)
