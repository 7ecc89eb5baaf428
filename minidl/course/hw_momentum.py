"""The checks of exercise hw_momentum: closed-form ways down a parabola, one vector or parts."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl.course.checks import Check, expect, judge, numbers
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError

FILE, NAMES = "momentum.py", ("Momentum",)


def names(module: ModuleType, momentum: float, nesterov: bool) -> Any:
    """A probe: the names of the slots."""
    return module.Momentum(0.1, momentum, nesterov).slots


def descend(
    module: ModuleType,
    lrs: Sequence[float],
    momentum: float,
    nesterov: bool,
    w: Any,
    a: Any,
    parts: Sequence[Sequence[int]],
) -> list[Any]:
    """A probe: the weights after each step down ``(a w²).sum() / 2``, one step for each rate.

    The vector is updated in parts, from one index to another.
    """
    slots: dict[str, Any] = {}
    way = []
    for step, lr in enumerate(lrs):
        optimizer = module.Momentum(lr, momentum, nesterov)
        slots = slots or {name: np.zeros_like(w) for name in optimizer.slots}
        grads = a * w
        given = grads.copy()
        for first, last in parts:
            part = slice(first, last)
            own = {name: vector[part] for name, vector in slots.items()}
            optimizer.step(w[part], grads[part], own, step)
        if not np.array_equal(grads, given):
            raise ExerciseError("grads is not to be changed")
        way.append(w.copy())
    return way


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's optimizer."""
    return judge(student, CHECKS)


def _slots(student: Student, momentum: float, nesterov: bool) -> None:
    found = student.ask("names", momentum, nesterov, call="slots")
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ExerciseError(f"slots should be a tuple of names, not {found!r}")
    wanted = 1 if momentum else 0
    if len(found) != wanted:
        raise ExerciseError(
            f"slots has {len(found)} names and should have {wanted}\n\nHint: what has to be known "
            f"of the steps before, with a momentum of {momentum:g}?"
        )


def _closed_form(a: float, w: float, lr: float, momentum: float, nesterov: bool, n: int) -> float:
    """The weight after n steps down a w² / 2.

    A step is linear in (w, v), so n of them are the n-th power of a matrix.
    """
    kept, gained = momentum, a  # the new v is momentum · v + a w
    if nesterov:
        step = [[1 - lr * (a + momentum * gained), -lr * momentum * kept], [gained, kept]]
    else:
        step = [[1 - lr * gained, -lr * kept], [gained, kept]]
    return float((np.linalg.matrix_power(np.array(step), n) @ [w, 0])[0])


def _plain(student: Student, size: int, steps: int, seed: int) -> None:
    _parabola(student, 0.0, False, size, steps, seed)


def _parabola(
    student: Student, momentum: float, nesterov: bool, size: int, steps: int, seed: int
) -> None:
    lr, w, a = 0.25, numbers(seed, size), np.abs(numbers(seed + 1, size)) + 0.5
    way = student.ask("descend", steps * [lr], momentum, nesterov, w, a, [(0, size)], call="step")
    for n, found in enumerate(way, start=1):
        expected = [
            _closed_form(*each, lr, momentum, nesterov, n) for each in zip(a, w, strict=True)
        ]
        hint = "how much of v is kept, what is added to it, and what is w moved by?"
        if np.array_equal(found, w):
            hint = "values is to be changed in place: values -= ..., not values = values - ..."
        elif n == 1:
            hint = "before the first step v is 0: what is it when the weights are moved?"
        elif not momentum:
            hint = "without momentum, a step knows nothing of those before"
        expect(
            f"lr = {lr}, w = {w}, gradient {a} · w: after step {n}, w", found, np.array(expected),
            hint,
        )  # fmt: skip


def _rates(student: Student, momentum: float, nesterov: bool, rates: list[float]) -> None:
    """Hold a run whose rate changes to the sum that PyTorch documents."""
    w, a = np.array([1.0]), np.array([1.0])
    way = student.ask("descend", rates, momentum, nesterov, w, a, [(0, 1)], call="step")
    value, past = 1.0, []
    for n, (lr, found) in enumerate(zip(rates, way, strict=True), start=1):
        past.append(value)
        velocity = sum(momentum**age * g for age, g in enumerate(reversed(past)))
        value -= lr * (value + momentum * velocity if nesterov else velocity)
        hint = "v sums up gradients; the rate of this step comes in when w is moved, not before"
        expect(f"w = 1, gradient w: after step {n}, w", found, np.array([value]), hint)


def _in_parts(student: Student, size: int, cut: int, nesterov: bool, seed: int) -> None:
    cut = min(cut, size)
    lrs, w, a = [0.2, 0.2, 0.2], numbers(seed, size), np.abs(numbers(seed + 1, size)) + 0.5
    parts = [(cut, size), (0, cut)]
    way = student.ask("descend", lrs, 0.9, nesterov, w, a, parts, call="step")
    expected = [_closed_form(*each, 0.2, 0.9, nesterov, 3) for each in zip(a, w, strict=True)]
    hint = "every element by itself: no sums over all weights, no memory outside of slots"
    expect(f"updated in parts {parts}, w after 3 steps", way[-1], np.array(expected), hint)


KEPT = st.sampled_from([0.5, 0.9])
WAY = {"size": st.integers(1, 4), "steps": st.integers(1, 6), "seed": st.integers(0, 99)}
CHECKS = (
    Check("slots: what has to be kept", 10,
          {"momentum": st.sampled_from([0.0, 0.9]), "nesterov": st.booleans()}, _slots),
    Check("without momentum: down a parabola", 15, WAY, _plain),
    Check("momentum: down a parabola", 25,
          {"momentum": KEPT, "nesterov": st.just(False)} | WAY, _parabola),
    Check("Nesterov's: down a parabola", 25,
          {"momentum": KEPT, "nesterov": st.just(True)} | WAY, _parabola),
    Check("a learning rate that changes", 15,
          {"momentum": KEPT, "nesterov": st.booleans(),
           "rates": st.lists(st.sampled_from([0.1, 0.2, 0.4]), min_size=2, max_size=5)}, _rates),
    Check("a vector that is updated in parts", 10,
          {"size": st.integers(1, 6), "cut": st.integers(0, 5), "nesterov": st.booleans(),
           "seed": st.integers(0, 99)}, _in_parts),
)  # fmt: skip
"""100 points."""
