"""What a rank's program may ask of the runtime that drives it.

A program is a generator. It computes as it likes, and wherever it needs another
rank it yields one of these requests and is resumed with the answer. So it never
blocks by itself, and the same program runs in a process of its own, with real
queues, or beside all other ranks in one process, deterministically.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.plans.instructions import Collective, Receive, Send
from minidl.reprs import brief
from minidl.runtime.trace import Recorder


@dataclass(frozen=True, eq=False)
class Outgoing:
    """`array` for `peer`. The program must not write to it until the request is answered.

    An `operation` such as ``"gradients/3"`` names a part: the receiver has to expect this part,
    and bytes are counted for ``"gradients"``.
    """

    peer: int
    array: np.ndarray
    operation: str

    __repr__ = brief

    @property
    def counted_as(self) -> str:
        """The operation for which bytes are counted."""
        return self.operation.partition("/")[0]


@dataclass(frozen=True, eq=False)
class Incoming:
    """What `peer` sends, stored in or, if `reduce`, added to `array`."""

    peer: int
    array: np.ndarray
    operation: str
    reduce: bool = False

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class Exchange:
    """Carry out all of these at the same time; the answer, None, comes when all are done."""

    transfers: tuple[Outgoing | Incoming, ...]

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class ReceiveAny:
    """Receive one message, from whichever of these peers has one first.

    Answered with the peer's rank, when its message is in ``arrays[peer]``.
    """

    arrays: Mapping[int, np.ndarray]
    operation: str


@dataclass(frozen=True)
class Report:
    """Tell the caller's process something.

    Answered with None: at once, or if `heard`, when the caller has listened to this, to all
    that the rank told it before, and, unless `alone`, to as many such reports of every rank
    still running. What the caller then wrote to shared arrays is seen by all.
    """

    event: Any
    heard: bool = False
    alone: bool = False

    __repr__ = brief


class Lost(Exception):
    """Thrown into a program instead of an answer: a rank that it wanted to hear of is gone.

    What else it asked for has been done. A program that does not catch this ends, and the run
    with it, by the error that names the lost rank.

    Parameters
    ----------
    rank
        Who is lost; only a rank that the launch calls expendable can be.
    why
        What became of it, in a line that names it.
    """

    def __init__(self, rank: int, why: str) -> None:
        super().__init__(rank, why)
        self.rank, self.why = rank, why


@dataclass(frozen=True)
class Loss:
    """An event of a rank that is lost: what the rank is called, and what became of it, in a line.

    The launch goes on, or if the others cannot do without this rank, it ends soon.
    """

    name: str
    why: str

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class Launch:
    """Carry out these requests beside the program, after all that was launched before.

    Answered at once, with None. Exchanges that the program asks for itself begin when all
    that it launched is done; an empty one thus waits for that, and so does the program's end.
    Until then it must not touch the arrays in `requests`.
    """

    requests: Requests


Request = Exchange | ReceiveAny | Report | Launch
Requests = Generator[Request, Any, Any]
"""Part of a program, which yields requests, is resumed with their answers."""
RankProgram = Requests
"""A rank's program, which yields requests, is resumed with their answers, returns its result."""


@dataclass
class RankContext:
    """What a rank knows of the world it runs in.

    Parameters
    ----------
    rank
        This rank.
    size
        The number of ranks.
    shared
        Arrays that all ranks and the caller see, by name.
    threads
        How many threads this rank's kernels may use.
    trace
        Where the rank records what it does.
    """

    rank: int
    size: int
    shared: Mapping[str, np.ndarray] = field(default_factory=dict)
    threads: int = 1
    trace: Recorder = field(default_factory=Recorder)

    __repr__ = brief


def collective(
    plan: Collective, rank: int, vector: np.ndarray, operation: str, first: int = 0
) -> Requests:
    """Carry out one rank's part of a collective plan on its own `vector`, in place.

    Parameters
    ----------
    plan
        What is carried out.
    rank
        Which of the plan's ranks this one is.
    vector
        What the plan works on, changed in place.
    operation
        What its messages belong to.
    first
        The rank in the launch of the plan's rank 0; the others follow it.
    """
    parts = [vector[chunk] for chunk in plan.slices(vector.size)]
    for step in plan.programs[rank]:
        transfers: list[Outgoing | Incoming] = []
        for instruction in step:
            match instruction:
                case Send(peer, int(chunk)):
                    transfers.append(Outgoing(first + peer, parts[chunk], operation))
                case Receive(peer, int(chunk), reduce):
                    transfers.append(Incoming(first + peer, parts[chunk], operation, reduce))
        yield Exchange(tuple(transfers))
