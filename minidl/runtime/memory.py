"""Shared memory: reserved when it is made, owned by one process, and never left behind.

A segment's name is removed as soon as it is made. Workers are handed its file
descriptor, so even a caller killed with SIGKILL leaves nothing in /dev/shm.
"""

from __future__ import annotations

import _posixshmem  # type: ignore[import-not-found]
import errno
import mmap
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from multiprocess import reduction
from multiprocess.context import assert_spawning

from minidl.errors import InputError, SharedMemoryError
from minidl.runtime.interrupts import uninterrupted
from minidl.runtime.leftovers import SHARED_MEMORY, new_name
from minidl.runtime.limits import explanation

ALIGNMENT = 64
"""Arrays begin at multiples of a cache line's bytes."""


class Segment:
    """A piece of memory that this process and the workers it hands it to see.

    Parameters
    ----------
    size
        In bytes.

    Raises
    ------
    SharedMemoryError
        If that much is not free; nothing is then reserved.
    """

    _fd = -1

    def __init__(self, size: int) -> None:
        self.size = max(size, 1)
        _check_room(self.size)
        try:
            with uninterrupted():
                self._fd = _nameless()
            os.ftruncate(self._fd, self.size)
            _reserve(self._fd, self.size)
            self._map = _mapped(self._fd, self.size)
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        """Close what Ctrl-C has kept from being closed."""
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        assert_spawning(self)
        return {"size": self.size, "handle": reduction.DupFd(self._fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.size = state["size"]
        fd = state["handle"].detach()
        self._map = _mapped(fd, self.size)
        os.close(fd)
        self._fd = -1

    def array(self, dtype: np.typing.DTypeLike, shape: tuple[int, ...], offset: int) -> np.ndarray:
        """An array that lies in the segment, `offset` bytes from its start."""
        return np.ndarray(shape, dtype, self._map, offset)

    def close(self) -> None:
        """Give up the right to hand it on; the memory is freed with the last array in it."""
        if self._fd >= 0:
            with uninterrupted():  # or it could be closed a second time, when it is another file's
                os.close(self._fd)
                self._fd = -1
            vars(self).pop("_map", None)


class SharedArrays(Mapping[str, np.ndarray]):
    """Arrays by name, all in one segment.

    Parameters
    ----------
    arrays
        Are copied there.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._layout: dict[str, tuple[str, tuple[int, ...], int]] = {}
        end = 0
        for name, array in arrays.items():
            if array.dtype.hasobject:
                raise InputError(f"array {name!r} holds Python objects; only numbers can be shared")
            self._layout[name] = (array.dtype.str, array.shape, end)
            end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        self._segment = Segment(end)
        try:
            self._arrays = self._place()
            for name, array in arrays.items():
                self._arrays[name][...] = array
        except BaseException:  # copying takes long enough for Ctrl-C
            self.close()
            raise

    def _place(self) -> dict[str, np.ndarray]:
        return {name: self._segment.array(*place) for name, place in self._layout.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {"layout": self._layout, "segment": self._segment}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._layout, self._segment = state["layout"], state["segment"]
        self._arrays = self._place()

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def open(self) -> bool:
        """Whether they can still be handed to a launch."""
        return self._segment._fd >= 0

    def close(self) -> None:
        """Let go of the arrays; those that someone still holds stay valid."""
        self._segment.close()
        self._arrays = {}


def _nameless() -> int:
    """The file descriptor of new shared memory."""
    name = f"/{new_name()}"
    try:
        fd = _posixshmem.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600)
    except OSError as error:
        _raise_limit(error)
        raise SharedMemoryError(
            f"shared memory cannot be had in {SHARED_MEMORY}: {error.strerror}; workers need a "
            "tmpfs there that you can write to (mount -t tmpfs -o mode=1777 tmpfs /dev/shm), "
            "strategy.Serial() needs none"
        ) from error
    _posixshmem.shm_unlink(name)
    return int(fd)


def _mapped(fd: int, size: int) -> mmap.mmap:
    try:
        return mmap.mmap(fd, size)  # it opens the file once more
    except OSError as error:
        _raise_limit(error)
        raise


def _raise_limit(error: OSError) -> None:
    """Raise an error in words if a limit of the system was met."""
    if cause := explanation(error.errno):
        raise SharedMemoryError(f"shared memory cannot be had: {cause}") from error


def _check_room(size: int) -> None:
    if SHARED_MEMORY.is_dir():
        room = os.statvfs(SHARED_MEMORY)
        free = room.f_bavail * room.f_frsize
        if size > free:
            raise _too_small(size, free)


def _reserve(fd: int, size: int) -> None:
    """Have the memory now, since a page that cannot be had later ends the process by SIGBUS."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.ENOMEM):
            raise
        room = os.fstatvfs(fd)
        raise _too_small(size, room.f_bavail * room.f_frsize) from error


def _too_small(size: int, free: int) -> SharedMemoryError:
    return SharedMemoryError(
        f"{size} bytes of shared memory ({size / 2**20:.1f} MiB) are needed, but "
        f"{SHARED_MEMORY} has {free} bytes ({free / 2**20:.1f} MiB) free; make it larger "
        "(docker run --shm-size, or mount -o remount,size=... /dev/shm) or use fewer workers"
    )
