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
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeGuard

from minidl.checks import MANY, whole
from minidl.errors import InputError
from minidl.plans.costs import Cost
from minidl.reprs import html_table, printable


@dataclass(frozen=True)
class Send:
    """Give `item` to rank `peer`."""

    peer: int
    item: Hashable

    def __str__(self) -> str:
        return printable(f"{self.item}→{self.peer}")


@dataclass(frozen=True)
class Receive:
    """Take `item` from rank `peer`, replacing what is held or, if `reduce`, adding to it."""

    peer: int
    item: Hashable
    reduce: bool = False

    def __str__(self) -> str:
        return printable(f"{self.item}{'+' if self.reduce else ''}←{self.peer}")


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

    def __repr__(self) -> str:
        steps = max(map(len, self.programs), default=0)
        return printable(f"{type(self).__name__}({self.name!r}, {self.size} ranks, {steps} steps)")

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

    def label(self, item: Hashable) -> str:
        """How an item is written in a grid."""
        return str(item)

    def cells(self) -> list[list[str]]:
        """The plan as text, as `grid` writes it: a row for each step, in it a cell for each rank.

        A cell is ``-`` where a rank has nothing to do, and empty where its program has ended.
        """
        steps = range(max(map(len, self.programs), default=0))
        return [
            [
                " ".join(map(self._written, program[step])) or "-" if step < len(program) else ""
                for program in self.programs
            ]
            for step in steps
        ]

    def _written(self, instruction: Instruction) -> str:
        if isinstance(instruction, Send | Receive):
            return str(replace(instruction, item=self.label(instruction.item)))
        return str(instruction)

    def _repr_html_(self) -> str:
        """What each rank does in each step, for notebooks."""
        heads = ("step", *(f"rank {rank}" for rank in range(self.size)))
        return html_table(repr(self), heads, [(f"{n}", *row) for n, row in enumerate(self.cells())])


@dataclass(frozen=True)
class Collective(Plan):
    """A plan over one vector, cut into chunks, and what it promises to do with them.

    In the end the ranks ``targets[c]`` hold, of chunk c, the sum of what the ranks
    ``sources[c]`` held of it in the beginning. All-reduce is *from all to all*, a
    broadcast *from the root to all*, reduce-scatter *from all to rank c*, and so on.
    What other ranks hold is left open.

    Items are numbers of chunks, or, from ``chunks`` on, of `blocks`, which go in one
    message.

    Parameters
    ----------
    name
        What the plan does, e.g. ``"ring all-reduce"``.
    programs
        ``programs[rank]`` is what that rank does, step by step.
    chunks
        Into how many nearly equal parts the vector is cut.
    sources
        For each chunk, who has something to give; by default all ranks, as in an
        all-reduce.
    targets
        For each chunk, who has to end with the sum; by default all ranks.
    blocks
        Runs of neighbouring chunks: item ``chunks + i`` stands for ``blocks[i]``.
    cost
        What it costs by the textbook's formula, for plans that have one.
    """

    chunks: int
    sources: tuple[frozenset[int], ...] = ()
    targets: tuple[frozenset[int], ...] = ()
    blocks: tuple[range, ...] = ()
    cost: Cost | None = None

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, {self.chunks} chunks)"

    def __post_init__(self) -> None:
        everyone = (frozenset(range(self.size)),) * self.chunks
        object.__setattr__(self, "sources", self.sources or everyone)
        object.__setattr__(self, "targets", self.targets or everyone)
        for name, ranks in (("sources", self.sources), ("targets", self.targets)):
            if len(ranks) != self.chunks:
                raise InputError(
                    f"{self.name}: {name} are given for {len(ranks)} chunks, not {self.chunks}"
                )

    def chunks_of(self, item: int) -> range:
        """Which chunks an item stands for."""
        return range(item, item + 1) if item < self.chunks else self.blocks[item - self.chunks]

    def has(self, item: Hashable) -> TypeGuard[int]:
        """Whether this is the number of a chunk or block."""
        return isinstance(item, int) and 0 <= item < self.chunks + len(self.blocks)

    def slices(self, length: int) -> tuple[slice, ...]:
        """Where each chunk, and then each block, lies in a vector of `length` elements."""
        cuts = split(length, self.chunks)
        runs = (slice(cuts[run[0]].start, cuts[run[-1]].stop) for run in self.blocks)
        return (*cuts, *runs)

    def label(self, item: Hashable) -> str:
        """A chunk's number; a block's first and last."""
        if self.has(item) and item >= self.chunks:
            run = self.chunks_of(item)
            return f"{run[0]}-{run[-1]}"
        return str(item)


def split(length: int, parts: int) -> tuple[slice, ...]:
    """Cut ``range(length)`` into consecutive slices whose sizes differ by at most one."""
    whole("split: length", length, least=0, most=2**63 - 1)
    whole("split: parts", parts, most=MANY)
    small, larger = divmod(length, parts)
    starts = [part * small + min(part, larger) for part in range(parts + 1)]
    return tuple(slice(a, b) for a, b in pairwise(starts))
