"""The checks of exercise hw_lstm: a formula, finite differences of it, and `nn.LSTM`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import nn
from minidl.course.checks import Check, agree, expect, gradient, judge, listed, numbers, parts
from minidl.course.habits import Use, changed, check_habits, observe
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError
from minidl.kernels import reference

FILE, NAMES = "lstm.py", ("step", "step_back", "scan", "scan_back")
STEP_TAKES, SCAN_TAKES = ("x", "h", "c", "w", "u", "b"), ("x", "w", "u", "b")
PASSES_TAKE = (*STEP_TAKES, "dh_next", "dc_next", "dy")


def step(module: ModuleType, *takes: Any) -> Any:
    """A probe: h' and c'."""
    return parts(module.step(*takes), "h_next, c_next, saved")[:2]


def step_back(module: ModuleType, dh: Any, dc: Any, *takes: Any) -> Any:
    """A probe: the gradients by all that a step is given."""
    saved = parts(module.step(*takes), "h_next, c_next, saved")[2]
    return parts(module.step_back(dh, dc, saved), "dx, dh, dc, dw, du, db")


def scan(module: ModuleType, *takes: Any) -> Any:
    """A probe: y."""
    return parts(module.scan(*takes), "y, saved")[0]


def scan_back(module: ModuleType, dy: Any, *takes: Any) -> Any:
    """A probe: the gradients by all that a scan is given."""
    saved = parts(module.scan(*takes), "y, saved")[1]
    return parts(module.scan_back(dy, saved), "dx, dw, du, db")


def habits(module: ModuleType, *cases: Any) -> list[Any]:
    """A probe: what `observe` gives of a step and of a scan, both forward and backward."""

    def passes(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any, dh: Any, dc: Any, dy: Any) -> Use:
        takes = x[:, 0], h, c, w, u, b
        h_next, c_next, kept = parts(module.step(*takes), "h_next, c_next, saved")
        y, saved = parts(module.scan(x, w, u, b), "y, saved")
        yield
        by_step = parts(module.step_back(dh, dc, kept), "dx, dh, dc, dw, du, db")
        by_scan = parts(module.scan_back(dy, saved), "dx, dw, du, db")
        return [h_next, c_next, y, *by_step, *by_scan]

    return observe(passes, *cases)


def chained(module: ModuleType, dy: Any, *takes: Any) -> list[Any]:
    """A probe: what a scan and its way back should give, if the student's steps are right."""
    x, w, u, b = takes
    h, c = np.zeros((2, len(x), len(u)), x.dtype)
    y, kept = [], []
    for t in range(x.shape[1]):
        h, c, saved = parts(module.step(x[:, t], h, c, w, u, b), "h_next, c_next, saved")
        y.append(h.copy())
        kept.append(saved)
    dh, dc = np.zeros((2, *dy[:, 0].shape), dy.dtype)
    dxs: list[Any] = []
    sums: list[Any] = [0, 0, 0]
    for t in reversed(range(len(kept))):
        found = parts(module.step_back(dy[:, t] + dh, dc, kept[t]), "dx, dh, dc, dw, du, db")
        dx, dh, dc = found[:3]
        dxs.insert(0, dx)
        sums = [one + two for one, two in zip(sums, found[3:], strict=True)]
    return [np.stack(y, axis=1), np.stack(dxs, axis=1), *sums]


def stacked(module: ModuleType, x: Any, weights: Any, dy: Any) -> list[Any]:
    """A probe: what two layers `MyLSTM`, one on top of the other, give, and their gradients."""
    if not hasattr(module, "MyLSTM"):
        raise ExerciseError("the class MyLSTM is missing: it stands below your functions")
    return _stacked([module.MyLSTM(6), module.MyLSTM(5)], x, weights, dy)


def _stacked(layers: list[nn.Layer], x: Any, weights: Any, dy: Any) -> list[Any]:
    """What a network of these layers gives, and its gradients by x and by all weights."""
    model = nn.Sequential(*layers)
    buffer = model.initialise(x.shape[1:], dtype=np.float64)
    buffer.values[...] = weights
    y, saved = model.forward(x, nn.Mode(training=True, batch_size=len(x)))
    return [y, model.backward(dy, saved), buffer.grads.copy()]


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's LSTM."""
    case = _passes(np.random.default_rng(0), 2, 2, 1, 2)
    return judge(student, CHECKS, lambda student: changed(student, "habits", case, PASSES_TAKE))


def _weights(D: int, H: int, seed: int) -> list[np.ndarray]:
    shapes = (D, 4 * H), (H, 4 * H), (4 * H,)
    return [numbers(seed + n, *shape) for n, shape in enumerate(shapes)]


def _case(N: int, D: int, H: int, seed: int) -> list[np.ndarray]:
    """x, h, c, w, u and b of a step."""
    states = [numbers(seed + 10 + n, N, size) for n, size in enumerate((D, H, H))]
    return [*states, *_weights(D, H, seed)]


def _formula(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """h' and c', by minidl's definition."""
    return reference.lstm_cell(x @ w + h @ u + b, c)[:2]


GATES = "ifgo"
ORDERS = [*permutations(range(4))]
"""Of the gates, the right one first."""


def _ordered(array: np.ndarray, order: Any) -> np.ndarray:
    """The quarters of the last axis in this order."""
    quarters = np.split(array, 4, axis=-1)
    return np.concatenate([quarters[place] for place in order], axis=-1)


Step = Callable[..., tuple[np.ndarray, np.ndarray]]
"""h' and c' of a step, given x, h, c, w, u and b."""


def _in_order(order: Any) -> Step:
    """The step of who reads the gates in another order."""

    def step(x: Any, h: Any, c: Any, *weights: Any) -> tuple[np.ndarray, np.ndarray]:
        return _formula(x, h, c, *(_ordered(array, order) for array in weights))

    return step


def _sigmoid(z: Any) -> Any:
    return (1 + np.tanh(z / 2)) / 2


def _cell(
    gate: Callable[[Any], Any] = _sigmoid,
    let_in: Callable[[Any], Any] = np.tanh,
    shown: Callable[[Any, Any], Any] = lambda c, c_next: np.tanh(c_next),
    by_h: float = 1.0,
    by_b: float = 1.0,
) -> Step:
    """A step with a slip: other functions than the right ones, or without h u or b."""

    def step(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
        zi, zf, zg, zo = np.split(x @ w + by_h * h @ u + by_b * b, 4, axis=1)
        c_next = gate(zf) * c + gate(zi) * let_in(zg)
        return gate(zo) * shown(c, c_next), c_next

    return step


SLIPS: dict[str, Step] = {
    "h' = o tanh(c'); here the tanh is missing": _cell(shown=lambda c, c_next: c_next),
    "h' = o tanh(c'), of the new c, not the old one": _cell(shown=lambda c, c_next: np.tanh(c)),
    "g is tanh(zg), not a sigmoid": _cell(let_in=_sigmoid),
    "i, f and o are sigmoids, not tanh": _cell(gate=np.tanh),
    "h u is missing in z = x w + h u + b": _cell(by_h=0.0),
    "b is missing in z = x w + h u + b": _cell(by_b=0.0),
} | {
    "the quarters of z are i, f, g, o in this order; you read them as "
    + ", ".join(GATES[order.index(place)] for place in range(4)): _in_order(order)
    for order in ORDERS[1:]
}
"""Slips in the step. Who makes one can have all else right with it."""


def _followed(student: Student) -> tuple[str, Step] | None:
    """The slip that the student's step makes, and the step with it; None if it is not known.

    The words are empty if the step is right.
    """
    case = _case(2, 2, 2, 0)
    found = student.ask("step", *case)
    for words, step in {"": _formula, **SLIPS}.items():
        if agree(found, step(*case)):
            return words, step
    return None


def _step(student: Student, N: int, D: int, H: int, seed: int) -> None:
    case = _case(N, D, H, seed)
    inputs = listed(**dict(zip(STEP_TAKES, case, strict=True)))
    hint = "the quarters of z are i, f, g, o in this order; sigmoid for i, f and o, tanh for g"
    known = _followed(student)
    slip = known[0] if known else ""
    found = student.ask("step", *case)
    for what, one, two, words in zip(
        ("c'", "h'"), found[::-1], _formula(*case)[::-1], (hint, "h' = o tanh(c')"), strict=True
    ):
        expect(f"{inputs}{what}", one, two, slip or words)


def _far_out(student: Student, N: int, H: int, seed: int, far: float) -> None:
    case = _case(N, 1, H, seed)
    case[5] = far * np.sign(case[5] + 0.01)
    inputs = listed(**dict(zip(STEP_TAKES, case, strict=True)))
    hint = "exp of a large number is infinite, and infinite / infinite is not a number"
    answer = student.ask("step", *case)
    known = _followed(student)
    if known and agree(answer, known[1](*case)):
        return  # What is wrong with the step has nothing to do with it.
    if known is None:
        hint = "near 0 it is wrong, too: make that right first"
    for what, found, right in zip(("h'", "c'"), answer, _formula(*case), strict=True):
        expect(f"{inputs}{what}", found, right, hint)


def _back(student: Student, names: tuple[str, ...], N: int, D: int, H: int, seed: int) -> None:
    """Hold some of the gradients to finite differences of the definition."""
    case = _case(N, D, H, seed)
    known = _followed(student)
    formula = known[1] if known else _formula
    dh_next, dc_next = numbers(seed + 20, N, H), numbers(seed + 21, N, H)

    def loss() -> float:
        h_next, c_next = formula(*case)
        return float((h_next * dh_next).sum() + (c_next * dc_next).sum())

    found = student.ask("step_back", dh_next, dc_next, *case)
    inputs = listed(**dict(zip(STEP_TAKES, case, strict=True)), dh_next=dh_next, dc_next=dc_next)
    for name in names:
        place = STEP_TAKES.index(name)
        expected = gradient(loss, case[place])
        if known and known[0] and not agree(found[place], expected):
            formula = _formula  # The slip is in the step only; this may be the right way back.
            expected = gradient(loss, case[place])
        expect(f"{inputs}d{name}", found[place], expected, HINTS[name])


def _states_back(student: Student, **sizes: int) -> None:
    _back(student, ("c", "x", "h"), **sizes)


def _parameters_back(student: Student, **sizes: int) -> None:
    _back(student, ("w", "u", "b"), **sizes)


HINTS = {
    "x": "x enters z = x w + h u + b; if dc is right, look at dz, gate by gate",
    "h": "h enters z by u, as x does by w",
    "c": "c reaches the loss through c' = f c + i g only; but c' does so by two ways, directly "
    "(dc_next) and through h' = o tanh(c')",
    "w": "the rows of x and of dz belong together: a product (D, N) (N, 4 H), a sum over the rows",
    "u": "as dw, with h in the place of x",
    "b": "b is added to every row of z",
}


def _layer(
    N: int, T: int, D: int, H: int, seed: int
) -> tuple[nn.Layer, np.ndarray, list[np.ndarray]]:
    """`nn.LSTM`, sequences and the weights that it has been given."""
    layer, x, weights = nn.LSTM(H), numbers(seed + 10, N, T, D), _weights(D, H, seed)
    buffer = layer.initialise((T, D), dtype=np.float64)
    for parameter, values in zip(buffer.parameters.values(), weights, strict=True):
        parameter.value[...] = values
    return layer, x, weights


def _own(student: Student, what: slice, dy: np.ndarray, takes: Any) -> Any:
    """What the student's own steps give one after the other, if they do what is known."""
    if _followed(student) is None:
        return None
    chain = student.ask("chained", dy, *takes, call="step, and step_back")[what]
    return chain if np.any(chain[0]) else None


def _scan(student: Student, N: int, T: int, D: int, H: int, seed: int) -> None:
    layer, x, weights = _layer(N, T, D, H, seed)
    expected, _ = layer.forward(x, nn.EVALUATE)
    found = student.ask("scan", x, *weights)
    if not agree(found, expected):
        own = _own(student, slice(1), np.ones_like(expected), (x, *weights))
        if own and agree(found, own[0]):
            return  # The steps are wrong; they are put together as they should be.
    hint = "each step begins with the h' and c' of the one before, the first with zeros"
    inputs = listed(**dict(zip(SCAN_TAKES, (x, *weights), strict=True)))
    expect(f"{inputs}y", found, expected, hint)


def _scan_back(student: Student, N: int, T: int, D: int, H: int, seed: int) -> None:
    layer, x, weights = _layer(N, T, D, H, seed)
    y, saved = layer.forward(x, nn.Mode(training=True, batch_size=N))
    dy = numbers(seed + 20, *y.shape)
    dx = layer.backward(dy, saved)
    grads = (parameter.grad for parameter in layer.parameters().values())
    expected = [dx, *grads]
    inputs = listed(**dict(zip(SCAN_TAKES, (x, *weights), strict=True)), dy=dy)
    hint = "a step's output reaches the loss by its own y, and by h and by c of the next step"
    shared = "its gradient is the sum of what all steps give"
    gradients = student.ask("scan_back", dy, x, *weights)
    if not all(map(agree, gradients, expected)):
        own = _own(student, slice(1, None), dy, (x, *weights))
        if own and all(map(agree, gradients, own)):
            return  # The steps are wrong; they are put together as they should be.
    for name, found, right in zip(SCAN_TAKES, gradients, expected, strict=True):
        expect(f"{inputs}d{name}", found, right, hint if name == "x" else shared)


def _passes(generator: np.random.Generator, n: int, t: int, d: int, h: int) -> list[np.ndarray]:
    """What the passes of `habits` take."""
    shapes = (n, t, d), (n, h), (n, h), (d, 4 * h), (h, 4 * h), 4 * h, (n, h), (n, h), (n, t, h)
    return [generator.normal(size=shape) for shape in shapes]


def _habits(student: Student, more: int, N: int, T: int, D: int, H: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = (N + more, T + more, D + more, H + more), (N, T, D, H)
    cases = [_passes(generator, *each) for each in sizes]
    gives = (
        "h'", "c'", "y", *(f"d{name} of step_back" for name in STEP_TAKES),
        *(f"d{name} of scan_back" for name in SCAN_TAKES),
    )  # fmt: skip
    order = "step and scan of each, then step_back and scan_back of each"
    check_habits(student, "habits", cases, PASSES_TAKE, gives, order, _all_right)


def _all_right(
    x: Any, h: Any, c: Any, w: Any, u: Any, b: Any, dh: Any, dc: Any, dy: Any
) -> list[Any]:
    """What should come of the passes of `habits`, by minidl's definition."""
    z = x[:, 0] @ w + h @ u + b
    h_next, c_next, gates = reference.lstm_cell(z, c)
    dz, dc_back = reference.lstm_cell_gradient(dh, dc, gates, c, c_next)
    by_step = [dz @ w.T, dz @ u.T, dc_back, x[:, 0].T @ dz, h.T @ dz, dz.sum(axis=0)]
    layer = nn.LSTM(len(u))
    buffer = layer.initialise(x.shape[1:], dtype=np.float64)
    for parameter, values in zip(buffer.parameters.values(), (w, u, b), strict=True):
        parameter.value[...] = values
    y, saved = layer.forward(x, nn.Mode(training=True, batch_size=len(x)))
    dx = layer.backward(dy, saved)
    grads = [parameter.grad for parameter in layer.parameters().values()]
    return [h_next, c_next, y, *by_step, dx, *grads]


def _at_work(student: Student, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, dy = generator.normal(size=(4, 12, 2)), generator.normal(size=(4, 12, 5))
    weights = generator.normal(0, 0.3, 4 * 6 * (2 + 6 + 1) + 4 * 5 * (6 + 5 + 1))
    found = student.ask("stacked", x, weights, dy, call="a network with two of your layers")
    expected = _stacked([nn.LSTM(6), nn.LSTM(5)], x, weights, dy)
    for name, one, two in zip(("y", "dx", "the gradient"), found, expected, strict=True):
        if not agree(one, two):
            raise ExerciseError(
                f"{name} of two stacked layers of yours is another than that of two of minidl's "
                f"LSTMs\n\nHint: the second layer's scan comes between the scan and the scan_back "
                f"of the first one, so what scan_back needs must be in `saved`; and the gates are "
                f"laid out as i, f, g, o"
            )


small = st.integers(1, 3)
STEP = {"N": small, "D": small, "H": small, "seed": st.integers(0, 99)}
FAR = {"N": small, "H": small, "seed": st.integers(0, 99), "far": st.sampled_from([1e3, 1e4])}
SCAN = {"T": st.integers(1, 6)} | STEP
CHECKS = (
    Check("step: h' and c'", 20, STEP, _step),
    Check("step: no NaN far out", 5, FAR, _far_out),
    Check("step_back: dx, dh and dc", 20, STEP, _states_back),
    Check("step_back: dw, du and db", 10, STEP, _parameters_back),
    Check("scan: as minidl's LSTM", 15, SCAN, _scan),
    Check("scan_back: as minidl's LSTM", 15, SCAN, _scan_back),
    Check("dtypes kept, nothing changed in place, passes kept apart", 10,
          {"more": st.integers(0, 1)} | SCAN, _habits),
    Check("two layers at work, one on top of the other", 5, {"seed": st.integers(0, 4)}, _at_work),
)  # fmt: skip
"""100 points."""
