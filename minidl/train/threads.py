"""One fit of a layer at a time, whichever thread begins it, and in whichever model."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from minidl.errors import InputError
from minidl.nn import Layer

A = ParamSpec("A")
R = TypeVar("R")
UNDER_WAY = (
    "a fit is under way that trains this model, or layers of it, and until its end their weights "
    "are not to be used otherwise: wait for it; a callback has Run.model() to evaluate or predict "
    "with, and Run.save()"
)
_lock = threading.Lock()
_in_training: dict[int, Any] = {}
"""By the `id` of each layer and parameter in training, the trainer that trains it."""


def one_at_a_time(fit: Callable[Concatenate[Any, A], R]) -> Callable[Concatenate[Any, A], R]:
    """A method that trains ``self.model``, refused while another call trains a layer of it.

    Threads that call it at one moment do not both get in, whether by one trainer or by two, of
    one model or of two that share a layer.
    """

    @functools.wraps(fit)
    def alone(self: Any, /, *args: A.args, **kwargs: A.kwargs) -> R:
        held = _parts(self.model)
        with _lock:
            _require(not _in_training.keys() & held)
            _in_training.update(dict.fromkeys(held, self))
        try:
            return fit(self, *args, **kwargs)
        finally:
            with _lock:
                for part in held:
                    del _in_training[part]

    return alone


def require_free(trainer: Any) -> None:
    """Raise an InputError if another trainer is training layers of this one's model."""
    others = [_in_training.get(part, trainer) for part in _parts(trainer.model)]
    _require(all(other is trainer for other in others))


def _parts(model: Layer) -> set[int]:
    """The ids of its layers, and of parameters, which two layers may share."""
    return {*(id(layer) for _, layer in model.walk()), *map(id, model.parameters().values())}


def _require(free: bool) -> None:
    if not free:
        raise InputError(UNDER_WAY)
