"""The checks of exercise hw_gan: the formulas with D, finite differences, and who moves when."""

from __future__ import annotations

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
    return [entries(module.schedule(step, k), wanted) for step, k in asked]


def habits(module: ModuleType, *cases: Any) -> list[Any]:
    """A probe: what `observe` gives of all losses and their derivatives."""

    def losses(z: Any) -> Use:
        found = [value for name in FORMULAS for value in loss(module, name, z)]
        yield
        return found

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
    right = _value(name, z)
    slips = {
        f"the sign is wrong: the loss of each element is {FORMULAS[name]}": -right,
        "each element has a loss of its own: their mean is taken later": np.full_like(
            right, right.mean()),
    } | {
        f"this is what {other} should give; {name} is {FORMULAS[name]}": _value(other, z)
        for other in FORMULAS
    }  # fmt: skip
    expect(f"{listed(z=z)}the losses of {name}", losses, right, hint, 1e-9, slips)


def _derivatives(student: Student, name: str, size: int, seed: int) -> None:
    z = numbers(seed, size, 1, scale=3)
    _, dz = student.ask("loss", name, z, call=name)
    expected = (_value(name, z + STEP) - _value(name, z - STEP)) / (2 * STEP)
    hint = f"each loss is {FORMULAS[name]}; the derivative of D by z is D (1 - D)"
    d = 1 / (1 + np.exp(-z))
    slips = {
        "this is the derivative by D; that of D by z, D (1 - D), is to be multiplied with it":
            expected / (d * (1 - d)),
        f"the sign is wrong: does the loss, {FORMULAS[name]}, grow or fall with z?": -expected,
        "it is the derivative of each loss, not of their mean": expected / size,
    }  # fmt: skip
    expect(f"{listed(z=z)}dz of {name}", dz, expected, hint, slips=slips)


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
                f"schedule({step}, {k}) is {found!r} and should be {right!r}\n\nHint: in {k} steps "
                f"the discriminator moves {k} times, and after its last move the generator once"
            )


def _habits(student: Student, size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    cases = [[generator.normal(size=(rows, 2))] for rows in (size, size + 1)]
    gives = [f"{what} of {name}" for name in FORMULAS for what in ("losses", "dz")]
    check_habits(student, "habits", cases, ["z"], gives, "all losses of each")


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


SIZES = {"size": st.sampled_from([1, 2, 3, 4, 5, 50]), "seed": st.integers(0, 99)}
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
    Check("losses and derivatives far out", 10,
          {"name": EVERYONE, "far": st.sampled_from([-50.0, 50.0, -1e4, 1e4])}, _far_out),
    Check("schedule: Algorithm 1", 15, {"k": st.integers(1, 12), "rounds": st.integers(1, 3)},
          _turns),
    Check("dtypes kept, nothing changed in place, nothing remembered", 10,
          {"size": st.integers(1, 5), "seed": st.integers(0, 99)}, _habits),
    Check("at work in a game", 5, {"k": st.integers(1, 3)}, _trains),
)  # fmt: skip
"""100 points."""
