"""A one-way queue between two ranks: a ring of slots in shared memory.

The textbook's bounded buffer, with one producer and one consumer: `space` counts
the free slots, `items` the filled ones, and no lock is held by anyone, so a rank
that is killed blocks nobody. A large array goes through in pieces of a slot's size.
"""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np

from minidl.errors import InputError
from minidl.runtime.messages import describe, mismatch
from minidl.runtime.requests import Incoming, Outgoing

HEADER = 256
"""Bytes in front of each slot for a message's fingerprint: two for its length, then its text."""


class Semaphore(Protocol):
    """What is used of a `multiprocess` semaphore."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take one, or return False if there is none in time."""
        ...

    def release(self) -> None:
        """Add one."""
        ...


class Channel:
    """One end of the queue from rank `sender` to rank `receiver`.

    Parameters
    ----------
    sender, receiver
        The ranks it joins.
    memory
        The slots: bytes of shape (slots, HEADER + payload).
    items, space
        Count filled and free slots.
    bell
        Wakes the rank at the other end.
    """

    def __init__(
        self,
        sender: int,
        receiver: int,
        memory: np.ndarray,
        items: Semaphore,
        space: Semaphore,
        bell: Semaphore,
    ) -> None:
        self.sender, self.receiver = sender, receiver
        self.items, self.space, self.bell = items, space, bell
        self.slots = len(memory)
        self.turn = 0
        self.messages = 0
        self._headers = [memoryview(slot[:HEADER]) for slot in memory]
        self._bodies = memory[:, HEADER:]
        self._typed: dict[np.dtype[Any], list[np.ndarray]] = {}

    def body(self, dtype: np.dtype[Any]) -> list[np.ndarray]:
        """Each slot's payload as an array of `dtype`, as long as fits."""
        views = self._typed.get(dtype)
        if views is None:
            length = self._bodies.shape[1] // dtype.itemsize
            if length == 0:
                raise InputError(f"an element of {dtype} is larger than a slot")
            views = [body[: length * dtype.itemsize].view(dtype) for body in self._bodies]
            self._typed[dtype] = views
        return views

    def write_header(self, mark: bytes) -> None:
        """Put a fingerprint before the slot whose turn it is."""
        self._headers[self.turn][: len(mark)] = mark

    def check_header(self, mark: bytes) -> None:
        """Raise MessageMismatchError unless the slot whose turn it is carries this fingerprint."""
        header = self._headers[self.turn]
        if header[: len(mark)] != mark:
            length = int.from_bytes(header[:2], "little")
            raise mismatch(
                self.receiver,
                mark[2:].decode(errors="replace"),
                self.sender,
                bytes(header[2 : 2 + length]).decode(errors="replace"),
            )

    def next_mark(self, operation: str, array: np.ndarray) -> bytes:
        """The fingerprint, as stored, of the channel's next message."""
        text = describe(self.messages, operation, array.dtype.str, array.shape).encode()
        self.messages += 1
        if len(text) > HEADER - 2:
            digest = hashlib.blake2b(text, digest_size=8).hexdigest()
            text = text[: HEADER - 19] + b" " + digest.encode()
        return len(text).to_bytes(2, "little") + text


class Sending:
    """A message on its way out."""

    kind = "send"

    def __init__(self, channel: Channel, wish: Outgoing, earlier: Sending | None) -> None:
        self.peer, self.operation = wish.peer, wish.operation
        self.done = False
        self._channel = channel
        self._earlier = earlier
        self._mark: bytes | None = channel.next_mark(wish.operation, wish.array)
        self._flat = wish.array.reshape(-1)
        self._slots = channel.body(wish.array.dtype)
        self._offset = 0

    def advance(self) -> bool:
        """Put as many pieces into the channel as there is space for; whether there was any."""
        if self._earlier is not None and not self._earlier.done:
            return False
        channel = self._channel
        moved = False
        while not self.done and channel.space.acquire(False):
            if self._mark is not None:
                channel.write_header(self._mark)
                self._mark = None
            slot = self._slots[channel.turn]
            piece = self._flat[self._offset : self._offset + len(slot)]
            slot[: len(piece)] = piece
            self._offset += len(piece)
            self.done = self._offset == len(self._flat)
            channel.turn = (channel.turn + 1) % channel.slots
            channel.items.release()
            channel.bell.release()
            moved = True
        return moved


class Receiving:
    """A message on its way in.

    Receives of one exchange that add to the same memory do so in the order in
    which they were asked for, so that sums are the same in every run. One whose
    turn has not come leaves its pieces in the channel, or, when its rank has
    nothing else to do, sets them aside, so that the order blocks no sender.

    Parameters
    ----------
    channel, wish
        Where it comes from, and what was asked for.
    earlier
        The receives that were asked for before it in the same exchange.
    claimed
        Whether its first piece has already been taken from the channel's `items`.
    """

    def __init__(
        self,
        channel: Channel,
        wish: Incoming,
        earlier: list[Receiving] | None = None,
        claimed: bool = False,
    ) -> None:
        earlier = earlier or []
        self.peer, self.operation, self.reduce = wish.peer, wish.operation, wish.reduce
        self.kind = "reduce" if wish.reduce else "receive"
        self.array = wish.array
        self.done = False
        self._channel = channel
        self._mark: bytes | None = channel.next_mark(wish.operation, wish.array)
        self._flat = wish.array.reshape(-1)
        self._slots = channel.body(wish.array.dtype)
        self._queued = [other for other in earlier if other._channel is channel]
        self._overlaps = [e for e in earlier if np.may_share_memory(e.array, wish.array)]
        self._stored = 0
        self._arrived = 0
        self._aside: np.ndarray | None = None
        self._claimed = claimed

    def advance(self) -> bool:
        """Take what has arrived and may be stored; whether that was anything."""
        return self._receive(out_of_turn=False)

    def set_aside(self) -> bool:
        """Take also what has arrived and may not be stored yet; whether that was anything."""
        return bool(self._overlaps) and self._receive(out_of_turn=True)

    def _receive(self, out_of_turn: bool) -> bool:
        if any(other._arriving for other in self._queued):
            return False
        moved = self._store_aside()
        while self._arriving:
            slot = self._slots[self._channel.turn]
            stop = min(self._arrived + len(slot), len(self._flat))
            in_turn = self._stored == self._arrived and stop <= self._limit()
            if not (in_turn or out_of_turn):
                break
            if not (self._claimed or self._channel.items.acquire(False)):
                break
            self._claimed = False
            self._take(slot[: stop - self._arrived], in_turn)
            moved = True
        self.done = not self._arriving and self._stored == len(self._flat)
        return moved

    def _take(self, piece: np.ndarray, in_turn: bool) -> None:
        channel = self._channel
        if self._mark is not None:
            channel.check_header(self._mark)
            self._mark = None
        stop = self._arrived + len(piece)
        if in_turn:
            self._store(piece)
        else:
            if self._aside is None:
                self._aside = np.empty_like(self._flat)
            self._aside[self._arrived : stop] = piece
        self._arrived = stop
        channel.turn = (channel.turn + 1) % channel.slots
        channel.space.release()
        channel.bell.release()

    def _store(self, piece: np.ndarray) -> None:
        target = self._flat[self._stored : self._stored + len(piece)]
        if self.reduce:
            np.add(target, piece, out=target)
        else:
            target[...] = piece
        self._stored += len(piece)

    def _store_aside(self) -> bool:
        stop = min(self._arrived, self._limit())
        if self._aside is None or self._stored >= stop:
            return False
        self._store(self._aside[self._stored : stop])
        return True

    @property
    def _arriving(self) -> bool:
        return self._mark is not None or self._arrived < len(self._flat)

    def _limit(self) -> int:
        """How many elements may be stored by now."""
        return min((self._behind(other) for other in self._overlaps), default=len(self._flat))

    def _behind(self, other: Receiving) -> int:
        if other.done:
            return len(self._flat)
        same = other._flat.ctypes.data == self._flat.ctypes.data
        return other._stored if same and other._flat.dtype == self._flat.dtype else 0
