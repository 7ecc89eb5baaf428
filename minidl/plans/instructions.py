"""The words a plan is written in.

A plan gives every rank a program: a sequence of steps. A step is a set of
instructions that are under way at the same time; the rank goes on when all of
them are done. So two neighbours that swap data say so in one step, and a plan
needs no buffers to be free of deadlock.

Nothing here does anything. Plans are run by `minidl.runtime`, priced by
`minidl.sim`, drawn by `minidl.report` and proved by `minidl.plans.check`.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Send:
    """Give `item` to rank `peer`."""

    peer: int
    item: Hashable

    def __str__(self) -> str:
        return f"{self.item}→{self.peer}"


@dataclass(frozen=True)
class Receive:
    """Take `item` from rank `peer`, replacing what is held or, if `reduce`, adding to it."""

    peer: int
    item: Hashable
    reduce: bool = False

    def __str__(self) -> str:
        return f"{self.item}{'+' if self.reduce else ''}←{self.peer}"


@dataclass(frozen=True)
class Forward:
    """Run this rank's layers on one micro-batch."""

    micro_batch: int

    def __str__(self) -> str:
        return f"F{self.micro_batch}"


@dataclass(frozen=True)
class Backward:
    """Run the gradients of this rank's layers for one micro-batch."""

    micro_batch: int

    def __str__(self) -> str:
        return f"B{self.micro_batch}"


@dataclass(frozen=True)
class Activation:
    """The item sent onward between pipeline stages: a micro-batch's activations."""

    micro_batch: int

    def __str__(self) -> str:
        return f"a{self.micro_batch}"


@dataclass(frozen=True)
class Gradient:
    """The item sent back between pipeline stages: the gradient of those activations."""

    micro_batch: int

    def __str__(self) -> str:
        return f"g{self.micro_batch}"


Instruction = Send | Receive | Forward | Backward
Step = tuple[Instruction, ...]
Program = tuple[Step, ...]


@dataclass(frozen=True)
class Plan:
    """One program for each rank.

    Parameters
    ----------
    name
        What the plan does, e.g. ``"ring all-reduce"``.
    programs
        ``programs[rank]`` is what that rank does, step by step.
    """

    name: str
    programs: tuple[Program, ...]

    @property
    def size(self) -> int:
        """The number of ranks."""
        return len(self.programs)

    def channels(self) -> tuple[tuple[int, int], ...]:
        """Every (sender, receiver) pair that the plan uses, sorted."""
        return tuple(
            sorted(
                {
                    (rank, instruction.peer)
                    for rank, program in enumerate(self.programs)
                    for step in program
                    for instruction in step
                    if isinstance(instruction, Send)
                }
            )
        )


@dataclass(frozen=True)
class Collective(Plan):
    """A plan over one vector, cut into chunks; its items are the chunks' indices.

    Parameters
    ----------
    chunks
        Into how many nearly equal parts the vector is cut.
    """

    chunks: int

    def slices(self, length: int) -> tuple[slice, ...]:
        """Where each chunk lies in a vector of `length` elements."""
        return split(length, self.chunks)


def split(length: int, parts: int) -> tuple[slice, ...]:
    """Cut ``range(length)`` into consecutive slices whose sizes differ by at most one."""
    small, larger = divmod(length, parts)
    starts = [part * small + min(part, larger) for part in range(parts + 1)]
    return tuple(slice(a, b) for a, b in pairwise(starts))
