"""The checks of exercise hw_ring.

Is it a ring, does it end, is the sum right, is it cheap? The checks build on each
other, and each is a proof for every world size tried, not a trial on some numbers. So
the first failing one says what to repair next.
"""

from __future__ import annotations

from collections import Counter

from minidl.course import proofs
from minidl.course.programs import RING, check_at_work, programs
from minidl.course.proofs import Property, SlipError, well_formed
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import DeadlockError, PlanError
from minidl.plans import Collective, Instruction, Receive, Send, check_all_reduce, formulas
from minidl.plans.check import check_form, deliver, follow, show
from minidl.plans.rendezvous import Message, execute, wrong

__all__ = ["CHECKS", "FILE", "NAMES", "grade", "programs"]

FILE, NAMES = "ring.py", (RING,)
SIZES = [(size,) for size in (*range(1, 10), 19)]
"""The world sizes tried, smallest first."""


def grade(student: Student) -> tuple[Result, ...]:
    """Judge what a student's code gives for `SIZES`."""
    return proofs.judge(student, CHECKS, lambda shape: f"smallest failing world size: {shape[0]}")


def _way(plan: Collective, rank: int, each: Instruction) -> int:
    """1 for an instruction that goes on along the ring, -1 for one that goes back, 0 for others."""
    if not isinstance(each, Send | Receive):
        return 0
    away = (each.peer - rank if isinstance(each, Send) else rank - each.peer) % plan.size
    return 1 if away == 1 else -1 if away == plan.size - 1 else 0


def _turned(plan: Collective) -> str:
    """Which half of a ring turns the wrong way round; empty if it is no ring, whatever the way."""
    ways: tuple[set[int], set[int]] = (set(), set())
    for rank, program in enumerate(plan.programs):
        for step, instructions in enumerate(program):
            half = ways[step >= plan.size - 1]
            half.update(_way(plan, rank, each) for each in instructions)
    if not all(half in ({1}, {-1}) for half in ways):
        return ""
    if ways[0] == ways[1]:
        return "your ring turns"
    return f"the {'second' if ways[0] == {1} else 'first'} phase turns"


def _only_neighbours(plan: Collective, size: int) -> None:
    try:
        _forwards(plan)
    except PlanError as error:
        if turned := _turned(plan):
            raise SlipError(
                f"{error}\n\nHint: {turned} the other way round: every rank sends to the one "
                f"before it.\nIt is to send to the one after it. All else is judged as if that "
                f"were right."
            ) from None
        raise


def _forwards(plan: Collective) -> None:
    for rank, program in enumerate(plan.programs):
        for step, instructions in enumerate(program):
            for each in instructions:
                receives = isinstance(each, Receive)
                neighbour = (rank + (-1 if receives else 1)) % plan.size
                if isinstance(each, Send | Receive) and each.peer != neighbour:
                    verb = "receives only from" if receives else "sends only to"
                    raise wrong(
                        plan,
                        f"in a ring of {plan.size}, rank {rank} {verb} rank {neighbour}; in step "
                        f"{step} it has {each}",
                        [(rank, step)],
                    )


def _ends(plan: Collective, size: int) -> None:
    try:
        execute(plan)
    except DeadlockError as error:
        raise PlanError(
            f"{error}\n\nHint: a rank goes on only when its step is done, and a Send is done when "
            f"its peer\nreceives. If all send first, nobody is there to receive. Put both into "
            f"one step:\n(Send(...), Receive(...))."
        ) from None
    except PlanError as error:
        raise PlanError(
            f"{error}\n\nHint: what rank r receives in a step is what rank r - 1 sends in it. If "
            f"rank r sends chunk\nc(r), it has to receive chunk c(r - 1), all modulo the number "
            f"of ranks."
        ) from None


def _messages(plan: Collective) -> list[Message]:
    return [event for event in execute(plan) if isinstance(event, Message)]


def _reduce_scatter(plan: Collective, size: int) -> None:
    check_form(plan)
    holdings = follow(plan, [])
    whole = Counter(range(plan.size))
    complete = {chunk for chunk in range(plan.chunks) if holdings[0][chunk] == whole}
    for message in _messages(plan):
        deliver(plan, holdings, message)
        chunk = message.receive.item
        assert isinstance(chunk, int)
        if holdings[message.receiver][chunk] == whole:
            complete.add(chunk)
    for chunk in range(plan.chunks):
        if chunk not in complete:
            raise wrong(
                plan,
                f"no rank ever holds the whole sum of chunk {chunk}. At the end:\n"
                f"{show(plan, holdings)}\n\nHint: in the first {plan.size - 1} steps a chunk "
                f"travels along the ring and every rank it comes to\nadds it to its own "
                f"(reduce=True). What a rank has just received it sends on in the next step.\n",
            )


def _all_gather(plan: Collective, size: int) -> None:
    try:
        check_all_reduce(plan)
    except PlanError as error:
        longest = max(map(len, plan.programs))
        hint = (
            "in the second phase ranks pass on whole sums, which replace what is held\n"
            "(reduce=False) and must be whole before they are sent. Which chunk is whole on rank r "
            "after the\nfirst phase?"
        )
        if longest != (best := formulas.ring_steps(plan.size)):
            hint = (
                f"the longest program has {longest} step{'s' * (longest != 1)}, but {size - 1} to "
                f"sum and {size - 1} more to hand round the\nwhole sums make {best}. "
            )
            if longest > best:
                hint += "What do the others do to sums that are whole?"
            elif longest < size:
                hint += "Is the second phase, the all-gather, missing?"
            else:
                hint += "Which step is missing?"
        raise PlanError(f"{error}\n\nHint: {hint}") from None


def _at_work(plan: Collective, size: int) -> None:
    if 1 < size <= 4:
        check_at_work(plan)


def _cheap(plan: Collective, size: int) -> None:
    costs = check_all_reduce(plan)
    best = formulas.ring_steps(plan.size)
    if costs.steps > best:
        raise wrong(plan, f"takes {costs.steps} steps; 2(P - 1) = {best} are enough")
    for rank, sent in enumerate(costs.chunks_sent):
        if sent > best:
            raise wrong(plan, f"rank {rank} sends {sent} chunks; 2(P - 1) = {best} are enough")


CHECKS = (
    Property("every rank has a program of Sends and Receives that make sense", 10,
             well_formed, SIZES),
    Property("every rank sends only to the next and receives only from the one before", 10,
             _only_neighbours, SIZES),
    Property("every message has its partner, and nobody waits forever", 20, _ends, SIZES),
    Property("first phase: every chunk is summed up on some rank", 20, _reduce_scatter, SIZES),
    Property("second phase: every rank ends with every sum", 20, _all_gather, SIZES),
    Property("no step and no message more than needed", 15, _cheap, SIZES),
    Property("at work: workers train what one process trains", 5, _at_work, SIZES),
)  # fmt: skip
"""In the order in which they build on each other; 100 points."""
