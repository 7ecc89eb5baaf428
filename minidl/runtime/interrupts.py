"""What Ctrl-C must not cut in two."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def uninterrupted() -> Iterator[list[tuple[int, Any]]]:
    """Within the block, let Ctrl-C wait; it is heeded at the block's end.

    The block is given a list that is no longer empty once Ctrl-C was pressed.

    Python gives it to the main thread only, so any other needs no protection.
    """
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    pressed: list[tuple[int, Any]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append((number, frame)))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
        if pressed and callable(before):
            before(*pressed[0])
