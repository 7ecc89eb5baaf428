"""The checks of exercise hw_momentum: closed-form ways down a parabola, one vector or parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import data, kernels, nn, optim, strategy
from minidl.course.checks import Check, agree, expect, in_any_order, judge, listed, numbers
from minidl.course.habits import Use, check_habits, observe
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError
from minidl.runtime import Virtual
from minidl.train import Trainer

FILE, NAMES = "momentum.py", ("Momentum",)


def names(module: ModuleType, momentum: float, nesterov: bool) -> Any:
    """A probe: the names of the slots."""
    slots = module.Momentum(0.1, momentum, nesterov).slots
    wanted = 'slots should be a tuple of names, as ("velocity",) is'
    found = in_any_order(slots, wanted)
    if not all(isinstance(name, str) for name in found):
        raise ExerciseError(f"{wanted}, not {slots!r}")
    return found


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

    The vector is updated in parts, from one index to another. With more than one, what is
    handed over lies elsewhere in each step, as it does where ranks pass it on.
    """
    slots: dict[str, Any] = {}
    way = []
    for step, lr in enumerate(lrs):
        optimizer = module.Momentum(lr, momentum, nesterov)
        slots = slots or {name: np.zeros_like(w) for name in _names(optimizer)}
        if len(parts) > 1:
            w, slots = w.copy(), {name: vector.copy() for name, vector in slots.items()}
        grads = a * w
        for first, last in parts:
            part = slice(first, last)
            own = {name: vector[part] for name, vector in slots.items()}
            optimizer.step(w[part], grads[part], own, step)
        way.append(w.copy())
    return way


def _names(optimizer: Any) -> Any:
    """Its slots; a text, which `names` refuses, is taken for the one that it has to be."""
    return [optimizer.slots] if isinstance(optimizer.slots, str) else optimizer.slots


def habits(module: ModuleType, *cases: Any) -> list[Any]:
    """A probe: what `observe` gives of a descent of three steps, each by the same object."""

    def steps(w: Any, grads: Any, lr: float, momentum: float, nesterov: bool) -> Use:
        optimizer = module.Momentum(lr, momentum, nesterov)
        values = w.copy()
        slots = {name: np.zeros_like(w) for name in _names(optimizer)}
        optimizer.step(values, grads, slots, 0)
        yield
        for step in (1, 2):
            optimizer.step(values, grads, slots, step)
        return [values, *slots.values()]

    return observe(steps, *cases)


def trained(module: ModuleType, nesterov: bool, x: Any, labels: Any) -> list[Any]:
    """A probe: the weights of a network after some steps, in one process and on a ring of two."""
    with kernels.using("reference"):
        ring = strategy.RingAllReduce(2, runtime=Virtual())
        return [
            _train(module.Momentum(0.1, 0.9, nesterov), x, labels, how)
            for how in (strategy.Serial(), ring)
        ]


def _train(optimizer: optim.Optimizer, x: Any, labels: Any, how: strategy.Strategy) -> list[Any]:
    """All weights of a network after some steps."""
    model = nn.Sequential(nn.Linear(6), nn.Tanh(), nn.Linear(3))
    trainer = Trainer(model, nn.CrossEntropy(), optimizer, seed=0, dtype="float64")
    trainer.fit(data.Dataset(x, labels), epochs=2, batch_size=8, progress=False, strategy=how)
    return [*trainer.weights().values()]


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's optimizer."""
    return judge(student, CHECKS)


def _slots(student: Student, momentum: float, nesterov: bool) -> None:
    found = student.ask("names", momentum, nesterov, call="slots")
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


def _plain(student: Student, nesterov: bool, size: int, steps: int, seed: int) -> None:
    _parabola(student, 0.0, nesterov, size, steps, seed)


def _parabola(
    student: Student, momentum: float, nesterov: bool, size: int, steps: int, seed: int
) -> None:
    lr, w, a = 0.25, numbers(seed, size), np.abs(numbers(seed + 1, size)) + 0.5
    way = student.ask("descend", steps * [lr], momentum, nesterov, w, a, [(0, size)], call="step")
    slipped = {words: _slip(a, w, steps * [lr], momentum, nesterov, move)
               for words, move in SLIPS.items()}  # fmt: skip
    known = next((words for words, slip in slipped.items() if momentum and agree(way, slip)), "")
    for n, found in enumerate(way, start=1):
        expected = [
            _closed_form(*each, lr, momentum, nesterov, n) for each in zip(a, w, strict=True)
        ]
        hint = "how much of v is kept, what is added to it, and what is w moved by?"
        if np.array_equal(way[-1], w):
            known = "values is to be changed in place: values -= ..., not values = values - ..."
        elif not momentum:
            hint = "without momentum a step is w = w - lr · g, with `nesterov` and without"
        elif n == 1:
            hint = "v is 0 before the first step, and g after it: what are the weights moved by?"
        expect(
            f"{listed(w=w, a=a, lr=lr)}and a gradient of a · w, after step {n} w", found,
            np.array(expected), known or hint,
        )  # fmt: skip


Move = Callable[[Any, Any, Any, float, float, bool], tuple[Any, Any]]
"""How a slip changes w and v, given these, the gradient, lr, momentum and nesterov."""


def _kept(w: Any, v: Any, g: Any, lr: float, m: float, nesterov: bool) -> tuple[Any, Any]:
    v = m * v + g
    return w - lr * (g + m * v if nesterov else v), v


def _rebound(w: Any, v: Any, g: Any, lr: float, m: float, nesterov: bool) -> tuple[Any, Any]:
    return _kept(w, v, g, lr, m, nesterov)[0], v


def _dampened(w: Any, v: Any, g: Any, lr: float, m: float, nesterov: bool) -> tuple[Any, Any]:
    v = m * v + (1 - m) * g
    return w - lr * (g + m * v if nesterov else v), v


def _old(w: Any, v: Any, g: Any, lr: float, m: float, nesterov: bool) -> tuple[Any, Any]:
    return w - lr * (g + m * v if nesterov else v), m * v + g


def _other_kind(w: Any, v: Any, g: Any, lr: float, m: float, nesterov: bool) -> tuple[Any, Any]:
    return _kept(w, v, g, lr, m, not nesterov)


def _upwards(w: Any, v: Any, g: Any, lr: float, m: float, nesterov: bool) -> tuple[Any, Any]:
    return _kept(w, v, g, -lr, m, nesterov)


def _all_kept(w: Any, v: Any, g: Any, lr: float, m: float, nesterov: bool) -> tuple[Any, Any]:
    v = v + g
    return w - lr * (g + m * v if nesterov else v), v


def _nesterov_by_v(w: Any, v: Any, g: Any, lr: float, m: float, nesterov: bool) -> Any:
    v = m * v + g
    return w - lr * (v + m * v if nesterov else v), v


def _nesterov_without_g(w: Any, v: Any, g: Any, lr: float, m: float, nesterov: bool) -> Any:
    v = m * v + g
    return w - lr * (m * v if nesterov else v), v


def _nesterov_twice(w: Any, v: Any, g: Any, lr: float, m: float, nesterov: bool) -> Any:
    v = m * v + g
    return w - lr * (g + m * m * v if nesterov else v), v


def _corrected(w: Any, v: Any, g: Any, lr: float, m: float, nesterov: bool) -> Any:
    v = m * v + g
    return w - lr / (1 - m) * (g + m * v if nesterov else v), v


OTHER_KIND = "look at `nesterov`: you take one rule for the other, or the same one for both"
SLIPS: dict[str, Move] = {
    OTHER_KIND: _other_kind,
    "with Nesterov w is moved by lr · (g + momentum · v), not by (v + momentum · v)":
        _nesterov_by_v,
    "with Nesterov w is moved by lr · (g + momentum · v): g is missing": _nesterov_without_g,
    "with Nesterov w is moved by lr · (g + momentum · v): momentum comes in once, with the new v":
        _nesterov_twice,
    "the rate is lr, not lr / (1 - momentum): v may grow": _corrected,
    "what you make of v does not stay in slots: `v *= ...` and `v += ...` change the caller's "
    "vector, while `v = v * ...` makes a new one that is lost after the step": _rebound,
    "v = momentum · v + g: the gradient is added whole, not times (1 - momentum)": _dampened,
    "you move w by the v of the step before: make the new v first": _old,
    "the weights go against the gradient: w - lr · ..., not +": _upwards,
    "of the old v only the part `momentum` is kept": _all_kept,
}  # fmt: skip
"""Known slips, by what is told of them."""


def _slip(
    a: np.ndarray, w: np.ndarray, lrs: Sequence[float], momentum: float, nesterov: bool, move: Move
) -> list[np.ndarray]:
    """The way down that a slip takes."""
    v, way = np.zeros_like(w), []
    for lr in lrs:
        w, v = move(w, v, a * w, lr, momentum, nesterov)
        way.append(w)
    return way


def _rates(student: Student, momentum: float, nesterov: bool, rates: list[float]) -> None:
    """Hold a run whose rate changes to the sum that PyTorch documents."""
    w, a = np.array([1.0]), np.array([1.0])
    way = student.ask("descend", rates, momentum, nesterov, w, a, [(0, 1)], call="step")
    if any(agree(way, _slip(a, w, rates, momentum, nesterov, move))
           for words, move in SLIPS.items() if words != OTHER_KIND):  # fmt: skip
        return  # It is told above, and has nothing to do with the rate.
    value, past = 1.0, []
    for n, (lr, found) in enumerate(zip(rates, way, strict=True), start=1):
        past.append(value)
        velocity = sum(momentum**age * g for age, g in enumerate(reversed(past)))
        value -= lr * (value + momentum * velocity if nesterov else velocity)
        hint = "v sums up gradients; the rate of this step comes in when w is moved, not before"
        expect(f"given w = 1 and a gradient of w, after step {n} w", found, np.array([value]), hint)


def _in_parts(student: Student, size: int, cut: int, nesterov: bool, seed: int) -> None:
    cut = min(cut, size)
    lrs, w, a = [0.2, 0.2, 0.2], numbers(seed, size), np.abs(numbers(seed + 1, size)) + 0.5
    parts = [(cut, size), (0, cut)]
    found = student.ask("descend", lrs, 0.9, nesterov, w, a, parts, call="step")[-1]
    whole = student.ask("descend", lrs, 0.9, nesterov, w, a, [(0, size)], call="step")[-1]
    inputs = f"{listed(w=w, a=a, lr=0.2)}and updated in parts {parts}, after 3 steps w"
    if isinstance(whole, np.ndarray) and not np.array_equal(whole, w):
        hint = "every element by itself: no sums over all weights, no memory outside of slots"
        expect(f"{inputs}, which as a whole is another one,", found, whole, hint)
        return
    expected = [_closed_form(*each, 0.2, 0.9, nesterov, 3) for each in zip(a, w, strict=True)]
    expect(inputs, found, np.array(expected))


def _habits(student: Student, size: int, momentum: float, nesterov: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    other = 0.3, 0.5 if momentum else 0.9, not nesterov
    settings = (0.1, momentum, nesterov), other
    cases = [[*generator.normal(size=(2, size)), *each] for each in settings]
    takes = ("values before the step", "grads", "lr", "momentum", "nesterov")
    gives = ("values", "the slot")

    def right(w: Any, grads: Any, lr: float, momentum: float, nesterov: bool) -> list[Any]:
        v = np.zeros_like(w)
        for _ in range(3):
            w, v = _kept(w, v, grads, lr, momentum, nesterov)
        return [w, v]

    order = "a step of each, then two more of each"
    check_habits(student, "habits", cases, takes, gives, order, right)


def _trains(student: Student, nesterov: bool) -> None:
    generator = np.random.default_rng(0)
    x, labels = generator.normal(size=(24, 4)), generator.integers(0, 3, 24)
    found = student.ask("trained", nesterov, x, labels, call="a network with your optimizer")
    own = optim.SGD(0.1, momentum=0.9, nesterov=nesterov)
    expected = _train(own, x, labels, strategy.Serial())
    for where, weights in zip(("in one process", "on a ring of 2"), found, strict=True):
        if not all(map(agree, weights, expected)):
            raise ExerciseError(
                f"after 6 steps {where} a network has other weights than with minidl's own "
                f"momentum\n\nHint: all that is remembered has to be in slots, and every call of "
                f"step may be for another part of the weights, or on another rank"
            )


KEPT = st.sampled_from([0.5, 0.9])
WAY = {
    "size": st.sampled_from([1, 2, 3, 4, 60]),
    "steps": st.integers(2, 6),
    "seed": st.integers(0, 99),
}
CHECKS = (
    Check("slots: what has to be kept", 10,
          {"momentum": st.sampled_from([0.0, 0.9]), "nesterov": st.booleans()}, _slots),
    Check("without momentum: down a parabola", 10, {"nesterov": st.booleans()} | WAY, _plain),
    Check("momentum: down a parabola", 20,
          {"momentum": KEPT, "nesterov": st.just(False)} | WAY, _parabola),
    Check("Nesterov's: down a parabola", 20,
          {"momentum": KEPT, "nesterov": st.just(True)} | WAY, _parabola),
    Check("a learning rate that changes", 15,
          {"momentum": KEPT, "nesterov": st.booleans(),
           "rates": st.lists(st.sampled_from([0.1, 0.2, 0.4]), min_size=2, max_size=5)}, _rates),
    Check("a vector that is updated in parts", 10,
          {"size": st.integers(1, 6), "cut": st.integers(0, 5), "nesterov": st.booleans(),
           "seed": st.integers(0, 99)}, _in_parts),
    Check("dtypes kept, gradients unchanged, nothing remembered outside of slots", 10,
          {"size": st.integers(1, 5), "momentum": st.sampled_from([0.0, 0.9]),
           "nesterov": st.booleans(), "seed": st.integers(0, 99)}, _habits),
    Check("at work in a network", 5, {"nesterov": st.booleans()}, _trains),
)  # fmt: skip
"""100 points."""
