"""One fit of a model at a time, whichever thread begins it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from minidl.errors import InputError

A = ParamSpec("A")
R = TypeVar("R")
UNDER_WAY = (
    "a fit is under way that trains this model, and a second one would train it too: wait for its "
    "end; a callback has Run.model() to evaluate or predict with, and Run.save()"
)
_lock = threading.Lock()
_in_training: set[int] = set()


def one_at_a_time(fit: Callable[Concatenate[Any, A], R]) -> Callable[Concatenate[Any, A], R]:
    """A method that trains ``self.model``, refused while another call of it does.

    Threads that call it at one moment do not both get in, whether by one trainer or by two.
    """

    @functools.wraps(fit)
    def alone(self: Any, /, *args: A.args, **kwargs: A.kwargs) -> R:
        model = self.model
        with _lock:
            if id(model) in _in_training:
                raise InputError(UNDER_WAY)
            _in_training.add(id(model))
        try:
            return fit(self, *args, **kwargs)
        finally:
            _in_training.remove(id(model))

    return alone
