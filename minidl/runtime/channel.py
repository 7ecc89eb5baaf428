"""A one-way queue between two ranks: a ring of slots in shared memory.

The textbook's bounded buffer, with one producer and one consumer: `space` counts
the free slots, `items` the filled ones, and no lock is held by anyone, so a rank
that is killed blocks nobody. A large array goes through in pieces of a slot's size.
"""

from __future__ import annotations

import hashlib
import struct
import time
from typing import Any, Protocol

import numpy as np

from minidl.errors import InputError
from minidl.plans import Link
from minidl.runtime.messages import describe, mismatch
from minidl.runtime.requests import Incoming, Outgoing

HEADER = 256
"""Bytes in front of each slot. Eight for when the piece arrives, if the network is emulated; then
a message's fingerprint, two for its length and then its text."""
ARRIVAL = struct.Struct("d")
ROOM = HEADER - ARRIVAL.size - 2
SOON = 1e-6
"""Seconds; no time, but some."""


class Semaphore(Protocol):
    """What is used of a `multiprocess` semaphore."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take one, or return False if there is none in time."""
        ...

    def release(self) -> None:
        """Add one."""
        ...


class Uplink:
    """A rank's emulated way into the network, which all that it sends passes in turn.

    Parameters
    ----------
    link
        Its latency and bandwidth.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._free = 0.0

    def arrival(self, count: int) -> float:
        """When so many bytes arrive that are sent now, on the clock that all processes share."""
        self._free = max(self._free, time.monotonic()) + count / self._link.bandwidth
        return self._free + self._link.latency


class Channel:
    """One end of the queue from rank `sender` to rank `receiver`.

    Parameters
    ----------
    sender
        The rank that sends.
    receiver
        The rank that receives.
    memory
        The slots: bytes of shape (slots, HEADER + payload).
    items
        Counts filled slots.
    space
        Counts free slots.
    bell
        Wakes the rank at the other end.
    uplink
        What delays the sender's messages; None where they arrive at once.
    """

    def __init__(
        self,
        sender: int,
        receiver: int,
        memory: np.ndarray,
        items: Semaphore,
        space: Semaphore,
        bell: Semaphore,
        uplink: Uplink | None = None,
    ) -> None:
        self.sender, self.receiver = sender, receiver
        self.slots = len(memory)
        self.turn = 0
        self.messages = 0
        self.due = 0.0
        self._items, self._space, self._bell = items, space, bell
        self._uplink = uplink
        self._claimed = self._arrived = False
        self._arrivals = [memoryview(slot[: ARRIVAL.size]) for slot in memory]
        self._headers = [memoryview(slot[ARRIVAL.size : HEADER]) for slot in memory]
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

    def has_space(self) -> bool:
        """Claim a free slot, the one whose turn it is; whether there is one."""
        return self._space.acquire(False)

    def put(self, count: int) -> None:
        """Send off the slot whose turn it is, with so many bytes in it."""
        if self._uplink is not None:
            ARRIVAL.pack_into(self._arrivals[self.turn], 0, self._uplink.arrival(count))
        self.turn = (self.turn + 1) % self.slots
        self._items.release()
        self._bell.release()

    def has_piece(self) -> bool:
        """Whether a piece has arrived in the slot whose turn it is, where it stays until taken."""
        if not self._claimed:
            self._claimed = self._items.acquire(False)
            if self._claimed and self._uplink is not None:
                (self.due,) = ARRIVAL.unpack_from(self._arrivals[self.turn])
        if self._claimed and not self._arrived:
            self._arrived = self._uplink is None or self.due <= time.monotonic()
        return self._arrived

    @property
    def claimed(self) -> bool:
        """Whether `has_piece` has found a piece that is not taken yet, perhaps still on its way."""
        return self._claimed

    def on_its_way(self) -> float:
        """Seconds until a piece arrives that `has_piece` saw on its way; 0 if it saw none.

        If it has arrived since, there is still something to wait for: another look.
        """
        if not self._claimed or self._arrived:
            return 0.0
        return max(SOON, self.due - time.monotonic())

    def take(self) -> None:
        """Free the slot whose piece has been read."""
        self._claimed = self._arrived = False
        self.turn = (self.turn + 1) % self.slots
        self._space.release()
        self._bell.release()

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
        if len(text) > ROOM:
            digest = hashlib.blake2b(text, digest_size=8).hexdigest()
            text = text[: ROOM - 17] + b" " + digest.encode()
        return len(text).to_bytes(2, "little") + text


class Sending:
    """A message on its way out."""

    kind = "send"
    coming = False

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
        while not self.done and channel.has_space():
            if self._mark is not None:
                channel.write_header(self._mark)
                self._mark = None
            slot = self._slots[channel.turn]
            piece = self._flat[self._offset : self._offset + len(slot)]
            slot[: len(piece)] = piece
            self._offset += len(piece)
            self.done = self._offset == len(self._flat)
            channel.put(piece.nbytes)
            moved = True
        return moved


class Receiving:
    """A message on its way in, stored or added straight out of the slots.

    Parameters
    ----------
    channel
        Where it comes from.
    wish
        What was asked for.
    earlier
        The receive from the same peer that was asked for before it in this exchange.
    """

    def __init__(
        self,
        channel: Channel,
        wish: Incoming,
        earlier: Receiving | None = None,
    ) -> None:
        self.peer, self.operation = wish.peer, wish.operation
        self.kind = "reduce" if wish.reduce else "receive"
        self.done = False
        self._reduce = wish.reduce
        self._channel = channel
        self._earlier = earlier
        self._mark: bytes | None = channel.next_mark(wish.operation, wish.array)
        self._flat = wish.array.reshape(-1)
        self._slots = channel.body(wish.array.dtype)
        self._offset = 0

    @property
    def coming(self) -> bool:
        """Whether a piece is on its way, even if its sender is lost."""
        return self._channel.claimed

    def advance(self) -> bool:
        """Take as many pieces out of the channel as have arrived; whether there was any."""
        if self._earlier is not None and not self._earlier.done:
            return False
        channel = self._channel
        moved = False
        while not self.done and channel.has_piece():
            if self._mark is not None:
                channel.check_header(self._mark)
                self._mark = None
            slot = self._slots[channel.turn]
            target = self._flat[self._offset : self._offset + len(slot)]
            if self._reduce:
                np.add(target, slot[: len(target)], out=target)
            else:
                target[...] = slot[: len(target)]
            self._offset += len(target)
            self.done = self._offset == len(self._flat)
            channel.take()
            moved = True
        return moved
