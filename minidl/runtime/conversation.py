"""A function that needs other ranks on its way, run as a generator that yields requests.

Layers are plain functions, and a few must know what other ranks see before they can go
on. A greenlet is a second stack in the same thread: the function stands still in it while
the rank's program yields what the function asked for, as if it had been written there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from minidl.runtime.requests import Request, Requests

T = TypeVar("T")


def conversation(function: Callable[[Callable[[Requests], Any]], T]) -> Generator[Request, Any, T]:
    """Run `function`; whatever it asks for is yielded.

    Parameters
    ----------
    function
        Is given ``ask``, which takes a generator of requests and returns when these have
        been answered.

    Returns
    -------
    generator
        Yields the requests, and returns what the function does.
    """
    from greenlet import getcurrent, greenlet

    outside = getcurrent()
    inside = greenlet(lambda: function(outside.switch))
    said: Any = inside.switch()
    try:
        while not inside.dead:
            yield from said
            said = inside.switch()
    finally:
        if not inside.dead:
            inside.throw()
    return said
