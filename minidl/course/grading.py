"""Grading: run a student's files, judge what they give, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minidl.course import hw_ring
from minidl.course.report import Report, Result
from minidl.course.student import SECONDS, Answers, Failure, ask
from minidl.errors import InputError, unknown_name


@dataclass(frozen=True)
class Exercise:
    """How one exercise is graded.

    Parameters
    ----------
    file, function
        What the student writes.
    sizes
        What the function is called with.
    grade
        Judges what it gave.
    """

    file: str
    function: str
    sizes: Sequence[int]
    grade: Callable[[Answers], tuple[Result, ...]]


EXERCISES = {"hw_ring": Exercise(hw_ring.FILE, hw_ring.FUNCTION, hw_ring.SIZES, hw_ring.grade)}
"""Every exercise by name."""


def grade(exercise: str, directory: str | Path, seconds: float = SECONDS) -> Report:
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

    Raises
    ------
    UnknownNameError
        If there is no such exercise.
    InputError
        If there is no such directory.
    """
    if exercise not in EXERCISES:
        raise unknown_name("exercise", exercise, EXERCISES)
    task = EXERCISES[exercise]
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"there is no directory {directory}")
    began = time.perf_counter()
    path = directory / task.file
    if path.is_file():
        answers = ask(path, task.function, task.sizes, seconds)
    else:
        present = ", ".join(sorted(entry.name for entry in directory.iterdir())) or "nothing"
        missing = Failure(f"there is no file {task.file} in {directory}; there is: {present}")
        answers = Answers(dict.fromkeys(task.sizes, missing))
    results = task.grade(answers)
    return Report(exercise, results, time.perf_counter() - began, answers.printed)
