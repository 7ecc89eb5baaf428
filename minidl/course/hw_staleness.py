"""The checks of exercise hw_staleness: weights by formula, and a delayed descent with them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import data, kernels, nn, optim, plans, sim, strategy
from minidl.course.checks import Check, agree, entries, expect, judge
from minidl.course.habits import refuse_change
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError
from minidl.sim.formulas import stability_edge
from minidl.train import Trainer

FILE, NAMES = "staleness.py", ("ByGradient", "ByMean")
EACH, MEAN = NAMES


def weights(module: ModuleType, name: str, updates: Sequence[Sequence[int]]) -> list[Any]:
    """A probe: the weights for the gradients of each update, given their staleness.

    The learning rate, and how far the weights have moved, are others each time.
    """
    return [_weights(getattr(module, name), staleness) for staleness in updates]


def _weights(rule: Any, staleness: Sequence[int]) -> np.ndarray:
    wanted = "should return a tuple of numbers"
    one, two = (
        _numbers(entries(rule(lr).weights(form(staleness), moved), wanted))
        for lr, form, moved in (
            (0.1, tuple, (0.0,) * len(staleness)),
            (0.7, list, [0.5 + n for n in range(len(staleness))]),
        )
    )
    if not np.array_equal(one, two, equal_nan=True):
        raise ExerciseError(
            f"for a staleness of {list(staleness)} weights is {one.tolist()}, and {two.tolist()} "
            f"with another learning rate and other distances: it depends on the staleness alone, "
            f"not on these, nor on calls before"
        )
    return one


def _numbers(weights: list[Any]) -> np.ndarray:
    """Weights as an array; of float32 if one of them is."""
    single = any(isinstance(weight, np.float32) for weight in weights)
    return np.array([float(weight) for weight in weights], np.float32 if single else np.float64)


def habits(module: ModuleType, name: str, staleness: Sequence[int]) -> None:
    """A probe: that lists are left as they are, and what was returned as well."""
    rule, given, distances = getattr(module, name)(0.1), [*staleness], [0.5 + n for n in staleness]
    wanted = "should return a tuple of numbers"
    now = [float(weight) for weight in entries(rule.weights(given, distances), wanted)]
    refuse_change("staleness", [*staleness], given)
    refuse_change("distances", [0.5 + n for n in staleness], distances)
    held = rule.weights(given, distances)
    rule.weights([1 + tau for tau in given], distances)
    later = [float(weight) for weight in entries(held, wanted)]
    if not np.array_equal(now, later, equal_nan=True):
        raise ExerciseError(
            f"for a staleness of {given} weights is {now}, and once another one has been asked for "
            f"it is {later}: keep nothing from call to call"
        )


def trained(module: ModuleType, name: str, lr: float) -> list[float]:
    """A probe: abs(w) in a real run, as `_train` has it."""
    with kernels.using("reference"):
        return _train(getattr(module, name)(lr))


def _train(optimizer: optim.Optimizer) -> list[float]:
    """abs(w) after each epoch of a descent down w² with 4 learners, in virtual time."""
    ones = data.Dataset(np.ones((4, 1)), np.zeros((4, 1)))
    model = nn.Sequential(nn.Linear(1, bias=False, weight_init=nn.init.ones))
    how = strategy.ParameterServer(4, plans.Softsync(2), straggler=sim.Exponential(1.0))
    trainer = Trainer(model, nn.MSE(), optimizer, dtype="float64")
    history = trainer.fit(
        ones, epochs=4, batch_size=4, strategy=how, clock="virtual", progress=False,
        validation=ones,
    )  # fmt: skip
    losses = [epoch.validation for epoch in history.epochs]
    return [loss["loss"] ** 0.5 for loss in losses if loss is not None]


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's weights."""
    return judge(student, CHECKS)


def _ask(student: Student, name: str, updates: Sequence[Sequence[int]]) -> Any:
    return student.ask("weights", name, updates, call=f"{name}.weights")


def _compared(
    student: Student, name: str, staleness: list[int], wanted: Any, hint: str, slips: dict[str, Any]
) -> None:
    (found,) = _ask(student, name, [staleness])
    single = found.dtype == np.float32 and found.shape == wanted.shape
    if not (single and np.allclose(found, wanted, rtol=1e-6, atol=0)):
        if not agree(found, wanted, 1e-9) and agree(found, wanted, 1e-3):
            raise ExerciseError(
                f"what weights returns is\n  {found.tolist()}\nand should be\n  "
                f"{wanted.tolist()}\n\nHint: only the first digits are right: round nothing, and "
                f"compute in Python's floats or float64"
            )
        expect("what weights returns", found, wanted, hint, 1e-9, slips)
    student.ask("habits", name, staleness, call=f"{name}.weights")


def _each(student: Student, staleness: list[int]) -> None:
    hint = "each gradient by itself: what it has missed divides it, in the order in which they are"
    tau = np.array(staleness, float)
    slips = {
        "a gradient that has missed 1 is divided by 1, not by 2: max(1, τ), not 1 + τ":
            1 / (1 + tau),
        "the whole of τ divides, not its root": tau**-0.5,
        "τ itself divides, not its square": tau**-2,
        "each gradient by itself; this is one number for all": np.full_like(tau, 1 / tau.mean()),
        "what was missed divides; this multiplies with it": tau,
        "the fraction counts: 1 / τ, not 1 // τ": 1 // tau,
        "the weights need not add up to anything: they are not to be normed": _normed(1 / tau),
        "their mean is taken by the server, not by you": 1 / tau / len(tau),
    }  # fmt: skip
    _compared(student, EACH, staleness, 1 / tau, hint, slips)


def _normed(weights: Any) -> Any:
    return weights / weights.sum()


def _mean(student: Student, staleness: list[int]) -> None:
    hint = "as many numbers as gradients, all the same: one over the mean of what was missed"
    tau = np.array(staleness, float)
    mean = tau.mean()
    if mean < 1:  # has a check of its own
        return
    slips = {
        "one over the mean of what was missed, not the mean of one over it":
            np.full_like(tau, (1 / np.maximum(1, tau)).mean()),
        "first the mean of all τ, as they are; only then max(1, ...)":
            np.full_like(tau, 1 / np.maximum(1, tau).mean()),
        "max(1, mean), not 1 + mean": np.full_like(tau, 1 / (1 + mean)),
        "the mean itself divides, not its root": np.full_like(tau, mean**-0.5),
        "the mean, not the sum: divide by how many gradients there are":
            np.full_like(tau, 1 / tau.sum()),
        "the mean over all gradients, those that missed nothing too":
            np.full_like(tau, 1 / tau[tau > 0].mean()),
        "the mean over all gradients, not over different numbers":
            np.full_like(tau, 1 / np.unique(tau).mean()),
        "the mean, not the median": np.full_like(tau, 1 / max(1, float(np.median(tau)))),
        "the mean, not the largest": np.full_like(tau, 1 / tau.max()),
        "the mean as it is, not rounded": np.full_like(tau, 1 / int(mean)),
        "the mean as it is, not rounded to a whole number": np.full_like(tau, 1 / round(mean)),
        "all gradients of an update get the same number; this is by gradient":
            1 / np.maximum(1, tau),
    }  # fmt: skip
    _compared(student, MEAN, staleness, np.full_like(tau, 1 / mean), hint, slips)


def _each_fresh(student: Student, late: list[int]) -> None:
    staleness = [*late, 0]
    (found,) = _ask(student, EACH, [staleness])
    expect("the number of weights", len(found), len(staleness))
    fresh = np.array(staleness) == 0
    expect(
        f"what weights returns for those of {staleness} that have missed nothing", found[fresh],
        np.ones(fresh.sum()), "a gradient that is not late is left as it is",
    )  # fmt: skip


def _mean_fresh(student: Student, late: int, fresh: int) -> None:
    staleness = [1] * late + [0] * fresh
    (found,) = _ask(student, MEAN, [staleness])
    smaller = np.full(len(staleness), 1 / (1 + late / len(staleness)))
    expect(
        f"what weights returns for {staleness}",
        found,
        np.ones(len(staleness)),
        "where the mean is below 1, gradients are left as they are: not enlarged, not made smaller",
        slips={"max(1, mean), not 1 + mean": smaller},
    )


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


def _trains(student: Student, rule: str, lr: float) -> None:
    found = student.ask("trained", rule, lr, call=f"a run with {rule}")
    by = "gradient" if rule == EACH else "mean"
    if not agree(found, _train(optim.StalenessAware(optim.SGD(lr), by))):
        raise ExerciseError(
            f"with 4 learners that make an update of each 2 gradients, a run with {rule} goes "
            f"another way than with minidl's own\n\nHint: if the checks of `weights` are passed, "
            f"something else of the class differs from `optim.SGD`"
        )


def _for(name: str, prove: Callable[..., None]) -> Callable[..., None]:
    return lambda student, **case: prove(student, name, **case)


MISSED = (*range(1, 41), 100, 1000, 70_000)
LATE = st.integers(0, len(MISSED) - 1).map(MISSED.__getitem__)


def _repeated(missed: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    """A few gradients, or many that repeat themselves."""
    few = st.lists(missed, min_size=1, max_size=6)
    return st.builds(operator.mul, few, st.sampled_from([1, 20]))


MIXED = {"late": st.lists(st.integers(0, 40), max_size=5)}
BEYOND = {"missed": st.integers(3, 12), "beyond": st.sampled_from([1.25, 1.5, 1.9])}
CHECKS = (
    Check("by gradient: each that has missed τ updates is multiplied by 1/τ", 25,
          {"staleness": _repeated(LATE)}, _each),
    Check("by gradient: those that have missed none are left as they are", 10,
          MIXED, _each_fresh),
    Check("by gradient: a run beyond the edge of stability comes to rest", 10, BEYOND,
          _for(EACH, _rescued)),
    Check("by mean: all are multiplied by one over the mean τ", 25,
          {"staleness": _repeated(LATE | st.just(0))}, _mean),
    Check("by mean: where it is below 1, all are left as they are", 10,
          {"late": st.integers(0, 3), "fresh": st.integers(1, 5)}, _mean_fresh),
    Check("by mean: a run beyond the edge of stability comes to rest", 10, BEYOND,
          _for(MEAN, _rescued)),
    Check("by gradient: at work in a run", 5, {"lr": st.just(0.2)}, _for(EACH, _trains)),
    Check("by mean: at work in a run", 5, {"lr": st.just(0.2)}, _for(MEAN, _trains)),
)  # fmt: skip
"""100 points."""
