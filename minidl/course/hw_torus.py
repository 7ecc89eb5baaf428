"""The checks of exercise hw_torus: each proves plans, shape by shape, and they build on each other.

What one row or one column gives has a check of its own, since a ring is enough there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from minidl.course import proofs
from minidl.course.programs import TORUS, check_at_work, programs
from minidl.course.proofs import Property, SlipError, well_formed
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import DeadlockError, PlanError
from minidl.plans import Collective, Receive, Send, check_all_reduce, costs
from minidl.plans.check import check_form, deliver, follow, show
from minidl.plans.rendezvous import Message, execute, wrong

__all__ = ["CHECKS", "FILE", "NAMES", "grade", "programs"]

FILE, NAMES = "torus.py", (TORUS,)
LINES = [(1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (1, 5), (6, 1)]
"""Rows and columns that make a ring."""
TORI = [
    (2, 2), (2, 3), (3, 2), (2, 4), (4, 2), (3, 3), (2, 5), (3, 4), (4, 3), (4, 4), (3, 5), (2, 8),
]  # fmt: skip
FEW = [(2, 2), (2, 3), (3, 2)]
"""Those tried at work."""


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's torus."""
    return proofs.judge(
        student,
        CHECKS,
        lambda shape: f"smallest case found: rows = {shape[0]}, columns = {shape[1]}",
    )


def renumbered(plan: Collective, number: Callable[[int], int]) -> Collective:
    """The same plan among ranks that are numbered another way.

    Parameters
    ----------
    plan
        For P ranks.
    number
        The new number of each rank; no two have the same.
    """
    programs: list[Any] = [()] * plan.size
    for rank, program in enumerate(plan.programs):
        programs[number(rank)] = tuple(
            tuple(
                replace(each, peer=number(each.peer)) if isinstance(each, Send | Receive) else each
                for each in step
            )
            for step in program
        )
    return Collective(plan.name, tuple(programs), chunks=plan.chunks)


def _turned(plan: Collective, rows: int, columns: int) -> bool:
    """Whether it is a torus, but for the way that its rows, its columns or both turn."""
    for down, right in ((-1, 1), (1, -1), (-1, -1)):

        def number(rank: int, down: int = down, right: int = right) -> int:
            row, column = divmod(rank, columns)
            return down * row % rows * columns + right * column % columns

        try:
            _forwards(renumbered(plan, number), rows, columns)
        except PlanError:
            continue
        return True
    return False


def _only_neighbours(plan: Collective, rows: int, columns: int) -> None:
    try:
        _forwards(plan, rows, columns)
    except PlanError as error:
        if _turned(plan, rows, columns):
            raise SlipError(
                f"{error}\n\nHint: rows or columns turn the other way round. Every rank sends to "
                f"the one after it.\nAll else is judged as if that were right."
            ) from None
        raise


def _forwards(plan: Collective, rows: int, columns: int) -> None:
    for rank, program in enumerate(plan.programs):
        row, column = divmod(rank, columns)
        for step, instructions in enumerate(program):
            for instruction in instructions:
                way = -1 if isinstance(instruction, Receive) else 1
                neighbours = {
                    row * columns + (column + way) % columns,
                    (row + way) % rows * columns + column,
                } - {rank}
                if getattr(instruction, "peer", None) not in neighbours:
                    verb = "receives only from" if way < 0 else "sends only to"
                    allowed = " and ".join(map(str, sorted(neighbours))) or "nobody"
                    raise wrong(
                        plan,
                        f"on a torus of {rows} x {columns}, rank {rank}, in row {row} and column "
                        f"{column}, {verb} {allowed}; in step {step} it has {instruction}",
                        [(rank, step)],
                    )


def _ends(plan: Collective, rows: int, columns: int) -> None:
    try:
        execute(plan)
    except DeadlockError as error:
        raise PlanError(
            f"{error}\n\nHint: a rank goes on only when its step is done. Its Sends and its "
            f"Receives belong into\none step, and all ranks are in the same phase at the same time."
        ) from None
    except PlanError as error:
        raise PlanError(
            f"{error}\n\nHint: what a rank receives in a step is what the rank before it sends in "
            f"it, in the same order."
        ) from None


def _row_sums(plan: Collective, rows: int, columns: int) -> None:
    check_form(plan)
    rings = [{*range(row * columns, (row + 1) * columns)} for row in range(rows)]
    todo, held = _unsummed(plan, rings)
    if not todo:
        return
    ring, chunk = min(todo)
    said = wrong(
        plan,
        f"no rank of row {ring} ever holds the sum over this row of chunk {chunk}. At the end:\n"
        f"{held}\n\nHint: in the first phase every row sums up the whole vector, each rank a part "
        f"of {rows} chunks\n(reduce=True), before the columns begin.\n",
    )
    if not _unsummed(plan, [{*range(column, plan.size, columns)} for column in range(columns)])[0]:
        raise SlipError(
            f"{said}\n\nHere the columns go first. All else is judged as if they should."
        )
    raise said


def _unsummed(plan: Collective, rings: list[set[int]]) -> tuple[set[tuple[int, int]], str]:
    """The chunks whose sums over each of these rings no rank of it ever holds, and the end."""
    holdings = follow(plan, [])
    todo = {(ring, chunk) for ring in range(len(rings)) for chunk in range(plan.chunks)}
    for event in execute(plan):
        if isinstance(event, Message):
            deliver(plan, holdings, event)
            chunk = event.receive.item
            assert isinstance(chunk, int)
            for ring, ranks in enumerate(rings):
                if event.receiver in ranks and holdings[event.receiver][chunk] == Counter(ranks):
                    todo.discard((ring, chunk))
    return todo, show(plan, holdings)


def _sums(plan: Collective, rows: int, columns: int) -> None:
    try:
        check_all_reduce(plan)
    except PlanError as error:
        raise PlanError(
            f"{error}\n\nHint: look at one phase after the other. Do all ranks of a column hold "
            f"the same part after the\nfirst? Is it whole after the second, before it is handed "
            f"round, and does it then replace\nwhat is held (reduce=False)?"
        ) from None


def _line(plan: Collective, rows: int, columns: int) -> None:
    """A torus of one row or one column is a ring."""
    for proof in (_only_neighbours, _ends, _sums):
        try:
            proof(plan, rows, columns)
        except SlipError:  # has a check of its own
            continue


def _steps(plan: Collective, rows: int, columns: int) -> None:
    found, best = check_all_reduce(plan).steps, costs.torus(rows, columns).steps
    if found > best:
        raise wrong(plan, f"takes {found} steps; 2(X - 1) + 2(Y - 1) = {best} are enough")


def _bytes(plan: Collective, rows: int, columns: int) -> None:
    shares = costs.torus(rows, columns).shares
    for rank, sent in enumerate(check_all_reduce(plan).chunks_sent):
        if Fraction(sent, plan.chunks) > shares[rank]:
            raise wrong(
                plan,
                f"rank {rank} sends {sent} of {plan.chunks} chunks; 2(P - 1) = "
                f"{2 * (plan.size - 1)} are enough\n\nHint: the columns handle only that part of "
                f"the vector which the first phase has left to them.\n",
            )


def _at_work(plan: Collective, rows: int, columns: int) -> None:
    check_at_work(plan)


CHECKS = (
    Property("every rank has a program of Sends and Receives that make sense", 5, well_formed,
          LINES + TORI),
    Property("one row or column alone ends with each rank's contribution exactly once", 10, _line,
          LINES),
    Property("ranks send only to the next in their row or column", 10, _only_neighbours, TORI),
    Property("every message has its partner, and nobody waits forever", 15, _ends, TORI),
    Property("first phase: every row sums up the whole vector", 10, _row_sums, TORI),
    Property("every rank ends with each rank's contribution exactly once", 20, _sums, TORI),
    Property("2(X - 1) + 2(Y - 1) steps", 10, _steps, TORI, builds=False),
    Property("no rank sends more than 2(P - 1)/P of the vector", 15, _bytes, TORI, builds=False),
    Property("at work: workers train what one process trains", 5, _at_work, FEW),
)  # fmt: skip
"""100 points."""
