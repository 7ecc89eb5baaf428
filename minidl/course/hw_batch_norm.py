"""The checks of exercise hw_batch_norm: a formula, and finite differences of it."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl.course.checks import Check, expect, gradient, judge, numbers, parts
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.kernels import reference

FILE, NAMES = "batch_norm.py", ("forward", "backward")
EPS = 1e-3
Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def forward(module: ModuleType, x: Any, gamma: Any, beta: Any) -> Any:
    """A probe: y."""
    return parts(module.forward(x, gamma, beta, EPS), "y, saved")[0]


def backward(module: ModuleType, cases: Sequence[Case]) -> list[Any]:
    """A probe: dx, dgamma, dbeta of several batches, all forward passes coming first."""
    kept = [
        parts(module.forward(x, gamma, beta, EPS), "y, saved")[1] for x, gamma, beta, _ in cases
    ]
    gradients = [module.backward(case[3], saved) for case, saved in zip(cases, kept, strict=True)]
    return [parts(found, "dx, dgamma, dbeta") for found in gradients]


def unchanged(module: ModuleType, x: Any, gamma: Any, beta: Any, dy: Any) -> list[Any]:
    """A probe: x, gamma, beta and dy as they are after both passes."""
    backward(module, [(x, gamma, beta, dy)])
    return [x, gamma, beta, dy]


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's batch norm."""
    return judge(student, CHECKS)


def _case(M: int, C: int, seed: int) -> Case:
    """A batch x with its gamma, beta and dy; gamma is not 0."""
    gamma = numbers(seed + 2, C)
    gamma += np.where(gamma < 0, -0.5, 0.5)
    return numbers(seed, M, C), gamma, numbers(seed + 1, C), numbers(seed + 3, M, C)


def _forward(student: Student, M: int, C: int, seed: int, mean: float = 0.0) -> None:
    x, gamma, beta, _ = _case(M, C, seed)
    x += mean
    hint = "statistics are those of a column, over its M rows; the variance divides by M"
    if M == 1:
        hint = "a column of one row is its own mean, its variance is 0, and y is beta"
    if mean:
        hint = "E[x²] - E[x]² is the difference of two large numbers; square x - mean instead"
    expected = gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + EPS) + beta
    given = f"x =\n{x}\ngamma = {gamma}, beta = {beta}, eps = {EPS}\n"
    expect(f"{given}y", student.ask("forward", x, gamma, beta), expected, hint)


def _parameters(student: Student, M: int, C: int, seed: int) -> None:
    case = _case(M, C, seed)
    ((_, dgamma, dbeta),) = student.ask("backward", [case])
    _, dgamma_expected, dbeta_expected = _gradients(case)
    expect("dbeta", dbeta, dbeta_expected, "beta is added to every row of its column")
    hint = "gamma multiplies the normalised x of every row of its column"
    expect("dgamma", dgamma, dgamma_expected, hint)


def _input(student: Student, M: int, C: int, seed: int) -> None:
    case = _case(M, C, seed)
    ((dx, _, _),) = student.ask("backward", [case])
    hint = "the way through the variance: dx has (but for eps) no part along the normalised x"
    if M == 1:
        hint = "y is beta whatever x is, so its gradient by x is 0"
    elif isinstance(dx, np.ndarray) and np.abs(dx.sum(axis=0)).max() > 1e-6:
        hint = "the way through the mean: every column of dx has to sum to 0"
    expect("dx", dx, _gradients(case)[0], hint)


def _several(student: Student, M: int, other: int, C: int, seed: int) -> None:
    cases = [_case(M, C, seed), _case(other, C, seed + 50)]
    for number, (found, case) in enumerate(
        zip(student.ask("backward", cases), cases, strict=True), start=1
    ):
        for name, ours, expected in zip(
            ("dx", "dgamma", "dbeta"), found, _gradients(case), strict=True
        ):
            hint = "what backward needs has to be in `saved`, not in a global or on the function"
            expect(f"with two batches under way, {name} of number {number}", ours, expected, hint)
        after = student.ask("unchanged", *case)
        for name, given, left in zip(("x", "gamma", "beta", "dy"), case, after, strict=True):
            expect(f"{name}, which is not to be changed,", left, given)


def _gradients(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By x, gamma and beta: finite differences of minidl's definition."""
    x, gamma, beta, dy = (array.copy() for array in case)

    def loss() -> float:
        return float((reference.batch_norm(x, gamma, beta, EPS)[0] * dy).sum())

    return gradient(loss, x), gradient(loss, gamma), gradient(loss, beta)


ROWS = {"M": st.integers(2, 7), "C": st.integers(1, 4), "seed": st.integers(0, 99)}
ONE_ROW = ROWS | {"M": st.just(1)}
FAR = ROWS | {"mean": st.sampled_from([1e4, 1e6])}
CHECKS = (
    Check("y: every column normalised, scaled and shifted", 20, ROWS, _forward),
    Check("y of one row: beta", 10, ONE_ROW, _forward),
    Check("y where the mean is large", 10, FAR, _forward),
    Check("dgamma and dbeta", 15, ROWS, _parameters),
    Check("dx: the three ways from x to y", 25, ROWS, _input),
    Check("dx of one row: 0", 10, ONE_ROW, _input),
    Check("two batches under way at once, and nothing changed in place", 10,
          ROWS | {"other": st.integers(1, 7)}, _several),
)  # fmt: skip
"""100 points."""
