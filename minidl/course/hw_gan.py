"""The checks of exercise hw_gan: the formulas with D, finite differences, and who moves when."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl.course.checks import Check, expect, judge, numbers, parts
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError

FILE = "gan.py"
NAMES = ("real", "fake", "minimax", "non_saturating", "schedule", "MyLoss", "MyTurns")
STEP = 1e-5


def loss(module: ModuleType, name: str, z: Any) -> Any:
    """A probe: the losses of this name and their derivatives."""
    return parts(getattr(module, name)(z), "losses, dz")


def schedule(module: ModuleType, step: int, k: int) -> Any:
    """A probe: who is updated."""
    return module.schedule(step, k)


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's game."""
    return judge(student, CHECKS)


def _value(name: str, z: np.ndarray) -> np.ndarray:
    """A loss as the paper states it."""
    with np.errstate(over="ignore"):
        d, not_d = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))
    return {
        "real": -np.log(d), "fake": -np.log(not_d),
        "minimax": np.log(not_d), "non_saturating": -np.log(d),
    }[name]  # fmt: skip


FORMULAS = {
    "real": "-log D, where D = 1 / (1 + exp(-z))",
    "fake": "-log(1 - D)",
    "minimax": "log(1 - D), and so falls as D takes samples for data",
    "non_saturating": "-log D, and so falls as D takes samples for data",
}


def _losses(student: Student, name: str, size: int, seed: int) -> None:
    z = numbers(seed, size, 1, scale=3)
    losses, _ = student.ask("loss", name, z, call=name)
    hint = f"the loss of each element is {FORMULAS[name]}"
    expect(f"for z =\n{z}\nthe losses of {name}", losses, _value(name, z), hint)


def _derivatives(student: Student, name: str, size: int, seed: int) -> None:
    z = numbers(seed, size, 1, scale=3)
    _, dz = student.ask("loss", name, z, call=name)
    expected = (_value(name, z + STEP) - _value(name, z - STEP)) / (2 * STEP)
    hint = f"each loss is {FORMULAS[name]}; the derivative of D by z is D (1 - D)"
    expect(f"for z =\n{z}\ndz of {name}", dz, expected, hint)


def _far_out(student: Student, name: str, far: float) -> None:
    losses, dz = student.ask("loss", name, np.array([far]), call=name)
    hint = "exp of a large number is infinite, and so is its log; np.logaddexp goes round that"
    # As far out as this, D and 1 - D are 0 and 1.
    sure = float(far > 0)
    low, high = max(0.0, -far), max(0.0, far)
    expected = {
        "real": (low, sure - 1), "fake": (high, sure),
        "minimax": (-high, -sure), "non_saturating": (low, sure - 1),
    }[name]  # fmt: skip
    expect(f"{name} of {far:g}", losses, np.array([expected[0]]), hint)
    expect(f"dz of {name} of {far:g}", dz, np.array([expected[1]]), hint)


def _turns(student: Student, k: int, rounds: int) -> None:
    """Hold the turns of whole rounds to Algorithm 1, as it is written there: a loop in a loop."""
    expected: list[list[str]] = []
    for _ in range(rounds):
        for _ in range(k):
            expected.append(["discriminator"])
        expected[-1] = ["discriminator", "generator"]
    for step, right in enumerate(expected):
        found = student.ask("schedule", step, k)
        if found != right:
            raise ExerciseError(
                f"schedule({step}, {k}) is {found!r} and should be {right!r}\n\nHint: in {k} steps "
                f"the discriminator moves {k} times, and after its last move the generator once"
            )


SIZES = {"size": st.integers(1, 5), "seed": st.integers(0, 99)}
DISCRIMINATOR = {"name": st.sampled_from(["real", "fake"])} | SIZES
EVERYONE = st.sampled_from(["real", "fake", "minimax", "non_saturating"])
CHECKS = (
    Check("losses of the discriminator: real and fake", 15, DISCRIMINATOR, _losses),
    Check("their derivatives", 20, DISCRIMINATOR, _derivatives),
    Check("minimax: its loss", 5, {"name": st.just("minimax")} | SIZES, _losses),
    Check("minimax: its derivative", 10, {"name": st.just("minimax")} | SIZES, _derivatives),
    Check("non_saturating: its loss", 5, {"name": st.just("non_saturating")} | SIZES, _losses),
    Check("non_saturating: its derivative", 10, {"name": st.just("non_saturating")} | SIZES,
          _derivatives),
    Check("losses and derivatives far out", 15,
          {"name": EVERYONE, "far": st.sampled_from([-50.0, 50.0, -1e4, 1e4])}, _far_out),
    Check("schedule: Algorithm 1", 20, {"k": st.integers(1, 6), "rounds": st.integers(1, 3)},
          _turns),
)  # fmt: skip
"""100 points."""
