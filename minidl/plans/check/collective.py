"""Proofs about collectives, by carrying them out with symbols in place of numbers.

Each chunk on each rank is a multiset of contributions. An all-reduce is right when
in the end every rank holds every rank's contribution to every chunk exactly once,
and then it is right for vectors of every length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from minidl.plans.instructions import Collective, Receive, Send
from minidl.plans.rendezvous import Message, check_peers, count_messages, execute, table, wrong

Holdings = list[list[Counter[int]]]
"""``holdings[rank][chunk]`` counts how often each rank's contribution is in it."""


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


def check_all_reduce(plan: Collective) -> CollectiveCosts:
    """Prove that a plan sums correctly, for vectors of every length.

    Every send has its receive, in the same order and for the same chunk; the plan ends
    without any buffering; within a step no chunk is received into that is also sent or
    received again; in the end every rank holds every contribution exactly once.

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
        If anything else above does not hold; the message shows the plan and the place.
    """
    check_form(plan)
    messages = [e for e in execute(plan, count_messages) if isinstance(e, Message)]
    final = follow(plan, messages)
    whole = Counter(range(plan.size))
    for rank, chunks in enumerate(final):
        for chunk, held in enumerate(chunks):
            if held != whole:
                place = _last_receive(messages, rank, chunk)
                raise wrong(
                    plan,
                    f"in the end rank {rank} holds of chunk {chunk} {_compare(held, plan.size)}\n"
                    f"{show(plan, final)}",
                    [] if place is None else [place],
                )
    sent = Counter(message.sender for message in messages)
    return CollectiveCosts(
        steps=int(max((message.stop for message in messages), default=0)),
        messages=len(messages),
        chunks_sent=tuple(sent[rank] for rank in range(plan.size)),
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
            received: set[object] = set()
            sent: set[object] = set()
            for instruction in instructions:
                if not isinstance(instruction, Send | Receive):
                    raise wrong(
                        plan,
                        f"step {step} of rank {rank} holds {instruction!r}, but a collective only "
                        f"sends and receives",
                        here,
                    )
                chunk = instruction.item
                if not isinstance(chunk, int) or not 0 <= chunk < plan.chunks:
                    raise wrong(
                        plan,
                        f"step {step} of rank {rank} names chunk {chunk!r}, but the chunks are 0 "
                        f"to {plan.chunks - 1}",
                        here,
                    )
                if isinstance(instruction, Receive) and chunk in received:
                    raise wrong(
                        plan, f"rank {rank} receives chunk {chunk} twice in step {step}", here
                    )
                (received if isinstance(instruction, Receive) else sent).add(chunk)
            if received & sent:
                chunk = min(received & sent, key=repr)
                raise wrong(
                    plan,
                    f"in step {step} rank {rank} both sends chunk {chunk} and receives into it, so "
                    f"that it is open which comes first",
                    here,
                )


def follow(plan: Collective, messages: Sequence[Message]) -> Holdings:
    """Who holds what after these messages, when rank r begins with contribution r only."""
    holdings = [[Counter([rank]) for _ in range(plan.chunks)] for rank in range(plan.size)]
    for message in messages:
        deliver(holdings, message)
    return holdings


def deliver(holdings: Holdings, message: Message) -> None:
    """Change what the receiver of this message holds."""
    chunk = message.send.item
    assert isinstance(chunk, int)
    arriving = holdings[message.sender][chunk]
    held = holdings[message.receiver][chunk]
    holdings[message.receiver][chunk] = held + arriving if message.receive.reduce else arriving


def show(plan: Collective, holdings: Holdings) -> str:
    """Holdings as text: one column a rank, one row a chunk, ✗ where the sum is not right.

    ``0+1+1`` is the sum of rank 0's contribution and twice rank 1's.
    """
    whole = Counter(range(plan.size))
    rows = [["holds", *(f"rank {rank}" for rank in range(plan.size))]]
    for chunk in range(plan.chunks):
        cells = (holdings[rank][chunk] for rank in range(plan.size))
        rows.append(
            [
                f"chunk {chunk}",
                *(
                    "+".join(map(str, sorted(c.elements()))) + ("" if c == whole else " ✗")
                    for c in cells
                ),
            ]
        )
    return table(rows)


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


def _last_receive(messages: Sequence[Message], rank: int, chunk: int) -> tuple[int, int] | None:
    places = [
        (m.receiver, m.receive_step)
        for m in messages
        if m.receiver == rank and m.receive.item == chunk
    ]
    return places[-1] if places else None


def _compare(held: Counter[int], size: int) -> str:
    """What is missing and what is too much, in words."""
    missing = [str(rank) for rank in range(size) if not held[rank]]
    repeated = [f"{rank} ({held[rank]} times)" for rank in range(size) if held[rank] > 1]
    parts = []
    if missing:
        parts.append(f"no contribution of rank{'s' * (len(missing) > 1)} {', '.join(missing)}")
    if repeated:
        parts.append(f"the contribution of rank {', '.join(repeated)}")
    return " and ".join(parts)
