"""Checks that prove plans, each for several shapes, which earn its points one by one.

The checks build on each other, shape by shape. So the first failing one says what to repair next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from minidl.course.programs import ask_plan
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError, PlanError
from minidl.plans import Collective, Instruction, Receive, Send, check_all_reduce
from minidl.plans.check import check_form
from minidl.plans.rendezvous import wrong

Shape = tuple[int, ...]
"""The number of ranks of a ring; of rows and of columns of a torus."""


class SlipError(PlanError):
    """A plan is wrong in a way that leaves all else to be judged.

    Parameters
    ----------
    message
        What is wrong.
    mended
        The plan as later checks are to see it; None if that is as it is.
    """

    def __init__(self, message: str, mended: Collective | None = None) -> None:
        super().__init__(message)
        self.mended = mended


@dataclass(frozen=True)
class Property:
    """One property of a plan.

    Parameters
    ----------
    name
        What it demands.
    points
        What it is worth; spread evenly over the shapes.
    prove
        Given a plan and its shape, raises `PlanError` if the plan does not have the property.
    shapes
        For which it is proved, smallest first.
    builds
        Whether later checks build on it.
    """

    name: str
    points: int
    prove: Callable[..., None]
    shapes: Sequence[Shape]
    builds: bool = True


def judge(
    student: Student, checks: Sequence[Property], smallest: Callable[[Shape], str]
) -> tuple[Result, ...]:
    """The result of each check of what a student's code gives.

    Parameters
    ----------
    student
        Who is asked.
    checks
        In the order in which they build on each other.
    smallest
        Says that this is the smallest shape for which something is wrong.
    """
    plans: dict[Shape, Collective | ExerciseError] = {}
    asked = {}
    for shape in sorted({shape for check in checks for shape in check.shapes}, key=_small):
        try:
            plans[shape] = ask_plan(student, *shape)
        except ExerciseError as error:
            plans[shape] = error
        asked[shape] = student.asked[-1]
    reached: dict[Shape, str] = {}
    results = []
    for check in checks:
        wrongs: dict[Shape, str] = {}
        for shape in check.shapes:
            plan = plans[shape]
            if isinstance(plan, ExerciseError):
                wrongs[shape] = str(plan)
                continue
            try:
                if shape in reached:
                    raise PlanError(f"not tried: first make this right: {reached[shape]}")
                check.prove(plan, *shape)
            except SlipError as error:
                wrongs[shape] = f"{smallest(shape)}\n{error}"
                plans[shape] = error.mended or plan
            except PlanError as error:
                wrongs[shape] = f"{smallest(shape)}\n{error}"
                if check.builds:
                    reached.setdefault(shape, check.name)
        question = asked[min(wrongs, key=_small, default=check.shapes[-1])]
        results.append(replace(_result(check, wrongs), questions=(question,)))
    return tuple(results)


def _small(shape: Shape) -> tuple[int, ...]:
    return (math.prod(shape), *shape)


def _result(check: Property, wrongs: dict[Shape, str]) -> Result:
    """Points for the shapes that are right, and the smallest that is wrong, explained."""
    if not wrongs:
        return Result(check.name, check.points, check.points)
    many = len(check.shapes)
    right = many - len(wrongs)
    # For one rank an empty program is right, and by itself that earns nothing.
    score = math.floor(10 * check.points * right / many) / 10 if right > 1 else 0.0
    return Result(check.name, score, check.points, wrongs[min(wrongs, key=_small)])


def well_formed(plan: Collective, *shape: int) -> None:
    """Raise `PlanError` unless every rank has a program, of instructions that make sense.

    A plan that would be right modulo the number of ranks has a slip only, and so has one whose
    steps make sense but for a chunk that is both sent and received.
    """
    if plan.chunks != plan.size:
        raise PlanError(f"the vector is to be cut into {plan.size} chunks, not {plan.chunks}")
    for rank, program in enumerate(plan.programs):
        if plan.size > 1 and not any(program):
            raise wrong(plan, f"rank {rank} does nothing at all", [(rank, 0)])
    try:
        check_form(plan)
    except PlanError as error:
        raise _explained(plan, error) from None


def _explained(plan: Collective, error: PlanError) -> PlanError:
    """What is wrong with instructions that make no sense, as far as this can be seen."""
    mended = _modulo(plan)
    try:
        check_all_reduce(mended)
    except PlanError:
        pass
    else:
        return SlipError(
            f"{error}\n\nHint: numbers of ranks and of chunks are to be taken modulo "
            f"{plan.size}: % {plan.size}.\nAll else is judged as if that were right.",
            mended,
        )
    if plan == mended and not _to_themselves(plan):
        return SlipError(str(error))
    if plan.size == 1 and plan == mended:
        return wrong(plan, "one rank alone has nothing to do, but has a step", [(0, 0)])
    for rank, program in enumerate(plan.programs):
        if rank and program == plan.programs[0]:
            return wrong(
                plan,
                f"ranks 0 and {rank} have the same program, though not the same neighbours\n\n"
                f"Hint: [[]] * n is one and the same list, n times; [[] for _ in range(n)] makes n "
                f"lists.\n",
                [(0, 0), (rank, 0)],
            )
    return error


def _to_themselves(plan: Collective) -> bool:
    """Whether a rank sends to itself, or receives from itself."""
    return any(
        isinstance(each, Send | Receive) and each.peer == rank
        for rank, program in enumerate(plan.programs)
        for step in program
        for each in step
    )


def _modulo(plan: Collective) -> Collective:
    """The plan, with all ranks and chunks modulo the number of ranks."""

    def taken(each: Instruction) -> Instruction:
        if isinstance(each, Send | Receive) and isinstance(each.item, int):
            return replace(each, peer=each.peer % plan.size, item=each.item % plan.size)
        return each

    programs = tuple(
        tuple(tuple(map(taken, step)) for step in program) for program in plan.programs
    )
    return Collective(plan.name, programs, chunks=plan.chunks)
