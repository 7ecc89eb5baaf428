"""Grading: run a student's file, judge what it gives, report."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from minidl.course.report import Report, Result
from minidl.course.student import SECONDS, TOTAL_SECONDS, Student
from minidl.course.values import plain
from minidl.errors import InputError, unknown_name

EXERCISES = (
    "hw_batch_norm",
    "hw_gan",
    "hw_lstm",
    "hw_momentum",
    "hw_overlap",
    "hw_receptive_field",
    "hw_ring",
    "hw_server",
    "hw_staleness",
    "hw_torus",
)
"""Every exercise; each is a module of `minidl.course`."""


class _Worth(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def points(self) -> int: ...


class Exercise(Protocol):
    """What an exercise's module has, beside the probes that ask a student's file.

    Parameters
    ----------
    FILE
        What the student writes.
    NAMES
        The functions and classes that it has to define.
    CHECKS
        What is checked, and the points for it.
    """

    FILE: str
    NAMES: tuple[str, ...]
    CHECKS: Sequence[_Worth]

    def grade(self, student: Student) -> tuple[Result, ...]:
        """Ask the student's code, and judge what it gives."""


def grade(
    exercise: str,
    directory: str | Path,
    seconds: float = SECONDS,
    total_seconds: float = TOTAL_SECONDS,
    *,
    breakpoints: bool = True,
) -> Report:
    """Grade one exercise.

    Parameters
    ----------
    exercise
        Its name, e.g. ``"hw_ring"``.
    directory
        Where the student's file lies. If the file is not there, the report says so
        and gives no points.
    seconds
        How long each call of the student's code may take.
    total_seconds
        How long all of them together may take.
    breakpoints
        Whether ``breakpoint()`` in the student's code is an error; else it does nothing.

    Raises
    ------
    UnknownNameError
        If there is no such exercise.
    InputError
        If there is no such directory.
    """
    task = load_exercise(exercise)
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"there is no directory {directory}")
    began = time.perf_counter()
    path = directory / task.FILE
    student = Student(path, exercise, seconds, total_seconds, breakpoints=breakpoints)
    if path.is_file():
        with student:
            results = _judged(task, student)
    else:
        present = ", ".join(sorted(entry.name for entry in directory.iterdir())) or "nothing"
        student.gone = f"there is no file {task.FILE} in {directory}; there is: {present}"
        results = task.grade(student)
    # From here on no process of the student's code is left, which could change what is found.
    passed = time.perf_counter() - began
    return Report(exercise, results, passed, student.printed, student.isolation)


def load_exercise(name: str) -> Exercise:
    """An exercise's module.

    Raises
    ------
    UnknownNameError
        If there is no such exercise.
    """
    if name not in EXERCISES:
        raise unknown_name("exercise", name, EXERCISES)
    return cast(Exercise, import_module(f"minidl.course.{name}"))


def _judged(task: Exercise, student: Student) -> tuple[Result, ...]:
    """What the exercise finds; no points if what the code gave is of no form that it expects.

    Probes refuse, in the student's process, what is of another form. So this is either code that
    answers in the probes' place, or a mistake in the exercise, and the message says both.
    """
    try:
        return task.grade(student)
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = plain(
            f"the judge cannot read what your code gives ({type(error).__name__}: {error}; in "
            f"{Path(place.filename).name}, line {place.lineno}). If your code only returns what "
            f"the task asks for, this is a mistake of the exercise: tell your instructor"
        )
        return tuple(Result(check.name, 0, check.points, message) for check in task.CHECKS)
