"""The checks of exercise hw_batch_norm: a formula, and finite differences of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import data, kernels, nn, optim
from minidl.course.checks import (
    Check,
    agree,
    as_array,
    expect,
    gradient,
    judge,
    listed,
    numbers,
    parts,
)
from minidl.course.habits import Use, changed, check_habits, observe
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError
from minidl.kernels import reference
from minidl.train import Trainer

FILE, NAMES = "batch_norm.py", ("forward", "backward")
TAKES, GIVES = ("x", "gamma", "beta", "eps", "dy"), ("y", "dx", "dgamma", "dbeta")
Case = tuple[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray]


def forward(module: ModuleType, x: Any, gamma: Any, beta: Any, eps: float) -> Any:
    """A probe: y."""
    return parts(module.forward(x, gamma, beta, eps), "y, saved")[0]


def backward(module: ModuleType, x: Any, gamma: Any, beta: Any, eps: float, dy: Any) -> Any:
    """A probe: dx, dgamma, dbeta."""
    saved = parts(module.forward(x, gamma, beta, eps), "y, saved")[1]
    return parts(module.backward(dy, saved), "dx, dgamma, dbeta")


def habits(module: ModuleType, *cases: Case) -> list[Any]:
    """A probe: what `observe` gives of both passes."""

    def passes(x: Any, gamma: Any, beta: Any, eps: float, dy: Any) -> Use:
        y, saved = parts(module.forward(x, gamma, beta, eps), "y, saved")
        yield
        return [y, *parts(module.backward(dy, saved), "dx, dgamma, dbeta")]

    return observe(passes, *cases)


def trained(module: ModuleType, x: Any, labels: Any) -> list[Any]:
    """A probe: the weights of a network with `MyBatchNorm`, after some steps."""
    if not hasattr(module, "MyBatchNorm"):
        raise ExerciseError("the class MyBatchNorm is missing: it stands below your functions")
    with kernels.using("reference"):
        return _train(module.MyBatchNorm, x, labels)


def _train(norm: Callable[[], nn.Layer], x: Any, labels: Any) -> list[Any]:
    """The weights after some steps of a network with two layers of batch norm."""
    model = nn.Sequential(nn.Linear(6), norm(), nn.ReLU(), nn.Linear(5), norm(), nn.Linear(3))
    trainer = Trainer(model, nn.CrossEntropy(), optim.SGD(0.1), seed=0, dtype="float64")
    trainer.fit(data.Dataset(x, labels), epochs=2, batch_size=8, progress=False)
    # Running variances may be those of a batch or of all there is: the task leaves it open.
    return [value for name, value in trainer.weights().items() if "variance" not in name]


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's batch norm."""
    case = _case(3, 2, 0, 0.1)
    return judge(student, CHECKS, lambda student: changed(student, "habits", case, TAKES))


def _case(M: int, C: int, seed: int, eps: float) -> Case:
    """A batch x with its gamma, beta, eps and dy.

    In every fifth one all rows of a column are equal, in another fifth a gamma is 0.
    """
    x, gamma = numbers(seed, M, C), numbers(seed + 2, C)
    gamma += np.where(gamma < 0, -0.5, 0.5)
    if seed % 5 == 3:
        x[:, -1] = x[0, -1]
    if seed % 5 == 4:
        gamma[-1] = 0
    return x, gamma, numbers(seed + 1, C), eps, numbers(seed + 3, M, C)


NAN = "nan comes of a division by 0; a gamma may be 0, and a variance, too"
InvStd = Callable[[np.ndarray, float], np.ndarray]
"""What x - mean is multiplied with, given x and eps."""


def _right(x: np.ndarray, eps: float) -> np.ndarray:
    return np.asarray(1 / np.sqrt(x.var(axis=0) + eps))


def _with(own: float) -> InvStd:
    return lambda x, eps: np.asarray(1 / np.sqrt(x.var(axis=0) + own))


SLIPS: dict[str, InvStd] = {
    "your variance divides by M - 1; here it divides by M":
        lambda x, eps: 1 / np.sqrt(x.var(axis=0, ddof=1) + eps),
    "your eps is added to the root; it belongs under it: sqrt(variance + eps)":
        lambda x, eps: 1 / (x.std(axis=0) + eps),
    "you divide by variance + eps; it should be by its root":
        lambda x, eps: 1 / (x.var(axis=0) + eps),
    "eps is not added to the variance: sqrt(variance + eps)": _with(0),
    "you use an eps of your own, 1e-3; take the argument `eps`": _with(1e-3),
    "you use an eps of your own, 1e-5; take the argument `eps`": _with(1e-5),
    "you use an eps of your own, 1e-8; take the argument `eps`": _with(1e-8),
    "eps is added to the variance, even where that is larger: sqrt(variance + eps)":
        lambda x, eps: 1 / np.sqrt(np.maximum(x.var(axis=0), eps)),
}  # fmt: skip
"""Slips in the forward pass. Who makes one can have the backward pass right all the same."""


def _normal(x: np.ndarray, inv_std: InvStd, eps: float) -> np.ndarray:
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        return np.asarray((x - x.mean(axis=0)) * inv_std(x, eps))


def _forward(student: Student, M: int, C: int, seed: int, eps: float) -> None:
    x, gamma, beta, eps, _ = _case(M, C, seed, eps)
    hint = "statistics are those of a column, over its M rows"
    if M == 1:
        hint = "a column of one row is its own mean, its variance is 0, and y is beta"
    normal = _normal(x, _right, eps)
    slips = {what: gamma * _normal(x, slip, eps) + beta for what, slip in SLIPS.items()} | {
        "beta is missing: y = gamma · normal + beta": gamma * normal,
        "gamma is missing: y = gamma · normal + beta": normal + beta,
        "gamma multiplies and beta is added; you do it the other way round": beta * normal + gamma,
        "the statistics are those of each column by itself, not of all numbers":
            gamma * (x - x.mean()) / np.sqrt(x.var() + eps) + beta,
    }  # fmt: skip
    found = student.ask("forward", x, gamma, beta, eps)
    inputs = listed(x=x, gamma=gamma, beta=beta, eps=eps)
    expect(f"{inputs}y", found, gamma * normal + beta, hint, slips=slips)


def _far(student: Student, M: int, C: int, seed: int, eps: float, mean: float) -> None:
    """Hold y and dx to those of the same batch without its mean, be they right or not."""
    case = near, gamma, beta, eps, dy = _case(M, C, seed, eps)
    x = near + mean
    near = x - mean  # with the last digits that a large mean costs every one
    inputs = listed(x=x, gamma=gamma, beta=beta, eps=eps)
    hint = "E[x²] - E[x]² is the difference of two large numbers; square x - mean instead"
    y = student.ask("forward", x, gamma, beta, eps)
    if _moves(alone := student.ask("forward", near, gamma, beta, eps)):
        expect(f"{inputs}y, which is another one without the mean,", y, alone, hint)
    else:
        expect(f"{inputs}y", y, gamma * _normal(x, _right, eps) + beta)
    alone = student.ask("backward", near, *case[1:])[0]
    dx = student.ask("backward", x, *case[1:])[0]
    if _moves(alone):
        expect(f"{inputs}  dy = {dy.tolist()}\nand dx, which is another one without the mean,",
               dx, alone, hint)  # fmt: skip


def _has_nan(found: Any) -> bool:
    array = as_array(found)
    return array is not None and bool(np.isnan(array).any())


def _moves(found: Any) -> bool:
    """Whether it is an array of numbers that are not all the same."""
    return isinstance(found, np.ndarray) and bool(np.ptp(found) > 0)


def _followed(student: Student) -> InvStd:
    """What the student's forward pass does, if it is right or a known slip."""
    x, gamma, beta, eps, _ = _case(5, 4, 0, 0.1)
    x[:, ::2] /= 8  # variances on both sides of eps
    y = student.ask("forward", x, gamma, beta, eps)
    found = (
        inv_std
        for inv_std in (_right, *SLIPS.values())
        if agree(y, gamma * _normal(x, inv_std, eps) + beta)
    )
    return next(found, _right)


def _parameters(student: Student, M: int, C: int, seed: int, eps: float) -> None:
    case = _case(M, C, seed, eps)
    x, _, _, _, dy = case
    _, dgamma, dbeta = student.ask("backward", *case)
    inputs = _given(case)
    sums = dy.sum(axis=0)
    expected = (dy * _normal(x, _followed(student), eps)).sum(axis=0)
    hint = "beta is added to every row of its column"
    mean = "all M rows add to it: it is a sum over them, not a mean"
    order = "you return dgamma and dbeta in the other order"
    expect(f"{inputs}dbeta", dbeta, sums, hint, slips={mean: sums / M, order: expected})
    hint = "gamma multiplies the normalised x of every row of its column"
    if _has_nan(dgamma):
        hint = NAN
    slips = {mean: expected / M, "gamma multiplies (x - mean) / sqrt(variance + eps), not x":
             (dy * x).sum(axis=0), "by gamma, not by the normalised x: that is divided by the root":
             (dy * (x - x.mean(axis=0))).sum(axis=0)} | {
        f"in backward {words}": (dy * _normal(x, slip, eps)).sum(axis=0)
        for words, slip in SLIPS.items()
    }  # fmt: skip
    expect(f"{inputs}dgamma", dgamma, expected, hint, slips=slips)


def _input(student: Student, M: int, C: int, seed: int, eps: float) -> None:
    case = _case(M, C, seed, eps)
    x, gamma, _, _, dy = case
    dx = student.ask("backward", *case)[0]
    expected = _gradient(case)
    normal = _normal(x, _right, eps)
    hint = "the way through the variance: dx has (but for eps) no part along the normalised x"
    if _has_nan(dx):
        hint = NAN
    elif np.shape(dx) == x.shape and np.abs(np.sum(dx, axis=0)).max() > 1e-6:
        hint = "the way through the mean: every column of dx has to sum to 0"
    inv_std = _right(x, eps)
    ways = dy - dy.mean(axis=0), normal * (dy * normal).mean(axis=0)
    slips = {
        "dx is not 0 here: only with one row is y the same whatever x is": np.zeros_like(x),
        "gamma is missing: dnormal = gamma · dy": inv_std * (ways[0] - ways[1]),
        "in this way sums over the M rows are not divided by M": gamma * inv_std * (
            dy - dy.sum(axis=0) - normal * (dy * normal).sum(axis=0)),
        "1 / sqrt(variance + eps) is missing: how fast does y change with x?":
            expected / inv_std,
        "1 / sqrt(variance + eps) is a factor of all three ways, once": expected * inv_std,
        "the sign of the way through the variance": gamma * inv_std * (ways[0] + ways[1]),
    } | {f"in backward {words}": _carried(case, slip) for words, slip in SLIPS.items()}  # fmt: skip
    follows = _followed(student)
    if follows is not _right and (
        agree(dx, _carried(case, follows)) or agree(dx, _gradient(case, follows))
    ):
        return  # The slip is in the forward pass; this is the way back through it.
    expect(f"{_given(case)}dx", dx, expected, hint, slips=slips)


def _carried(case: Case, inv_std: InvStd) -> np.ndarray:
    """dx by the formula that is right for the right `inv_std`."""
    x, gamma, _, eps, dy = case
    with np.errstate(all="ignore"):
        normal = _normal(x, inv_std, eps)
        ways = dy - dy.mean(axis=0) - normal * (dy * normal).mean(axis=0)
        return np.asarray(gamma * inv_std(x, eps) * ways)


def _one_row_back(student: Student, C: int, seed: int, eps: float) -> None:
    case = _case(1, C, seed, eps)
    dx, dgamma, dbeta = student.ask("backward", *case)
    inputs = _given(case)
    hint = "y is beta whatever x is, so its gradient by x is 0"
    expect(f"{inputs}dx", dx, 0 * case[0], hint)
    hint = "a column of one row is its own mean, so the normalised x is 0"
    expect(f"{inputs}dgamma", dgamma, 0 * case[1], hint)
    expect(f"{inputs}dbeta", dbeta, case[4][0], "y is beta: what of dy reaches it?")


def _habits(student: Student, M: int, other: int, C: int, seed: int, eps: float) -> None:
    generator = np.random.default_rng(seed)

    def case(rows: int, eps: float) -> list[Any]:
        x, gamma, beta, dy = (generator.normal(size=s) for s in ((rows, C), C, C, (rows, C)))
        return [x, gamma, beta, eps, dy]

    def right(x: Any, gamma: Any, beta: Any, eps: float, dy: Any) -> list[Any]:
        normal = _normal(x, _right, eps)
        dx = _carried((x, gamma, beta, eps, dy), _right)
        return [gamma * normal + beta, dx, (dy * normal).sum(axis=0), dy.sum(axis=0)]

    order = "forward of each, then backward of each"
    check_habits(
        student, "habits", [case(M, eps), case(other, 2 * eps)], TAKES, GIVES, order, right
    )


def _trains(student: Student, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, labels = generator.normal(size=(24, 4)), generator.integers(0, 3, 24)
    found = student.ask("trained", x, labels, call="a network with two of your layers")
    for one, two in zip(found, _train(nn.BatchNorm, x, labels), strict=True):
        if not agree(one, two):
            raise ExerciseError(
                "after 6 steps a network with two layers of yours has other weights than one "
                "with minidl's batch norm\n\nHint: if all checks before are passed, what differs "
                "here? eps is 1e-5, and the second layer's forward pass comes before the first "
                "one's backward pass"
            )


def _given(case: Case) -> str:
    x, gamma, beta, eps, dy = case
    return listed(x=x, gamma=gamma, beta=beta, eps=eps, dy=dy)


def _gradient(case: Case, inv_std: InvStd | None = None) -> np.ndarray:
    """By x: finite differences of minidl's definition, or of a slip."""
    x, gamma, beta, eps, dy = case
    x = x.copy()

    def loss() -> float:
        if inv_std is None:
            y = reference.batch_norm(x, gamma, beta, eps)[0]
        else:
            y = gamma * _normal(x, inv_std, eps) + beta
        return float((y * dy).sum())

    return gradient(loss, x)


EPS = {"eps": st.sampled_from([1e-3, 1e-2, 0.1, 1.0])}
ROWS = {
    "M": st.sampled_from([2, 3, 4, 5, 6, 7, 40]), "C": st.sampled_from([1, 2, 3, 4, 9]),
    "seed": st.integers(0, 99),
} | EPS  # fmt: skip
ONE_ROW = ROWS | {"M": st.just(1)}
FAR = ROWS | {"seed": st.integers(0, 19).map(lambda n: 5 * n), "mean": st.sampled_from([1e4, 1e6])}
CHECKS = (
    Check("y: every column normalised, scaled and shifted", 20, ROWS, _forward),
    Check("y of one row: beta", 10, ONE_ROW, _forward),
    Check("y and dx where the mean is large", 10, FAR, _far),
    Check("dgamma and dbeta", 15, ROWS, _parameters),
    Check("dx: the three ways from x to y", 20, ROWS, _input),
    Check("one row on the way back: dx and dgamma are 0", 5,
          {name: of for name, of in ROWS.items() if name != "M"}, _one_row_back),
    Check("dtypes kept, nothing changed in place, batches kept apart", 15,
          {"M": st.integers(1, 7), "other": st.integers(1, 7), "C": st.integers(1, 4),
           "seed": st.integers(0, 99)} | EPS, _habits),
    Check("at work in a network", 5, {"seed": st.integers(0, 4)}, _trains),
)  # fmt: skip
"""100 points."""
