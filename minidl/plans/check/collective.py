"""Proofs about collectives, by carrying them out with symbols in place of numbers.

Each chunk on each rank is a multiset of contributions. A collective is right when in
the end everyone who is to have a chunk's sum (its targets) holds the contribution of
each of its sources exactly once, and then it is right for vectors of every length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from minidl.checks import checked
from minidl.plans.instructions import Collective, Receive, Send
from minidl.plans.rendezvous import Message, check_peers, count_messages, execute, wrong
from minidl.plans.text import fitted

Holdings = list[list[Counter[int]]]
"""``holdings[rank][chunk]`` counts how often each rank's contribution is in it."""

NOTHING: Final = -1
"""What stands in a chunk for which a rank has nothing to give; memory that means nothing."""


@dataclass(frozen=True)
class CollectiveCosts:
    """What a collective plan costs.

    Parameters
    ----------
    steps
        Rounds from start to end when a message takes one round and a rank does all of a
        step in the same round.
    messages
        How many messages all ranks send together.
    chunks_sent
        How many chunks each rank sends.
    """

    steps: int
    messages: int
    chunks_sent: tuple[int, ...]


@checked
def check_all_reduce(plan: Collective) -> CollectiveCosts:
    """Prove that a plan sums the vectors of all ranks for all ranks, whatever it promises.

    Parameters
    ----------
    plan
        What to prove.

    Returns
    -------
    CollectiveCosts
        To compare with `minidl.plans.formulas`.

    Raises
    ------
    DeadlockError
        If ranks wait for each other in a circle.
    PlanError
        If the plan is no all-reduce; see `check_collective`.
    """
    return check_collective(replace(plan, sources=(), targets=()))


@checked
def check_collective(plan: Collective) -> CollectiveCosts:
    """Prove that a plan keeps its promise, for vectors of every length.

    Every send has its receive, in the same order and for the same chunk; the plan ends
    without any buffering; within a step no chunk is received into that is also sent or
    received again; in the end the targets of each chunk hold the contribution of each
    of its sources exactly once, and nothing else.

    Parameters
    ----------
    plan
        What to prove.

    Returns
    -------
    CollectiveCosts
        To compare with ``plan.cost``.

    Raises
    ------
    DeadlockError
        If ranks wait for each other in a circle.
    PlanError
        If anything else above does not hold; the message shows the plan and the place.
    """
    check_form(plan)
    messages = [e for e in execute(plan, count_messages) if isinstance(e, Message)]
    final = follow(plan, messages)
    for rank, chunks in enumerate(final):
        for chunk, held in enumerate(chunks):
            if rank in plan.targets[chunk] and held != Counter(plan.sources[chunk]):
                place = _last_receive(plan, messages, rank, chunk)
                raise wrong(
                    plan,
                    f"in the end rank {rank} holds of chunk {chunk} "
                    f"{_compare(held, plan.sources[chunk])}\n{show(plan, final)}",
                    [] if place is None else [place],
                )
    return _count(plan, messages)


@checked
def check_barrier(plan: Collective) -> CollectiveCosts:
    """Prove that nobody comes to the plan's end before everyone has begun it.

    A message carries the news of its sender, and of all that the sender has heard of
    in steps before.

    Parameters
    ----------
    plan
        What to prove; what its chunks hold plays no part.

    Raises
    ------
    DeadlockError
        If ranks wait for each other in a circle.
    PlanError
        If a rank may end without having heard of another; the message names both.
    """
    check_form(plan)
    messages = [e for e in execute(plan, count_messages) if isinstance(e, Message)]
    for rank, known in enumerate(heard(plan, messages)):
        missing = [str(other) for other in range(plan.size) if other not in known]
        if missing:
            raise wrong(
                plan,
                f"rank {rank} comes to its end without having heard of rank"
                f"{'s' * (len(missing) > 1)} {', '.join(missing)}",
                [(rank, len(plan.programs[rank]))],
            )
    return _count(plan, messages)


def heard(plan: Collective, messages: Sequence[Message]) -> list[set[int]]:
    """Whom each rank knows to have begun the plan after these messages."""
    known = [[(-1, {rank})] for rank in range(plan.size)]
    for m in messages:
        news = set().union(*(who for step, who in known[m.sender] if step < m.send_step))
        known[m.receiver].append((m.receive_step, news))
    return [set().union(*(who for _, who in each)) for each in known]


def _count(plan: Collective, messages: Sequence[Message]) -> CollectiveCosts:
    sent = [0] * plan.size
    for message in messages:
        sent[message.sender] += len(_chunks(plan, message))
    return CollectiveCosts(
        steps=int(max((message.stop for message in messages), default=0)),
        messages=len(messages),
        chunks_sent=tuple(sent),
    )


def check_form(plan: Collective) -> None:
    """Refuse what makes no sense in any step of a collective taken by itself.

    Raises
    ------
    PlanError
        If an instruction is not a `Send` or `Receive` of an existing chunk to or from
        another rank, or a step receives into a chunk that it also sends or receives again.
    """
    check_peers(plan)
    for rank, program in enumerate(plan.programs):
        for step, instructions in enumerate(program):
            here = [(rank, step)]
            received: set[int] = set()
            sent: set[int] = set()
            for instruction in instructions:
                if not isinstance(instruction, Send | Receive):
                    raise wrong(
                        plan,
                        f"step {step} of rank {rank} holds {instruction!r}, but a collective only "
                        f"sends and receives",
                        here,
                    )
                item = instruction.item
                if not plan.has(item):
                    raise wrong(
                        plan,
                        f"step {step} of rank {rank} names chunk {item!r}, but the chunks are 0 "
                        f"to {plan.chunks - 1}",
                        here,
                    )
                chunks = set(plan.chunks_of(item))
                if isinstance(instruction, Send):
                    sent |= chunks
                    continue
                if chunks & received:
                    chunk = min(chunks & received)
                    raise wrong(
                        plan, f"rank {rank} receives chunk {chunk} twice in step {step}", here
                    )
                received |= chunks
            if received & sent:
                chunk = min(received & sent)
                raise wrong(
                    plan,
                    f"in step {step} rank {rank} both sends chunk {chunk} and receives into it, so "
                    f"that it is open which comes first",
                    here,
                )


def follow(plan: Collective, messages: Sequence[Message]) -> Holdings:
    """Who holds what after these messages, when a chunk's sources begin with their own part."""
    holdings = [
        [Counter([rank if rank in plan.sources[chunk] else NOTHING])
         for chunk in range(plan.chunks)]
        for rank in range(plan.size)
    ]  # fmt: skip
    for message in messages:
        deliver(plan, holdings, message)
    return holdings


def deliver(plan: Collective, holdings: Holdings, message: Message) -> None:
    """Change what the receiver of this message holds."""
    for chunk in _chunks(plan, message):
        arriving = holdings[message.sender][chunk]
        held = holdings[message.receiver][chunk]
        holdings[message.receiver][chunk] = held + arriving if message.receive.reduce else arriving


def show(plan: Collective, holdings: Holdings) -> str:
    """Holdings as text: one column a rank, one row a chunk, ✗ where the sum is not right.

    ``0+1+1`` is the sum of rank 0's contribution and twice rank 1's, ``?`` what means
    nothing.
    """
    rows = [["holds", *(f"rank {rank}" for rank in range(plan.size))]]
    for chunk in range(plan.chunks):
        row = [f"chunk {chunk}"]
        for rank in range(plan.size):
            held = holdings[rank][chunk]
            terms = ["?" if term == NOTHING else str(term) for term in sorted(held.elements())]
            wrong = rank in plan.targets[chunk] and held != Counter(plan.sources[chunk])
            row.append("+".join(terms) + " ✗" * wrong)
        rows.append(row)
    return fitted(rows, [n for n in range(plan.size) if any("✗" in row[n + 1] for row in rows)])


@checked
def bytes_sent(plan: Collective, length: int, itemsize: int) -> tuple[int, ...]:
    """What each rank sends, exactly, for a vector of `length` elements of `itemsize` bytes."""
    sizes = [part.stop - part.start for part in plan.slices(length)]
    return tuple(
        sum(
            sizes[instruction.item] * itemsize
            for step in program
            for instruction in step
            if isinstance(instruction, Send) and isinstance(instruction.item, int)
        )
        for program in plan.programs
    )


def _chunks(plan: Collective, message: Message) -> range:
    item = message.send.item
    assert isinstance(item, int)
    return plan.chunks_of(item)


def _last_receive(
    plan: Collective, messages: Sequence[Message], rank: int, chunk: int
) -> tuple[int, int] | None:
    places = [
        (m.receiver, m.receive_step)
        for m in messages
        if m.receiver == rank and chunk in _chunks(plan, m)
    ]
    return places[-1] if places else None


def _compare(held: Counter[int], sources: frozenset[int]) -> str:
    """What is missing and what is too much, in words."""
    missing = [str(rank) for rank in sorted(sources) if not held[rank]]
    repeated = [f"{rank} ({n} times)" for rank, n in sorted(held.items()) if n > 1 and rank >= 0]
    foreign = [str(rank) for rank in sorted(held) if rank not in sources and rank != NOTHING]
    parts = []
    if missing:
        parts.append(f"no contribution of rank{'s' * (len(missing) > 1)} {', '.join(missing)}")
    if repeated:
        parts.append(f"the contribution of rank {', '.join(repeated)}")
    if foreign:
        parts.append(f"something of rank {', '.join(foreign)}, which has nothing to give")
    if held[NOTHING]:
        parts.append("memory that nobody has written to")
    return " and ".join(parts)
