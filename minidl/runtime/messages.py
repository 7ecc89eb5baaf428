"""What a message says about itself, so that a wrong partner is an error and never a wrong sum."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from minidl.errors import InputError, MessageMismatchError, PlanError
from minidl.runtime.requests import Incoming, Outgoing


@dataclass(frozen=True)
class Fingerprint:
    """What both ends of a channel must agree on.

    Parameters
    ----------
    sequence
        How many messages went through the channel before this one.
    operation
        What the message belongs to, e.g. ``"gradients"``.
    dtype
        Of the array sent.
    shape
        Of the array sent.
    """

    sequence: int
    operation: str
    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, sequence: int, operation: str, array: np.ndarray) -> Fingerprint:
        """The fingerprint of a message that is stored in, or comes from, `array`."""
        return cls(sequence, operation, array.dtype.str, array.shape)

    def __str__(self) -> str:
        return describe(self.sequence, self.operation, self.dtype, self.shape)


def describe(sequence: int, operation: str, dtype: str, shape: tuple[int, ...]) -> str:
    """A fingerprint in words; what two ranks compare is this text."""
    return f"message {sequence} of {_content(operation, dtype, shape)}"


@lru_cache(maxsize=1024)  # every message is described, and most are like one before
def _content(operation: str, dtype: str, shape: tuple[int, ...]) -> str:
    return f"{operation!r}, {np.dtype(dtype)} of shape {shape}"


def mismatch(receiver: int, expected: object, sender: int, sent: object) -> MessageMismatchError:
    """The error for a message that is not the one its receiver expects."""
    return MessageMismatchError(
        f"rank {receiver} expects {expected} from rank {sender}, but rank {sender} sent {sent}"
    )


def never_received(sender: int, receiver: int, sent: int, received: int) -> MessageMismatchError:
    """The error for messages left in a channel when all ranks have finished."""
    return MessageMismatchError(
        f"rank {sender} sent {sent} messages to rank {receiver}, which finished after receiving "
        f"{received} of them"
    )


def check_array(array: np.ndarray, *, receives: bool) -> None:
    """Raise InputError unless a message can be read from, or stored in, `array`."""
    if not isinstance(array, np.ndarray):
        raise InputError(f"a message is a NumPy array, not {type(array).__name__}")
    if not array.flags.c_contiguous:
        raise InputError(
            f"a message's array must be contiguous; this one of shape {array.shape} has strides "
            f"{array.strides}: send a copy, or receive into one"
        )
    if array.dtype.hasobject:
        raise InputError(f"a message's array holds numbers, not dtype {array.dtype}")
    if receives and not array.flags.writeable:
        raise InputError(f"an array to receive into (shape {array.shape}) must be writeable")


def check_channel(sender: int, receiver: int, channels: Container[tuple[int, int]]) -> None:
    """Raise PlanError unless this pair is among the channels of the launch."""
    if (sender, receiver) not in channels:
        raise PlanError(
            f"a message is to go from rank {sender} to rank {receiver}, "
            "but that pair is not among the channels of this launch"
        )


def check_overlaps(transfers: Sequence[Outgoing | Incoming]) -> None:
    """Raise PlanError if memory that one transfer receives into belongs to another one too.

    What came first would then decide the result.
    """
    for one, other in combinations(transfers, 2):
        receives = isinstance(one, Incoming) or isinstance(other, Incoming)
        if receives and np.may_share_memory(one.array, other.array):
            raise PlanError(
                f"one Exchange uses the same memory twice: {_way(one)} and {_way(other)}; "
                "put the two into exchanges of their own"
            )


def _way(wish: Outgoing | Incoming) -> str:
    if isinstance(wish, Incoming):
        return f"to receive {wish.operation!r} from rank {wish.peer}"
    return f"to send {wish.operation!r} to rank {wish.peer}"
