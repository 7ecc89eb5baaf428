"""The checks of exercise hw_staleness: weights by formula, and a delayed descent with them."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl.course.checks import Check, expect, judge
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError
from minidl.sim.formulas import stability_edge

FILE, NAMES = "staleness.py", ("ByGradient", "ByMean")
EACH, MEAN = NAMES


def weights(module: ModuleType, name: str, updates: Sequence[Sequence[int]]) -> list[Any]:
    """A probe: the weights for the gradients of each update, given their staleness."""
    optimizer = getattr(module, name)(0.1)
    found = []
    for staleness in updates:
        each = optimizer.weights(tuple(staleness), (0.0,) * len(staleness))
        if not isinstance(each, tuple | list):
            raise ExerciseError(f"should return a tuple of numbers, not {each!r:.200}")
        found.append(np.array([float(weight) for weight in each]))
    return found


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's weights."""
    return judge(student, CHECKS)


def _ask(student: Student, name: str, updates: Sequence[Sequence[int]]) -> Any:
    return student.ask("weights", name, updates, call=f"{name}.weights")


def _each(student: Student, staleness: list[int]) -> None:
    (found,) = _ask(student, EACH, [staleness])
    hint = "each gradient by itself: what it has missed divides it, unless that is less than 1"
    expect("what weights returns", found, np.divide(1, np.maximum(1, staleness)), hint)


def _mean(student: Student, staleness: list[int]) -> None:
    (found,) = _ask(student, MEAN, [staleness])
    wanted = np.full(len(staleness), 1 / max(1, sum(staleness) / len(staleness)))
    hint = "as many numbers as gradients, all the same: one over the mean of what was missed"
    expect("what weights returns", found, wanted, hint)


def _fresh(student: Student, rule: str, gradients: int) -> None:
    (found,) = _ask(student, rule, [[0] * gradients])
    hint = "without stale gradients this is plain gradient descent"
    expect("what weights returns", found, np.ones(gradients), hint)


def _rescued(student: Student, rule: str, missed: int, beyond: float) -> None:
    """Descend w²/2, each update by one gradient that has missed so many, once there were any."""
    lr = beyond * stability_edge(missed)
    scales = _ask(student, rule, [[tau] for tau in range(missed + 1)])
    for scale in scales:
        expect("the number of weights for one gradient", len(scale), 1)
    way = [1.0]
    for step in range(40 * (missed + 1)):
        tau = min(step, missed)
        way.append(way[-1] - lr * float(scales[tau][0]) * way[step - tau])
    rest = max(map(abs, way[-missed - 1 :]))
    if not rest < 0.1:
        raise ExerciseError(
            f"w begins at 1, its gradient is w, and every update has missed {missed} others. With "
            f"lr = {lr:.3f}, which\nis {beyond:g} times the edge of stability, abs(w) is "
            f"{rest:.3g} after {len(way) - 1} updates and should\nbe below 0.1\n\nHint: the edge "
            f"falls as 1/τ. Do your weights fall as fast?"
        )


STALENESS = {"staleness": st.lists(st.integers(0, 40), min_size=1, max_size=6)}
RULE = {"rule": st.sampled_from(NAMES)}
CHECKS = (
    Check("by gradient: each is multiplied by 1/max(1, τ)", 35, STALENESS, _each),
    Check("by mean: all are multiplied by 1/max(1, mean of τ)", 35, STALENESS, _mean),
    Check("fresh gradients are left as they are", 10, RULE | {"gradients": st.integers(1, 5)},
          _fresh),
    Check("a run beyond the edge of stability comes to rest", 20,
          RULE | {"missed": st.integers(3, 12), "beyond": st.sampled_from([1.25, 1.5, 1.9])},
          _rescued),
)  # fmt: skip
"""100 points."""
