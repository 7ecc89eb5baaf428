"""The checks of exercise hw_gan: the formulas with D, finite differences, and who moves when."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import data, kernels, models, nn, optim
from minidl.course.checks import Check, agree, entries, expect, judge, listed, numbers, parts
from minidl.course.habits import Use, check_habits, observe
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError
from minidl.tasks import Adversarial, Task
from minidl.train import Trainer

FILE = "gan.py"
NAMES = ("real", "fake", "minimax", "non_saturating", "schedule", "MyLoss", "MyTurns")
STEP = 1e-5


def loss(module: ModuleType, name: str, z: Any) -> Any:
    """A probe: the losses of this name and their derivatives."""
    return parts(getattr(module, name)(z), "losses, dz")


def schedule(module: ModuleType, asked: list[tuple[int, int]]) -> Any:
    """A probe: who is updated, in each step and for each k that is asked."""
    wanted = "should return a list of names"
    found = [module.schedule(step, k) for step, k in asked]  # each is to stay as it was given
    return [entries(turn, wanted) for turn in found]


def habits(module: ModuleType, *cases: Any) -> list[Any]:
    """A probe: what `observe` gives of some losses and their derivatives."""

    def losses(name: str, z: Any) -> Use:
        found = loss(module, name, z)
        yield
        return list(found)

    return observe(losses, *cases)


def trained(module: ModuleType, k: int, points: Any) -> list[Any]:
    """A probe: the weights of a game by `MyLoss` and `MyTurns`, after some steps."""
    with kernels.using("reference"):
        return _train(module.MyTurns(module.MyLoss(module.non_saturating), k), points)


def _train(task: Task, points: Any) -> list[Any]:
    """The weights of both networks after some steps of the game."""
    model = models.mlp_gan((2,), latent=2, hidden=8)
    trainer = Trainer(model, task, optim.SGD(0.1), seed=0, dtype="float64")
    trainer.fit(
        data.Dataset(points, np.zeros(len(points), int)), epochs=2, batch_size=8, progress=False
    )
    return [*trainer.weights().values()]


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


def _slope(name: str, z: np.ndarray) -> np.ndarray:
    """The derivative of a loss by z."""
    with np.errstate(over="ignore"):
        d = 1 / (1 + np.exp(-z))
    return {"real": d - 1, "fake": d, "minimax": -d, "non_saturating": d - 1}[name]


FORMULAS = {
    "real": "-log D, where D = 1 / (1 + exp(-z))",
    "fake": "-log(1 - D)",
    "minimax": "log(1 - D)",
    "non_saturating": "-log D",
}
FALLS = "; it falls as D takes samples for data"


def _falls(name: str) -> str:
    return FALLS if name in ("minimax", "non_saturating") else ""


def _losses(student: Student, name: str, shape: tuple[int, ...], seed: int) -> None:
    z = numbers(seed, *shape, scale=3)
    losses, _ = student.ask("loss", name, z, call=name)
    hint = f"the loss of each element is {FORMULAS[name]}"
    right = _value(name, z)
    slips = {
        f"the sign is wrong: the loss of each element is {FORMULAS[name]}{_falls(name)}": -right,
        "this is the derivative; losses come first, then dz": _slope(name, z),
        "the logarithm is the natural one": right / np.log(2),
        "each element has a loss of its own: their mean is taken later": np.full_like(
            right, right.mean() if right.size else 0),
    } | {
        f"this is what {other} should give; {name} is {FORMULAS[name]}": _value(other, z)
        for other in FORMULAS
    }  # fmt: skip
    expect(f"{listed(z=z)}the loss of {name}", losses, right, hint, slips=slips)


def _derivatives(student: Student, name: str, shape: tuple[int, ...], seed: int) -> None:
    z = numbers(seed, *shape, scale=3)
    _, dz = student.ask("loss", name, z, call=name)
    expected = (_value(name, z + STEP) - _value(name, z - STEP)) / (2 * STEP)
    hint = f"each loss is {FORMULAS[name]}; the derivative of D by z is D (1 - D)"
    d = 1 / (1 + np.exp(-z))
    slips = {
        "this is the derivative by D; that of D by z, D (1 - D), is to be multiplied with it":
            expected / (d * (1 - d)),
        f"the sign is wrong: does the loss, {FORMULAS[name]}, grow or fall with z?": -expected,
        "it is the derivative of each loss, not of their mean": expected / max(z.size, 1),
        "it is the derivative of each loss, not of their mean over the rows":
            expected / max(len(z), 1),
        "this is the loss; losses come first, then dz": _value(name, z),
    } | {
        f"this is the derivative of {other}'s loss; the loss of {name} is {FORMULAS[name]}":
            _slope(other, z)
        for other in FORMULAS if _value(name, z[:1]).sum() != _value(other, z[:1]).sum()
    }  # fmt: skip
    expect(f"{listed(z=z)}dz of {name}", dz, expected, hint, slips=slips)


Formula = Callable[[str, np.ndarray], np.ndarray]


def _taken(name: str, z: np.ndarray, found: Any, formula: Formula) -> tuple[str, int] | None:
    """Whose formula, and with which sign, gives what was found; if it is known."""
    for other in (name, *FORMULAS):
        for sign in (1, -1):
            if agree(found, sign * formula(other, z)):
                return other, sign
    return None


def _far_out(student: Student, name: str, far: float, shape: tuple[int, ...]) -> None:
    """Hold what is far out to the formula that near 0 is taken, be it right or not."""
    near, z = np.array([[-1.5], [0.5], [1.0]]), np.full(shape, far)
    found = student.ask("loss", name, z, call=name)
    ordinary = student.ask("loss", name, near, call=name)
    hint = "exp of a large number is infinite, and so is its log; np.logaddexp goes round that"
    for what, at_z, at_near, formula in zip(
        (f"the loss of {name}", f"dz of {name}"), found, ordinary, (_limit, _slope), strict=True
    ):
        by = _value if formula is _limit else _slope
        taken = _taken(name, near, at_near, by)
        other, sign = taken or (name, 1)
        words = hint if taken else "for ordinary z it is wrong, too: make that right first"
        expect(f"{listed(z=z)}{what}", at_z, sign * formula(other, z), words)


def _limit(name: str, z: np.ndarray) -> np.ndarray:
    """A loss where D, as far out as this, is 0 or 1."""
    low, high = np.maximum(0, -z), np.maximum(0, z)
    return {"real": low, "fake": high, "minimax": -high, "non_saturating": low}[name]


def _turns(student: Student, k: int, rounds: int) -> None:
    """Hold the turns of whole rounds to Algorithm 1, as it is written there: a loop in a loop."""
    expected: list[list[str]] = []
    for _ in range(rounds):
        for _ in range(k):
            expected.append(["discriminator"])
        expected[-1] = ["discriminator", "generator"]
    # From the last step to the first, and the other way round: no step knows of the ones before.
    asked = [(step, k) for step in range(len(expected))]
    asked = asked[::-1] + asked
    answers = student.ask("schedule", asked)
    for step, right in enumerate(expected):
        backwards, found = answers[len(expected) - 1 - step], answers[len(expected) + step]
        if backwards != found:
            raise ExerciseError(
                f"schedule({step}, {k}) is {backwards!r}, and {found!r} when it is asked again\n\n"
                f"Hint: it depends on step and k alone; it must not count or remember its calls"
            )
        if found != right:
            raise ExerciseError(
                f"schedule({step}, {k}) is {found!r} and should be {right!r}\n\nHint: k is "
                f"{k}: the discriminator moves in every step, and the generator once in k steps, "
                f"after the discriminator's k-th move and in the same step"
            )


def _habits(student: Student, first: str, second: str, size: int, more: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    cases = [
        [name, generator.normal(size=(rows, 2))]
        for name, rows in ((first, size), (second, size + more))
    ]
    gives = ("the loss", "dz")

    def right(name: str, z: Any) -> list[Any]:
        return [_value(name, z), _slope(name, z)]

    order = f"{first}, then {second}"
    check_habits(student, "habits", cases, ("name", "z"), gives, order, right)


def _trains(student: Student, k: int) -> None:
    points = np.random.default_rng(k).normal(size=(32, 2))
    found = student.ask("trained", k, points, call="a game with your losses and schedule")
    for one, two in zip(found, _train(Adversarial(nn.NonSaturating(), k), points), strict=True):
        if not agree(one, two):
            raise ExerciseError(
                "after 8 steps both networks have other weights than with minidl's losses and "
                "turns\n\nHint: if all checks before are passed, what differs here? There are "
                "several steps, one after the other, and batches of 8"
            )


SIZES = {
    "shape": st.sampled_from([(1, 1), (2, 1), (3, 1), (50, 1), (2, 3)]), "seed": st.integers(0, 99),
}  # fmt: skip
DISCRIMINATOR = {"name": st.sampled_from(["real", "fake"])} | SIZES
EVERYONE = st.sampled_from(["real", "fake", "minimax", "non_saturating"])
CHECKS = (
    Check("losses of the discriminator: real and fake", 15, DISCRIMINATOR, _losses),
    Check("their derivatives", 15, DISCRIMINATOR, _derivatives),
    Check("minimax: its loss", 5, {"name": st.just("minimax")} | SIZES, _losses),
    Check("minimax: its derivative", 10, {"name": st.just("minimax")} | SIZES, _derivatives),
    Check("non_saturating: its loss", 5, {"name": st.just("non_saturating")} | SIZES, _losses),
    Check("non_saturating: its derivative", 10, {"name": st.just("non_saturating")} | SIZES,
          _derivatives),
    Check("losses and derivatives far out, in any shape", 10,
          {"name": EVERYONE, "far": st.sampled_from([-50.0, 50.0, -1e4, 1e4]),
           "shape": st.sampled_from([(1, 1), (2,), (2, 1, 2), (0, 1)])}, _far_out),
    Check("schedule: Algorithm 1", 15, {"k": st.integers(1, 12), "rounds": st.integers(1, 3)},
          _turns),
    Check("dtypes kept, nothing changed in place, nothing remembered", 10,
          {"first": EVERYONE, "second": EVERYONE, "size": st.integers(1, 5),
           "more": st.integers(0, 1), "seed": st.integers(0, 99)}, _habits),
    Check("at work in a game", 5, {"k": st.integers(1, 3)}, _trains),
)  # fmt: skip
"""100 points."""
