"""Checks that hold a student's code to a law on drawn inputs, and show the smallest that breaks it.

Hypothesis draws the inputs, the same ones in every run, and shrinks what fails.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, KeysView, Mapping, Set, Sized
from dataclasses import dataclass
from types import MappingProxyType
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
MOST_ENTRIES = 10_000
"""Of a list, after which it is taken for an endless one."""
NO_SLIPS: Mapping[str, Any] = MappingProxyType({})


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


def judge(
    student: Student, checks: tuple[Check, ...], suspect: Callable[[Student], str] = lambda _: ""
) -> tuple[Result, ...]:
    """The result of each check.

    Parameters
    ----------
    student
        Who is asked.
    checks
        Each by itself.
    suspect
        Asked once, if a check fails: says what else may make others fail; empty if nothing does.
    """
    results, first = [], None
    # Nothing here is worth a compilation, and nothing of Hypothesis's a folder beside the homework.
    with kernels.using("reference"), tempfile.TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        try:
            for check in checks:
                message = _first_wrong(student, check)
                score = 0 if message else check.points
                asked = tuple(student.asked)
                if message and first is None:
                    first = suspect(student)
                if message and first and "which is not to be changed" not in message:
                    message = f"{first}: make that right first\n{message}"
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


def entries(value: Any, wanted: str, most: int = MOST_ENTRIES) -> list[Any]:
    """What a student's code gives one after the other: as a list, a tuple, an array, a generator.

    Parameters
    ----------
    value
        What it gave.
    wanted
        What it should be, for messages: ``"should return a list of numbers"``.
    most
        With more entries it is taken for endless.

    Raises
    ------
    ExerciseError
        If it is no such thing. A text is none, and neither is what has no order; the keys of a
        dict have one.
    """
    if value is None:
        raise ExerciseError(f"{wanted}, not None: is a return missing?")
    unordered = isinstance(value, str | bytes | Set | Mapping) and not isinstance(value, KeysView)
    single = isinstance(value, np.ndarray) and not value.ndim
    if unordered or single or not isinstance(value, Iterable):
        raise ExerciseError(f"{wanted}, not {value!r:.200}")
    found = list(itertools.islice(value, most + 1))
    if len(found) > most:
        raise ExerciseError(f"{wanted}, but has more than {most} entries")
    return found


def in_any_order(value: Any, wanted: str) -> list[Any]:
    """As `entries`, where their order means nothing, so that a set will do."""
    return sorted(value, key=str) if isinstance(value, Set) else entries(value, wanted)


def parts(value: Any, names: str) -> tuple[Any, ...]:
    """What a student's function returned, which has to be as many parts as names."""
    wanted = names.split(", ")
    if value is None:
        raise ExerciseError(f"should return ({names}), not None: is a return missing?")
    if isinstance(value, np.ndarray | str | Mapping | Set) or not isinstance(value, Iterable):
        raise ExerciseError(f"should return ({names}), not {type(value).__name__}")
    found = tuple(itertools.islice(value, len(wanted) + 1))
    if len(found) != len(wanted):
        many = len(value) if isinstance(value, Sized) else "so many"
        raise ExerciseError(f"should return ({names}), not {many} values")
    return found


def listed(**values: Any) -> str:
    """The inputs of a case, each on a line that can be copied into Python."""
    lists = {name: np.asarray(value).tolist() for name, value in values.items()}
    return "\n".join(["given", *(f"  {name} = {value}" for name, value in lists.items()), ""])


def expect(
    what: str,
    found: Any,
    expected: Any,
    hint: str = "",
    tolerance: float = 1e-6,
    slips: Mapping[str, Any] = NO_SLIPS,
) -> None:
    """Raise an `ExerciseError` unless two arrays or numbers are equal but for rounding.

    Parameters
    ----------
    what
        The student's result, as it is called in the task.
    found
        The student's value; lists of numbers count as arrays.
    expected
        What it should be.
    hint
        What may help.
    tolerance
        How far apart numbers may lie, times 1 or, if greater, the largest expected one.
    slips
        What a known slip gives, by the hint that takes the place of `hint` if it is found.
    """
    expected = np.asarray(expected)
    given = found
    found = as_array(found)
    wrong = ""
    if found is None:
        none = ": is a return missing?" if given is None else ""
        wrong = f"{what} should be an array of shape {expected.shape}, not {given!r:.200}{none}"
    elif found.shape != expected.shape:
        wrong = f"{what} should have the shape {expected.shape}, not {found.shape}"
    elif not agree(found, expected, tolerance):
        digits = next((n for n in (4, 8) if _shown(found, n) != _shown(expected, n)), 16)
        wrong = f"{what} is\n{_shown(found, digits)}\nand should be\n{_shown(expected, digits)}"
        known = [words for words, slip in slips.items() if agree(found, slip, tolerance)]
        hint = known[0] if known else hint
        raise ExerciseError(f"{wrong}\n\nHint: {hint}" if hint else wrong)
    if wrong:  # A hint at the numbers has nothing to say of their shape.
        raise ExerciseError(wrong)


def as_array(value: Any) -> np.ndarray | None:
    """An array, a number or lists of numbers as an array; None if it is none of them."""
    if not isinstance(value, np.ndarray | list | tuple | float | int):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    return array if array.dtype.kind in "buif" else None


def agree(found: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Whether two arrays are of one shape, and equal but for rounding."""
    found, expected = as_array(found), np.asarray(expected)
    if found is None or found.shape != expected.shape:
        return False
    with np.errstate(invalid="ignore"):
        apart = np.abs(found.astype(np.float64) - expected)
    return bool(np.all(apart <= tolerance * np.abs(expected).max(initial=1)))


def _shown(array: Any, digits: int) -> str:
    text = np.array2string(np.asarray(array), precision=digits, suppress_small=True, threshold=40)
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
