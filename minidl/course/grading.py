"""Grading: run a student's file, judge what it gives, report."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from minidl.course.report import Report, Result
from minidl.course.student import SECONDS, Student
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


class Exercise(Protocol):
    """What an exercise's module has, beside the probes that ask a student's file.

    Parameters
    ----------
    FILE
        What the student writes.
    NAMES
        The functions and classes that it has to define.
    """

    FILE: str
    NAMES: tuple[str, ...]

    def grade(self, student: Student) -> tuple[Result, ...]:
        """Ask the student's code, and judge what it gives."""


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
    task = cast(Exercise, import_module(f"minidl.course.{exercise}"))
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"there is no directory {directory}")
    began = time.perf_counter()
    student = Student(directory / task.FILE, exercise, seconds)
    if student.path.is_file():
        with student:
            results = task.grade(student)
    else:
        present = ", ".join(sorted(entry.name for entry in directory.iterdir())) or "nothing"
        student.gone = f"there is no file {task.FILE} in {directory}; there is: {present}"
        results = task.grade(student)
    return Report(exercise, results, time.perf_counter() - began, student.printed)
