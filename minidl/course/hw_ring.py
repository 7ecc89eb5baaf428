"""The checks of exercise hw_ring.

Is it a ring, does it end, is the sum right, is it cheap? The checks build on each
other, and each is a proof for every world size tried, not a trial on some numbers. So
the first failing one says what to repair next.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from minidl.course.programs import RING, ask_plan, check_at_work, programs, renumbered
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import DeadlockError, ExerciseError, PlanError
from minidl.plans import Collective, Receive, check_all_reduce, formulas
from minidl.plans.check import check_form, deliver, follow, show
from minidl.plans.rendezvous import Message, execute, wrong

__all__ = ["FILE", "NAMES", "grade", "programs"]

FILE, NAMES = "ring.py", (RING,)
SIZES = (*range(1, 10), 16)
"""The world sizes tried, smallest first."""


@dataclass(frozen=True)
class Check:
    """One property of a ring.

    Parameters
    ----------
    name
        What it demands.
    points
        What it is worth; spread evenly over the world sizes.
    prove
        Raises `PlanError` if a plan does not have the property.
    """

    name: str
    points: int
    prove: Callable[[Collective], None]


def grade(student: Student) -> tuple[Result, ...]:
    """Judge what a student's code gives for `SIZES`."""
    plans: dict[int, Collective | ExerciseError] = {}
    for size in SIZES:
        try:
            plans[size] = ask_plan(student, size)
        except ExerciseError as error:
            plans[size] = error
    reached: dict[int, str | None] = dict.fromkeys(SIZES)
    asked = dict(zip(SIZES, student.asked, strict=True))
    results = []
    for check in CHECKS:
        wrongs: dict[int, str] = {}
        for size, plan in plans.items():
            if isinstance(plan, ExerciseError):
                wrongs[size] = str(plan)
            elif reached[size] is not None:
                wrongs[size] = f"not tried: first make this right: {reached[size]}"
            else:
                try:
                    check.prove(plan)
                except PlanError as error:
                    wrongs[size] = str(error)
        for size, plan in plans.items():
            if size in wrongs and not (check.prove is _only_neighbours and _backwards(plan)):
                reached[size] = reached[size] or check.name
        question = asked[min(wrongs, default=SIZES[-1])]
        results.append(replace(_result(check, wrongs, plans), questions=(question,)))
    return tuple(results)


def _result(
    check: Check, wrongs: dict[int, str], plans: dict[int, Collective | ExerciseError]
) -> Result:
    """Points for the sizes that are right, and the smallest that is wrong, explained."""
    right = len(SIZES) - len(wrongs)
    if not wrongs:
        return Result(check.name, check.points, check.points)
    smallest = min(wrongs)
    message = wrongs[smallest]
    if isinstance(plans[smallest], Collective):
        message = f"smallest failing world size: {smallest}\n{message}"
    # For one rank an empty program is right, and by itself that earns nothing.
    score = math.floor(10 * check.points * right / len(SIZES)) / 10 if right > 1 else 0.0
    return Result(check.name, score, check.points, message)


def _well_formed(plan: Collective) -> None:
    if plan.chunks != plan.size:
        raise PlanError(f"the vector is to be cut into {plan.size} chunks, not {plan.chunks}")
    check_form(plan)
    for rank, program in enumerate(plan.programs):
        if plan.size > 1 and not any(program):
            raise wrong(plan, f"rank {rank} does nothing at all", [(rank, 0)])


def _backwards(plan: Collective | ExerciseError) -> bool:
    """Whether this is a ring, but for the way it turns."""
    if isinstance(plan, ExerciseError):
        return False
    try:
        _forwards(renumbered(plan, lambda rank: -rank % plan.size))
    except PlanError:
        return False
    return True


def _only_neighbours(plan: Collective) -> None:
    try:
        _forwards(plan)
    except PlanError as error:
        if not _backwards(plan):
            raise
        raise PlanError(
            f"{error}\n\nHint: your ring turns the other way round: every rank sends to the one "
            f"before it.\nIt is to send to the one after it. All else is judged as if that were "
            f"right."
        ) from None


def _forwards(plan: Collective) -> None:
    for rank, program in enumerate(plan.programs):
        for step, instructions in enumerate(program):
            for instruction in instructions:
                receives = isinstance(instruction, Receive)
                neighbour = (rank + (-1 if receives else 1)) % plan.size
                if getattr(instruction, "peer", neighbour) != neighbour:
                    verb = "receives only from" if receives else "sends only to"
                    raise wrong(
                        plan,
                        f"in a ring of {plan.size}, rank {rank} {verb} rank {neighbour}; in step "
                        f"{step} it has {instruction}",
                        [(rank, step)],
                    )


def _ends(plan: Collective) -> None:
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


def _reduce_scatter(plan: Collective) -> None:
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


def _all_gather(plan: Collective) -> None:
    try:
        check_all_reduce(plan)
    except PlanError as error:
        longest = max(map(len, plan.programs))
        hint = (
            "in the second phase ranks pass on whole sums, which replace what is held \n"
            "(reduce=False) and must be whole before they are sent. Which chunk is whole on rank r "
            "after the\nfirst phase?"
        )
        if longest < formulas.ring_steps(plan.size):
            hint = (
                f"the longest program has {longest} step{'s' * (longest != 1)}, but "
                f"{plan.size - 1} to sum and {plan.size - 1} more to hand round the\nwhole sums "
                f"make {formulas.ring_steps(plan.size)}. Is the second phase, the all-gather, "
                f"missing?"
            )
        raise PlanError(f"{error}\n\nHint: {hint}") from None


def _at_work(plan: Collective) -> None:
    if 1 < plan.size <= 4:
        check_at_work(plan)


def _cheap(plan: Collective) -> None:
    costs = check_all_reduce(plan)
    best = formulas.ring_steps(plan.size)
    if costs.steps > best:
        raise wrong(plan, f"takes {costs.steps} steps; 2(P - 1) = {best} are enough")
    for rank, sent in enumerate(costs.chunks_sent):
        if sent > best:
            raise wrong(plan, f"rank {rank} sends {sent} chunks; 2(P - 1) = {best} are enough")


CHECKS = (
    Check("every rank has a program of Sends and Receives that make sense", 10, _well_formed),
    Check("every rank sends only to the next and receives only from the one before", 10,
          _only_neighbours),
    Check("every message has its partner, and nobody waits forever", 20, _ends),
    Check("first phase: every chunk is summed up on some rank", 20, _reduce_scatter),
    Check("second phase: every rank ends with every sum", 20, _all_gather),
    Check("no step and no message more than needed", 15, _cheap),
    Check("at work: workers train what one process trains", 5, _at_work),
)  # fmt: skip
"""In the order in which they build on each other; 100 points."""
