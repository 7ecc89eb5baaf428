"""Carrying out a plan on paper, with no buffers at all.

A message passes only when its sender and its receiver have both come to it. A plan
that ends here ends in every runtime, because buffers only let a sender go on earlier.
Nothing is computed; the result says what happened in which order and, for given
durations, when.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import pairwise

from minidl.errors import DeadlockError, InputError, PlanError
from minidl.plans.instructions import Backward, Forward, Instruction, Plan, Receive, Send
from minidl.plans.text import LEGEND, WIDTH, grid


@dataclass(frozen=True)
class Work:
    """`rank` ran a forward or backward pass in its step number `step`."""

    rank: int
    step: int
    instruction: Forward | Backward
    start: float
    stop: float


@dataclass(frozen=True)
class Message:
    """An item went from `sender` in its step `send_step` to `receiver` in its `receive_step`."""

    sender: int
    send_step: int
    receiver: int
    receive_step: int
    send: Send
    receive: Receive
    start: float
    stop: float


Event = Work | Message
Seconds = Callable[[int, Instruction], float]
"""How long a rank takes for an instruction; a message takes as long as its `Send`."""


def count_messages(rank: int, instruction: Instruction) -> float:
    """A clock on which a message takes 1 and computing nothing."""
    return 1.0 if isinstance(instruction, Send) else 0.0


def count_passes(rank: int, instruction: Instruction) -> float:
    """A clock on which a forward or backward pass takes 1 and a message nothing."""
    return 1.0 if isinstance(instruction, Forward | Backward) else 0.0


@dataclass
class _Rank:
    """Where a rank is: its step, what of the step is not done, since when, and how long so far."""

    step: int = -1
    pending: list[Instruction] = field(default_factory=list)
    start: float = 0.0
    stop: float = 0.0


def execute(plan: Plan, seconds: Seconds = count_passes) -> list[Event]:
    """Run a plan with zero buffering.

    Parameters
    ----------
    plan
        What to run.
    seconds
        How long each instruction takes. A message starts when both its ranks have
        come to it; everything in one step goes on at the same time.

    Returns
    -------
    list of Event
        Everything that happened, in an order that every rank could have seen.

    Raises
    ------
    DeadlockError
        If ranks wait for each other in a circle.
    PlanError
        If a message has no partner, or a rank expects another item than it is sent.
    """
    check_peers(plan)
    ranks = [_Rank() for _ in range(plan.size)]
    events: list[Event] = []

    def settle(rank: int) -> None:
        """Let a rank go through everything it can do alone."""
        here = ranks[rank]
        while not here.pending and here.step < len(plan.programs[rank]):
            here.step, here.start = here.step + 1, here.stop
            if here.step == len(plan.programs[rank]):
                return
            for instruction in plan.programs[rank][here.step]:
                if isinstance(instruction, Forward | Backward):
                    stop = here.start + seconds(rank, instruction)
                    events.append(Work(rank, here.step, instruction, here.start, stop))
                    here.stop = max(here.stop, stop)
                else:
                    here.pending.append(instruction)

    def deliver(rank: int) -> bool:
        """Pass on the messages that this rank and their receivers have both come to."""
        sender = ranks[rank]
        passed = False
        for send in [i for i in sender.pending if isinstance(i, Send)]:
            receiver = ranks[send.peer]
            receive = next(
                (i for i in receiver.pending if isinstance(i, Receive) and i.peer == rank), None
            )
            if receive is None:
                continue
            if receive.item != send.item:
                raise _mismatch(plan, rank, sender, send, receiver, receive)
            start = max(sender.start, receiver.start)
            stop = start + seconds(rank, send)
            events.append(
                Message(rank, sender.step, send.peer, receiver.step, send, receive, start, stop)
            )
            for place, done in ((sender, send), (receiver, receive)):
                del place.pending[next(n for n, i in enumerate(place.pending) if i is done)]
                place.stop = max(place.stop, stop)
            settle(send.peer)
            passed = True
        settle(rank)
        return passed

    for rank in range(plan.size):
        settle(rank)
    passed = True
    while passed:
        passed = False
        for rank in range(plan.size):
            passed |= deliver(rank)
    if any(here.pending for here in ranks):
        raise _stuck(plan, ranks)
    return events


def wrong(plan: Plan, message: str, marks: Collection[tuple[int, int]] = ()) -> PlanError:
    """The error for a wrong plan: what is wrong, and the plan with the places marked."""
    return PlanError(f"{plan.name}: {message}\n{_excerpt(plan, marks)}")


def _excerpt(plan: Plan, marks: Collection[tuple[int, int]]) -> str:
    """The grid, or of a long one the rows near the marks."""
    lines = grid(plan, marks, WIDTH).splitlines()
    notes = [lines.pop()] if lines[-1].startswith("(") else []
    steps = sorted({step for _, step in marks}) or [0]
    rows = range(len(lines) - 1)
    keep = [n for n in rows if len(rows) <= 40 or any(abs(n - step) <= 8 for step in steps)][:60]
    left_out = ["(other steps left out)"] if len(keep) < len(rows) else []
    return "\n".join([lines[0], *(lines[n + 1] for n in keep), *left_out, *notes, LEGEND])


def check_peers(plan: Plan) -> None:
    """Refuse what is no instruction, and messages to a rank that does not exist or to oneself.

    Raises
    ------
    InputError
        If a step holds something other than an instruction.
    PlanError
        If a message has an impossible peer.
    """
    for rank, program in enumerate(plan.programs):
        for step, instructions in enumerate(program):
            for instruction in instructions:
                if not isinstance(instruction, Send | Receive | Forward | Backward):
                    raise InputError(
                        f"{plan.name}: step {step} of rank {rank} holds {instruction!r}, which is "
                        f"not a Send, Receive, Forward or Backward"
                    )
                if isinstance(instruction, Send | Receive):
                    _require_peer(plan, rank, step, instruction)


def _require_peer(plan: Plan, rank: int, step: int, instruction: Send | Receive) -> None:
    peer = instruction.peer
    verb = "sends to" if isinstance(instruction, Send) else "receives from"
    if peer == rank:
        raise wrong(plan, f"rank {rank} {verb} itself in step {step}", [(rank, step)])
    if not isinstance(peer, int) or not 0 <= peer < plan.size:
        raise wrong(
            plan,
            f"rank {rank} {verb} rank {peer!r} in step {step}, but the ranks are 0 to "
            f"{plan.size - 1}",
            [(rank, step)],
        )


def _mismatch(
    plan: Plan, rank: int, sender: _Rank, send: Send, receiver: _Rank, receive: Receive
) -> PlanError:
    return wrong(
        plan,
        f"rank {rank} sends {_item(plan, send.item)} in its step {sender.step}, but what rank "
        f"{send.peer} receives from it in its step {receiver.step} is {_item(plan, receive.item)}",
        [(rank, sender.step), (send.peer, receiver.step)],
    )


def _stuck(plan: Plan, ranks: list[_Rank]) -> PlanError:
    """Explain why nobody can go on: a message without a partner, or a circle."""
    marks = [(rank, here.step) for rank, here in enumerate(ranks) if here.pending]
    sentences = []
    orphan = None
    for rank, here in enumerate(ranks):
        if not here.pending:
            continue
        waits = " and ".join(
            f"{'to send' if isinstance(i, Send) else 'to receive'} {_item(plan, i.item)} "
            f"{'to' if isinstance(i, Send) else 'from'} rank {i.peer}"
            for i in here.pending
            if isinstance(i, Send | Receive)
        )
        sentences.append(f"  rank {rank} waits in step {here.step} {waits}")
        for i in here.pending:
            if isinstance(i, Send | Receive) and ranks[i.peer].step == len(plan.programs[i.peer]):
                orphan = orphan or (rank, here.step, i)
    details = "\n".join(sentences)
    if orphan is not None:
        rank, step, lost = orphan
        verb = "sends" if isinstance(lost, Send) else "waits for"
        end = (lost.peer, len(plan.programs[lost.peer]))
        return wrong(
            plan,
            f"a message without a partner: rank {rank} {verb} {_item(plan, lost.item)} in step "
            f"{step}, but rank {lost.peer} has come to its end without the other half\n{details}",
            [*marks, end],
        )
    circle = _circle([[i.peer for i in r.pending if isinstance(i, Send | Receive)] for r in ranks])
    words = ", ".join(f"rank {a} waits for rank {b}" for a, b in pairwise(circle))
    message = f"deadlock: {words}\n{details}"
    return DeadlockError(f"{plan.name}: {message}\n{_excerpt(plan, marks)}")


def _circle(waits: list[list[int]]) -> list[int]:
    """A circle in who-waits-for-whom, first rank repeated at the end."""
    here = next(rank for rank, peers in enumerate(waits) if peers)
    path: list[int] = []
    while here not in path:
        path.append(here)
        here = waits[here][0]
    return [*path[path.index(here) :], here]


def _item(plan: Plan, item: object) -> str:
    return f"chunk {plan.label(item)}" if isinstance(item, int) else str(item)
