"""Collectives written as rounds, and the ranks' programs cut out of them.

A round is a set of messages that are under way together. A rank takes part in its
rounds in their order, so every message has its two halves at the same place of one
common order, and no rank can wait for another in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from reprlib import repr as short

from minidl.checks import MANY, is_whole
from minidl.errors import InputError
from minidl.plans.costs import Cost
from minidl.plans.instructions import Collective, Program, Receive, Send


@dataclass(frozen=True)
class Transfer:
    """`sender` gives neighbouring chunks to `receiver`, which stores or, if `reduce`, adds them."""

    sender: int
    receiver: int
    chunks: range
    reduce: bool = False


Rounds = list[list[Transfer]]


def backwards(rounds: Rounds, *, reduce: bool) -> Rounds:
    """Every message the other way, the last first.

    What spreads a vector from one rank then collects it there: a broadcast backwards is
    a reduce, all-gather backwards reduce-scatter, scatter backwards gather.
    """
    return [[Transfer(t.receiver, t.sender, t.chunks, reduce) for t in r] for r in rounds[::-1]]


def chunk(number: int) -> range:
    """One chunk as the run of chunks that it is."""
    return range(number, number + 1)


def side_by_side(*groups: Rounds) -> Rounds:
    """Rounds of ranks that have nothing to do with each other, all beginning together."""
    together: Rounds = [[] for _ in range(max(map(len, groups), default=0))]
    for rounds in groups:
        for number, messages in enumerate(rounds):
            together[number] += messages
    return together


def from_rounds(
    name: str,
    size: int,
    chunks: int,
    rounds: Rounds,
    cost: Cost,
    sources: Sequence[Iterable[int]] = (),
    targets: Sequence[Iterable[int]] = (),
) -> Collective:
    """The plan in which every rank does its part of these rounds."""
    runs = {t.chunks: None for messages in rounds for t in messages if len(t.chunks) > 1}
    items = {run: chunks + number for number, run in enumerate(runs)}
    steps: list[list[list[Send | Receive]]] = [[] for _ in range(size)]
    for messages in rounds:
        sends: dict[int, list[Send | Receive]] = {}
        receives: dict[int, list[Send | Receive]] = {}
        for t in messages:
            item = items.get(t.chunks, t.chunks.start)
            sends.setdefault(t.sender, []).append(Send(t.receiver, item))
            receives.setdefault(t.receiver, []).append(Receive(t.sender, item, t.reduce))
        for rank in {**sends, **receives}:
            steps[rank].append(sends.get(rank, []) + receives.get(rank, []))
    programs: list[Program] = [tuple(map(tuple, program)) for program in steps]
    return Collective(
        name,
        tuple(programs),
        chunks=chunks,
        sources=tuple(map(frozenset, sources)),
        targets=tuple(map(frozenset, targets)),
        blocks=tuple(runs),
        cost=cost,
    )


def require_size(size: int) -> int:
    """The number of ranks, as Python's; refused if it is impossible."""
    require_count("size must be a whole number of ranks of", size)
    return int(size)


def require_count(what: str, count: int) -> None:
    """Refuse what is no whole number of at least 1; `what` begins the message."""
    if not is_whole(count, least=1) or count > MANY:
        beyond = f" and at most {MANY}" if is_whole(count, least=1) else ""
        raise InputError(f"{what} at least 1{beyond}, not {short(count)}")


def require_rank(name: str, rank: int, size: int) -> int:
    """The rank, as Python's number; refused if there is none. `name` is what it is meant to be."""
    if not is_whole(rank, least=0) or rank >= size:
        raise InputError(f"{name} is one of the ranks 0 to {size - 1}, not {short(rank)}")
    return int(rank)


def require_root(size: int, root: int) -> tuple[int, int]:
    """The number of ranks, and one of them; refused if there is none such."""
    size = require_size(size)
    return size, require_rank("root", root, size)
