"""What a function on arrays keeps to whatever it computes, by one check for all exercises.

It leaves what it is given as it was, computes in the type that it is given, gives the same
when it is asked again, and keeps what one use of it needs apart from what another one does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from minidl.course.checks import agree, as_array
from minidl.course.student import Student
from minidl.errors import ExerciseError

Use = Generator[None, None, Sequence[Any]]
"""One use of a student's code, e.g. a forward and a backward pass. It gives what came out, and
yields before each call but the first, where another use may come between."""
APART = (
    "what a later call needs of an earlier one has to travel in what you return or are handed, not "
    "in a global or on the function: between the two, others may come. And what you have returned "
    "is not yours to write to any more"
)
WAYS = ("alone", "again", "first begun, first ended", "first begun, last ended")


def observe(use: Callable[..., Use], *cases: Sequence[Any]) -> list[Any]:
    """For a probe: what comes out of each case in each of the `WAYS`, and the inputs afterwards.

    Parameters
    ----------
    use
        Begins a use of the student's code, given a case.
    cases
        Arguments, each time as a copy of their own.
    """
    came: list[Any] = []
    for way in WAYS:
        given = copy.deepcopy(cases)
        uses = [use(*case) for case in given]
        if way in WAYS[:2]:
            came.append([_rest(each) for each in uses])
            left = given
            continue
        started = [each for each in uses if not _ended(each)]
        order = range(len(uses)) if way == WAYS[2] else reversed(range(len(uses)))
        if len(started) < len(uses):  # a single call each: nothing comes between
            came.append(came[0])
            continue
        try:
            ended = {number: _rest(uses[number]) for number in order}
        except Exception as error:  # of what works alone
            error.add_note(
                f"\nThis came with {len(uses)} of them under way at once.\n\nHint: {APART}"
            )
            raise
        came.append([ended[number] for number in range(len(uses))])
    return [came, [list(case) for case in left]]


def _ended(use: Use) -> bool:
    return next(use, True) is True


def _rest(use: Use) -> list[Any]:
    """What comes out of a use that has begun, or not yet."""
    while True:
        try:
            next(use)
        except StopIteration as end:
            return [_plain(value) for value in end.value]


def _plain(value: Any) -> Any:
    """What came out as it is now: whoever gave it may still hold it, and write to it.

    Lists of arrays or NumPy's numbers become an array; Python's numbers have no type to keep.
    """
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, np.generic):
        return np.asarray(value)
    if isinstance(value, list | tuple) and any(isinstance(v, np.ndarray) for v in value):
        return np.asarray(value)
    return value


def check_habits(
    student: Student,
    probe: str,
    cases: Sequence[Sequence[Any]],
    takes: Sequence[str],
    gives: Sequence[str],
    order: str,
    right: Callable[..., Sequence[Any]],
) -> None:
    """Raise an `ExerciseError` unless the habits are good, in float64 and in float32.

    Parameters
    ----------
    student
        Whose code it is.
    probe
        Gives what `observe` does for these cases.
    cases
        Arrays of float64, and other arguments, of two uses or more.
    takes
        What the arguments are called.
    gives
        What the results are called.
    order
        What is called, for messages: ``"forward, then backward"``.
    right
        Gives for a case what should come out, where the digits of float64 are looked for.
    """
    for dtype in ("float64", "float32"):
        given = [[_cast(value, dtype) for value in case] for case in cases]
        came, left = student.ask(probe, *given, call=order)
        _unchanged(given, left, takes)
        alone, again, *mixed = came
        for results in alone:
            for name, value in zip(gives, results, strict=False):
                _typed(name, value, dtype)
        if dtype == "float64":
            _exact(gives, alone, [right(*case) for case in cases])
        for number, results in enumerate(alone):
            _same(
                gives, again[number], results,
                "when it is asked for the same once more",
                "the same arguments give the same result, always: keep nothing from call to call, "
                "in a global, on a function or in an argument's default",
            )  # fmt: skip
        for way, results in zip(WAYS[2:], mixed, strict=True):
            for number, alone_results in enumerate(alone):
                _same(
                    gives, results[number], alone_results,
                    f"with {len(cases)} of them under way at once ({order}; {way}), of number "
                    f"{number + 1}",
                    APART,
                )  # fmt: skip


def changed(student: Student, probe: str, case: Sequence[Any], takes: Sequence[str]) -> str:
    """Which inputs the student's code changes, in words; empty if none, or if it fails.

    Parameters
    ----------
    student
        Whose code it is.
    probe
        Gives what `observe` does for this case.
    case
        Arguments.
    takes
        What they are called.
    """
    try:
        _, (left,) = student.ask(probe, case)
    except ExerciseError:  # what is wrong with it, the checks say
        return ""
    names = [
        name
        for name, one, two in zip(takes, case, left, strict=True)
        if isinstance(one, np.ndarray) and not np.array_equal(one, two)
    ]
    return f"your code changes {' and '.join(names)}, which it is not to" if names else ""


def _cast(value: Any, dtype: str) -> Any:
    return value.astype(dtype) if isinstance(value, np.ndarray) else value


def _unchanged(given: Any, left: Any, takes: Sequence[str]) -> None:
    for before, after in zip(given, left, strict=True):
        for name, one, two in zip(takes, before, after, strict=True):
            refuse_change(name, one, two)


def refuse_change(name: str, before: Any, after: Any) -> None:
    """Raise an `ExerciseError` if an array, a list or a dict is another than it was.

    Parameters
    ----------
    name
        What it is called in the task.
    before, after
        A copy from before the student's code was given it, and what is left of it.
    """
    hint = f"it is the caller's: work on a copy of your own, e.g. {type(before).__name__}({name})"
    if isinstance(before, np.ndarray):
        if np.array_equal(before, after):
            return
        before, after = before.tolist(), np.asarray(after).tolist()
        hint = (
            f"`{name} -= ...` and `{name}[...] = ...` change the caller's array; `{name} - ...` "
            f"makes a new one"
        )
    elif _ordered(before) == _ordered(after):
        return
    raise ExerciseError(
        f"{name}, which is not to be changed, was\n  {before}\nand after your calls it is\n  "
        f"{after}\n\nHint: {hint}"
    )


def _ordered(value: Any) -> Any:
    """What is compared of a value: a dict's order counts, too."""
    return [*value.items()] if isinstance(value, dict) else value


def _typed(name: str, value: Any, dtype: str) -> None:
    if not isinstance(value, np.ndarray):
        return
    if value.dtype != dtype:
        raise ExerciseError(
            f"{name} is of {value.dtype}, though all arrays that were given are of {dtype}\n\n"
            f"Hint: compute in the type of what you are given: np.zeros(shape, x.dtype) instead "
            f"of np.zeros(shape), and no astype to a type of your choice"
        )


def _exact(gives: Sequence[str], found: Any, right: Any) -> None:
    """Refuse what is right but for the digits beyond float32's; what is wrong, others say."""
    apart = [
        (_apart(one, two), name)
        for results, expected in zip(found, right, strict=True)
        for name, one, two in zip(gives, results, expected, strict=False)
    ]
    most, name = max(apart)
    if 1e-10 < most < 1e-5:
        raise ExerciseError(
            f"{name} is right in its first seven digits only, those of float32, though all "
            f"arrays that were given are of float64\n\nHint: something on the way is of "
            f"float32 or rounded; compute in the type of what you are given"
        )


def _apart(found: Any, right: Any) -> float:
    """How far what was found is from what is right, as a part of the largest number of that."""
    array = as_array(found)
    if array is None or array.shape != np.shape(right):
        return 1.0
    largest = np.abs(right).max(initial=0)
    with np.errstate(invalid="ignore"):
        most = np.abs(array - right).max(initial=0)
    return float(most / largest) if largest > 1e-9 else 0.0


def _same(gives: Sequence[str], found: Any, expected: Any, when: str, hint: str) -> None:
    for name, one, two in zip(gives, found, expected, strict=False):
        if not agree(one, two) and not _both_nan(one, two):
            raise ExerciseError(
                f"{when}, {name} is\n  {np.asarray(one).tolist()}\nand was before, or alone,\n"
                f"  {np.asarray(two).tolist()}\n\nHint: {hint}"
            )


def _both_nan(one: Any, two: Any) -> bool:
    """Whether both are equal where they are numbers: what is wrong with NaN, others say."""
    found, expected = as_array(one), as_array(two)
    if found is None or expected is None:
        return found is expected
    return np.array_equal(found, expected, equal_nan=True)
