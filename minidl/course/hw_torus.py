"""The checks of exercise hw_torus: each proves a plan, for drawn numbers of rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from hypothesis import strategies as st

from minidl.course.checks import Check, judge
from minidl.course.programs import TORUS, ask_plan, check_at_work, programs, renumbered
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import DeadlockError, ExerciseError, PlanError
from minidl.plans import Collective, Receive, check_all_reduce, costs
from minidl.plans.check import CollectiveCosts, check_form, execute
from minidl.plans.rendezvous import wrong

__all__ = ["CHECKS", "FILE", "NAMES", "grade", "programs"]

FILE, NAMES = "torus.py", (TORUS,)
Proof = Callable[[Collective, int, int], None]


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's torus."""
    return judge(student, CHECKS)


def _proved(proof: Proof) -> Callable[..., None]:
    """A check by something that raises `PlanError` if a plan that is well-formed is wrong."""

    def prove(student: Student, rows: int, columns: int) -> None:
        try:
            plan = ask_plan(student, rows, columns)
            _well_formed(plan)
            proof(plan, rows, columns)
        except PlanError as error:
            raise ExerciseError(str(error)) from None

    return prove


def _well_formed(plan: Collective, *shape: int) -> None:
    if plan.chunks != plan.size:
        raise PlanError(f"the vector is to be cut into {plan.size} chunks, not {plan.chunks}")
    check_form(plan)
    for rank, program in enumerate(plan.programs):
        if plan.size > 1 and not any(program):
            raise wrong(plan, f"rank {rank} does nothing at all", [(rank, 0)])


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
        if not _turned(plan, rows, columns):
            raise
        raise PlanError(
            f"{error}\n\nHint: rows or columns turn the other way round. Every rank sends to the "
            f"one after it.\nAll else is judged as if that were right."
        ) from None


def _on_a_torus(plan: Collective, rows: int, columns: int) -> None:
    """What counts only along rows and columns, be they turning this way or that."""
    try:
        _forwards(plan, rows, columns)
    except PlanError:
        if not _turned(plan, rows, columns):
            raise PlanError(
                "not tried: first make this right: ranks send only to the next in their row or "
                "column"
            ) from None


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
    _on_a_torus(plan, rows, columns)
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


def _sums(plan: Collective, rows: int, columns: int) -> None:
    _ends(plan, rows, columns)
    try:
        check_all_reduce(plan)
    except PlanError as error:
        raise PlanError(
            f"{error}\n\nHint: look at one phase after the other. Do all ranks of a column hold "
            f"the same part after the\nfirst? Is it whole after the second, before it is handed "
            f"round?"
        ) from None


def _cost(plan: Collective) -> CollectiveCosts:
    try:
        return check_all_reduce(plan)
    except PlanError:
        raise PlanError("what it costs counts only once every rank ends with the sum") from None


def _steps(plan: Collective, rows: int, columns: int) -> None:
    _on_a_torus(plan, rows, columns)
    found, best = _cost(plan).steps, costs.torus(rows, columns).steps
    if found > best:
        raise wrong(plan, f"takes {found} steps; 2(X - 1) + 2(Y - 1) = {best} are enough")


def _bytes(plan: Collective, rows: int, columns: int) -> None:
    _on_a_torus(plan, rows, columns)
    shares = costs.torus(rows, columns).shares
    for rank, sent in enumerate(_cost(plan).chunks_sent):
        if Fraction(sent, plan.chunks) > shares[rank]:
            raise wrong(
                plan,
                f"rank {rank} sends {sent} of {plan.chunks} chunks; 2(P - 1) = "
                f"{2 * (plan.size - 1)} are enough\n\nHint: the columns handle only that part of "
                f"the vector which the first phase has left to them.\n",
            )


def _at_work(plan: Collective, rows: int, columns: int) -> None:
    _on_a_torus(plan, rows, columns)
    _cost(plan)
    check_at_work(plan)


def _line(plan: Collective, rows: int, columns: int) -> None:
    """A torus of one row or one column is a ring."""
    _sums(plan, rows, columns)


SIDE = st.integers(1, 4)
SHAPE = {"rows": SIDE, "columns": st.integers(1, 5)}
LINE = {"rows": st.just(1), "columns": st.integers(2, 7)}
CHECKS = (
    Check("every rank has a program of Sends and Receives that make sense", 5, SHAPE,
          _proved(_well_formed)),
    Check("ranks send only to the next in their row or column", 10, SHAPE,
          _proved(_only_neighbours)),
    Check("every message has its partner, and nobody waits forever", 15, SHAPE, _proved(_ends)),
    Check("one row alone ends with each rank's contribution exactly once", 10, LINE,
          _proved(_line)),
    Check("every rank ends with each rank's contribution exactly once", 30, SHAPE,
          _proved(_sums)),
    Check("2(X - 1) + 2(Y - 1) steps", 10, SHAPE, _proved(_steps)),
    Check("no rank sends more than 2(P - 1)/P of the vector", 15, SHAPE, _proved(_bytes)),
    Check("at work: workers train what one process trains", 5,
          {"rows": st.integers(1, 2), "columns": st.integers(2, 3)}, _proved(_at_work)),
)  # fmt: skip
"""100 points."""
