"""Checks that hold a student's code to a law on drawn inputs, and show the smallest that breaks it.

Hypothesis draws the inputs, the same ones in every run, and shrinks what fails.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.errors import Flaky

from minidl import kernels
from minidl.course.report import Result
from minidl.course.student import GoneError, Student
from minidl.errors import ExerciseError, NotWrittenError

EXAMPLES = 40
"""How many inputs are drawn for each check, if none of them fails."""


@dataclass(frozen=True)
class Check:
    """One law.

    Parameters
    ----------
    name
        What it demands.
    points
        What it is worth; all or nothing.
    cases
        What is drawn, by name; what comes first is made small first.
    prove
        Given the student and a case, raises `ExerciseError` if the law does not hold.
    """

    name: str
    points: int
    cases: Mapping[str, st.SearchStrategy[Any]]
    prove: Callable[..., None]


def judge(student: Student, checks: tuple[Check, ...]) -> tuple[Result, ...]:
    """The result of each check."""
    results = []
    # Nothing here is worth a compilation, and nothing of Hypothesis's a folder beside the homework.
    with kernels.using("reference"), tempfile.TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        try:
            for check in checks:
                message = _first_wrong(student, check)
                score = 0 if message else check.points
                asked = tuple(student.asked)
                results.append(Result(check.name, score, check.points, message, asked))
        finally:
            set_hypothesis_home_dir(None)
    return tuple(results)


class _Stop(BaseException):
    """Ends a search at once. Hypothesis would repeat an Exception, to shrink its input."""


def _first_wrong(student: Student, check: Check) -> str:
    """What is wrong with the smallest case found in which something is; empty if nothing is."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.fixed_dictionaries(dict(check.cases)))
    def holds(case: dict[str, Any]) -> None:
        student.case = ", ".join(f"{name} = {value}" for name, value in case.items())
        try:
            check.prove(student, **case)
        except GoneError as error:
            raise _Stop(str(error)) from None

    try:
        holds()
    except _Stop as stop:
        return str(stop)
    except Flaky:
        return f"the results differ from call to call for the same input: {student.case}"
    except NotWrittenError as error:
        return str(error)
    except ExerciseError as error:
        return f"smallest case found: {student.case}\n{error}"
    finally:
        student.case = ""
    return ""


def numbers(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal random numbers, float64, with one decimal, so that they are easily read; none is 0."""
    drawn = np.round(scale * np.random.default_rng(seed).normal(size=shape), 1)
    return np.where(drawn == 0, 0.1, drawn)


def parts(value: Any, names: str) -> tuple[Any, ...]:
    """What a student's function returned, which has to be a tuple of as many parts as names."""
    wanted = names.split(", ")
    if not isinstance(value, tuple | list) or len(value) != len(wanted):
        found = "None: is a return missing?" if value is None else f"{type(value).__name__}"
        if isinstance(value, tuple | list):
            found = f"{len(value)} values"
        raise ExerciseError(f"should return ({names}), not {found}")
    return tuple(value)


def listed(**values: Any) -> str:
    """The inputs of a case, each on a line that can be copied into Python."""
    lists = {name: np.asarray(value).tolist() for name, value in values.items()}
    return "\n".join(["given", *(f"  {name} = {value}" for name, value in lists.items()), ""])


def expect(what: str, found: Any, expected: Any, hint: str = "", tolerance: float = 1e-6) -> None:
    """Raise an `ExerciseError` unless two arrays or numbers are equal but for rounding.

    Parameters
    ----------
    what
        The student's result, as it is called in the task.
    found, expected
        The student's, and what it should be.
    hint
        What may help.
    tolerance
        How far apart numbers may lie, times 1 or, if greater, the largest expected one.
    """
    expected = np.asarray(expected)
    wrong = ""
    if not isinstance(found, np.ndarray | float | int):
        wrong = f"{what} should be an array of shape {expected.shape}, not {found!r:.200}"
    elif np.shape(found) != expected.shape:
        wrong = f"{what} should have the shape {expected.shape}, not {np.shape(found)}"
    else:
        apart = np.abs(np.asarray(found) - expected)
        if not np.all(apart <= tolerance * np.abs(expected).max(initial=1)):
            wrong = f"{what} is\n{_shown(found)}\nand should be\n{_shown(expected)}"
    if wrong:
        raise ExerciseError(f"{wrong}\n\nHint: {hint}" if hint else wrong)


def _shown(array: Any) -> str:
    text = np.array2string(np.asarray(array), precision=4, suppress_small=True, threshold=40)
    return "\n".join(f"  {line}" for line in text.splitlines())


def gradient(f: Callable[[], float], x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The gradient of ``f()`` by `x`, which is nudged in place, by central differences."""
    dx = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        kept = x[place]
        x[place] = kept + step
        above = f()
        x[place] = kept - step
        dx[place] = (above - f()) / (2 * step)
        x[place] = kept
    return dx
