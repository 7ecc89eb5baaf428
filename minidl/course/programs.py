"""The programs that a student's `ring_all_reduce` gives, on their way to a plan."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from minidl.course.student import Student
from minidl.errors import ExerciseError
from minidl.plans import Collective, Instruction, Receive, Send

NAME = "ring_all_reduce"
MOST_STEPS = 10_000
"""Steps of a rank's program after which it is taken for an endless one."""


def programs(module: ModuleType, size: int) -> list[Any]:
    """A probe: how many chunks, and the programs as lists of words."""
    result: Any = getattr(module, NAME)(size)
    chunks = size
    if isinstance(result, Collective):
        result, chunks = result.programs, result.chunks
    ranks = _items(result, "the function", "a list with one program for each rank")
    return [chunks, [_program(program, rank) for rank, program in enumerate(ranks)]]


def ask_plan(student: Student, size: int) -> Collective:
    """The plan for this many ranks, not yet proved.

    Raises
    ------
    ExerciseError
        If there is none.
    """
    call = f"{NAME}({size})"
    chunks, ranks = student.ask("programs", size, call=call)
    if len(ranks) != size:
        raise ExerciseError(f"{call} gave {len(ranks)} programs; each of {size} ranks needs one")
    plan = tuple(
        tuple(tuple(_instruction(*words) for words in step) for step in program)
        for program in ranks
    )
    return Collective(call, plan, chunks=chunks)


def _program(program: Any, rank: int) -> list[Any]:
    where = f"the program of rank {rank}"
    steps = _items(program, where, "a list of steps")
    return [_step(step, f"step {n} of {where}") for n, step in enumerate(steps)]


def _step(step: Any, where: str) -> list[Any]:
    wanted = "a Send, a Receive or a tuple of them"
    if isinstance(step, Send | Receive):
        step = (step,)
    encoded = []
    for instruction in _items(step, where, wanted):
        if not isinstance(instruction, Send | Receive):
            raise ExerciseError(f"{where} should be {wanted}; it holds {instruction!r}")
        peer = _whole(instruction.peer, "peer", where)
        chunk = _whole(instruction.item, "item", where)
        if isinstance(instruction, Send):
            encoded.append(["send", peer, chunk])
        else:
            encoded.append(["receive", peer, chunk, bool(instruction.reduce)])
    return encoded


def _instruction(kind: str, peer: int, chunk: int, reduce: bool = False) -> Instruction:
    return Send(peer, chunk) if kind == "send" else Receive(peer, chunk, reduce)


def _items(value: Any, where: str, wanted: str) -> list[Any]:
    if value is None:
        raise ExerciseError(f"{where} should be {wanted}, but is None: is a return missing?")
    if isinstance(value, str | dict) or not isinstance(value, Iterable):
        raise ExerciseError(f"{where} should be {wanted}, not {value!r}")
    items = list(itertools.islice(value, MOST_STEPS + 1))
    if len(items) > MOST_STEPS:
        raise ExerciseError(f"{where} should be {wanted}, but has more than {MOST_STEPS} entries")
    return items


def _whole(value: Any, name: str, where: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ExerciseError(
            f"in {where} the {name} should be a whole number, not {value!r}"
        ) from None
