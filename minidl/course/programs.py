"""The programs that a student's all-reduce gives, on their way to a plan, and to a run.

Asked by itself, as `load_plan_maker` does, this module takes any file with such a function.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minidl import data, kernels, nn, optim, strategy
from minidl.course.student import Student
from minidl.errors import ExerciseError, InputError, PlanError
from minidl.plans import Collective, Instruction, Receive, Send, check_all_reduce
from minidl.plans.collectives.rings import nearly_square
from minidl.runtime import Virtual
from minidl.train import Trainer

RING, TORUS = "ring_all_reduce", "torus_all_reduce"
NAMES = ()
"""A file need not define both."""
EARLIER = "the plan before, for the judge"
"""Where it is kept among what the file defines, none of which can have such a name."""
MOST_STEPS = 10_000
"""Steps of a rank's program after which it is taken for an endless one."""


def load_plan_maker(path: str | Path) -> Callable[[int], Collective]:
    """A student's all-reduce as a function of the number of ranks, proved before each use.

    Parameters
    ----------
    path
        A Python file that defines ``ring_all_reduce(size)``, as exercise ``hw_ring`` asks,
        or ``torus_all_reduce(rows, columns)``, as ``hw_torus`` asks, which is used with rows
        and columns as nearly equal in number as can be. Of both, the torus is taken.

    Returns
    -------
    callable
        Takes the number of ranks, gives the plan. It raises `PlanError`, with the plan
        drawn, if the plan is wrong, and `ExerciseError` if the code fails, ends the
        process, or takes more than ten seconds.

    Raises
    ------
    InputError
        If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")

    @functools.cache
    def make(size: int) -> Collective:
        try:
            with Student(path, "programs") as student:
                shape = nearly_square(size) if student.ask("defines", TORUS) else (size,)
                plan = ask_plan(student, *shape)
        except ExerciseError as error:
            raise ExerciseError(f"{path}: {error}") from None
        check_all_reduce(plan)
        return plan

    return make


def defines(module: ModuleType, name: str) -> bool:
    """A probe: whether the file has something of this name."""
    return hasattr(module, name)


def programs(module: ModuleType, *shape: int) -> list[Any]:
    """A probe: how many chunks, and the programs as lists of words."""
    name = _name(shape)
    if not hasattr(module, name):
        raise ExerciseError(f"the file defines no function named {RING} or {TORUS}")
    make = getattr(module, name)
    first = make(*shape)
    found, again = _told(first, shape), _told(make(*shape), shape)
    earlier = vars(module).get(EARLIER)
    if found != again or (earlier is not None and _told(*earlier.given) != earlier.found):
        raise ExerciseError(
            "gives another plan when it is asked again: keep nothing from call to call, in a "
            "global or in an argument's default"
        )
    # What a generator has given can be read only once.
    lasts = _told(first, shape) == found
    vars(module)[EARLIER] = _Earlier((first, shape), found) if lasts else None
    return found


class _Earlier(NamedTuple):
    """What was given when another plan was asked for, and how it read then.

    A list that all calls share holds another plan by now.
    """

    given: tuple[Any, tuple[int, ...]]
    found: list[Any]


def _told(result: Any, shape: tuple[int, ...]) -> list[Any]:
    """What a student's function gave, as words."""
    chunks = math.prod(shape)
    if isinstance(result, Collective):
        result, chunks = result.programs, result.chunks
    ranks = _items(result, "the function", "a list with one program for each rank")
    return [chunks, [_program(program, rank) for rank, program in enumerate(ranks)]]


def ask_plan(student: Student, *shape: int) -> Collective:
    """The plan for a ring of this many ranks, or so many rows and columns, not yet proved.

    Raises
    ------
    ExerciseError
        If there is none.
    """
    call = f"{_name(shape)}({', '.join(map(str, shape))})"
    chunks, ranks = student.ask("programs", *shape, call=call)
    size = math.prod(shape)
    if len(ranks) != size:
        raise ExerciseError(f"{call} gave {len(ranks)} programs; each of {size} ranks needs one")
    plan = tuple(
        tuple(tuple(_instruction(*words) for words in step) for step in program)
        for program in ranks
    )
    return Collective(call, plan, chunks=chunks)


def check_at_work(plan: Collective) -> None:
    """Raise `PlanError` unless a network trained with a plan is the one that one process trains."""
    alone, together = _weights(), _weights(plan)
    if not all(np.allclose(together[name], alone[name]) for name in alone):
        raise PlanError(f"{plan.name}: {plan.size} workers train another network than one process")


@functools.cache
def _weights(plan: Collective | None = None) -> dict[str, np.ndarray]:
    """What is trained on one process or, with a plan, on as many as it has ranks."""
    generator = np.random.default_rng(0)
    points = data.Dataset(generator.normal(size=(24, 3)), generator.integers(0, 2, 24))
    model = nn.Sequential(nn.Linear(4), nn.Tanh(), nn.Linear(2))
    trainer = Trainer(model, nn.CrossEntropy(), optim.SGD(0.1), seed=0, dtype="float64")
    how: strategy.Strategy = strategy.Serial()
    if plan is not None:
        how = strategy.AllReduce(plan.size, plan=lambda size: plan, runtime=Virtual())
    with kernels.using("reference"):
        trainer.fit(points, epochs=1, batch_size=12, progress=False, strategy=how)
    return trainer.weights()


def _name(shape: tuple[int, ...]) -> str:
    return RING if len(shape) == 1 else TORUS


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


def _items(value: Any, where: str, wanted: str) -> Iterator[Any]:
    """The entries, each before the next is asked for: that of a generator may depend on it."""
    if value is None:
        raise ExerciseError(f"{where} should be {wanted}, but is None: is a return missing?")
    if isinstance(value, str | dict) or not isinstance(value, Iterable):
        raise ExerciseError(f"{where} should be {wanted}, not {value!r}")
    for number, item in enumerate(value):
        if number == MOST_STEPS:
            raise ExerciseError(
                f"{where} should be {wanted}, but has more than {MOST_STEPS} entries"
            )
        yield item


def _whole(value: Any, name: str, where: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ExerciseError(
            f"in {where} the {name} should be a whole number, not {value!r}"
        ) from None
