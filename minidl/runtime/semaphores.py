"""Semaphores that processes share: in shared memory where the system can, and so without names.

Those of multiprocess have a name in /dev/shm as long as they live, which a killed caller, or a
terminal that is closed, leaves there.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from multiprocess import synchronize
from multiprocess.context import BaseContext

from minidl.runtime.channel import Semaphore
from minidl.runtime.memory import Segment

STRIDE = 64
"""Bytes from one to the next. No two share a line of a core's cache. The C library takes 32."""


def semaphores(context: BaseContext, counts: Sequence[int]) -> list[Semaphore]:
    """New ones that can be handed to this context's processes, with these counts."""
    if not _glibc():  # others cannot make, or close, one without a name
        return [context.Semaphore(count) for count in counts]
    segment = Segment(STRIDE * len(counts))
    return [_Nameless(segment, place, count) for place, count in enumerate(counts)]


class _Nameless:
    """A semaphore that lies in a segment."""

    def __init__(self, segment: Segment, place: int, count: int) -> None:
        self._segment, self._place = segment, place
        self._attach()
        if ctypes.CDLL(None).sem_init(ctypes.c_void_p(self._memory.ctypes.data), 1, count):
            raise OSError("the system makes no semaphore in shared memory")

    def _attach(self) -> None:
        self._memory = self._segment.array(np.uint8, (STRIDE,), STRIDE * self._place)
        lock = synchronize._multiprocessing.SemLock._rebuild(
            self._memory.ctypes.data, synchronize.SEMAPHORE, synchronize.SEM_VALUE_MAX, None
        )
        self.acquire, self.release = lock.acquire, lock.release

    def __getstate__(self) -> dict[str, Any]:
        return {"segment": self._segment, "place": self._place}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._segment, self._place = state["segment"], state["place"]
        self._attach()


def _glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError):
        return False
