"""What the virtual runtime's scheduler knows of each rank, and of each message."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.runtime.base import Traffic
from minidl.runtime.messages import Fingerprint
from minidl.runtime.requests import (
    Incoming,
    Outgoing,
    RankContext,
    RankProgram,
    ReceiveAny,
    Request,
)


@dataclass(eq=False)
class Rank:
    """A rank, the request it waits for, and the answer it is to be resumed with.

    Parameters
    ----------
    name
        What it is called.
    context
        What it knows.
    packed
        The packed maker of its program.
    generator
        The program; None before it has begun.
    waiting
        The transfers of the `Exchange` that it waits for.
    choosing
        The `ReceiveAny` that it waits for.
    held
        A request that is not begun before what the rank launched is done.
    answer
        What it is resumed with.
    result
        What it has returned.
    asked
        When it made its last request, on its trace's clock.
    """

    name: str
    context: RankContext
    packed: bytes
    generator: RankProgram | None = None
    waiting: list[Transfer] = field(default_factory=list)
    choosing: ReceiveAny | None = None
    answer: Any = None
    result: Any = None
    finished: bool = False
    asked: float = 0.0
    held: Request | None = None
    traffic: dict[str, Traffic] = field(default_factory=dict)


@dataclass(eq=False)
class Transfer:
    """One half of a message: what its rank asked for, and how far it has come.

    Parameters
    ----------
    rank
        Who asked for it.
    wish
        What was asked for.
    fingerprint
        What the other half must say, too.
    turn
        When it was asked for, counted in resumptions of any rank.
    done
        Whether it has been carried out.
    value
        The array on its way.
    """

    rank: int
    wish: Outgoing | Incoming
    fingerprint: Fingerprint
    turn: int
    done: bool = False
    value: np.ndarray | None = None

    def store(self) -> None:
        """Put what has been received where its rank wants it."""
        if isinstance(self.wish, Incoming) and self.value is not None:
            if self.wish.reduce:
                np.add(self.wish.array, self.value, out=self.wish.array)
            else:
                self.wish.array[...] = self.value


@dataclass(eq=False)
class Halves:
    """Halves of messages between two ranks that have found no partner yet; how many there were."""

    sends: deque[Transfer] = field(default_factory=deque)
    receives: deque[Transfer] = field(default_factory=deque)
    sent: int = 0
    received: int = 0
