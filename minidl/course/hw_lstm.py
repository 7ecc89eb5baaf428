"""The checks of exercise hw_lstm: a formula, finite differences of it, and `nn.LSTM`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import nn
from minidl.course.checks import Check, expect, gradient, judge, listed, numbers, parts
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.kernels import reference

FILE, NAMES = "lstm.py", ("step", "step_back", "scan", "scan_back")
STEP_TAKES, SCAN_TAKES = ("x", "h", "c", "w", "u", "b"), ("x", "w", "u", "b")


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


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's LSTM."""
    return judge(student, CHECKS)


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


def _step(student: Student, N: int, D: int, H: int, seed: int) -> None:
    case = _case(N, D, H, seed)
    h_next, c_next = student.ask("step", *case)
    h_right, c_right = _formula(*case)
    inputs = listed(**dict(zip(STEP_TAKES, case, strict=True)))
    hint = "the quarters of z are i, f, g, o in this order; sigmoid for i, f and o, tanh for g"
    expect(f"{inputs}c'", c_next, c_right, hint)
    expect(f"{inputs}h'", h_next, h_right, "h' = o tanh(c')")


def _far_out(student: Student, N: int, H: int, seed: int, far: float) -> None:
    case = _case(N, 1, H, seed)
    case[5] = far * np.sign(case[5] + 0.01)
    inputs = listed(**dict(zip(STEP_TAKES, case, strict=True)))
    hint = "exp of a large number is infinite, and infinite / infinite is not a number"
    for what, found, right in zip(
        ("h'", "c'"), student.ask("step", *case), _formula(*case), strict=True
    ):
        expect(f"{inputs}{what}", found, right, hint)


def _back(student: Student, names: tuple[str, ...], N: int, D: int, H: int, seed: int) -> None:
    """Hold some of the gradients to finite differences of the definition."""
    case = _case(N, D, H, seed)
    dh_next, dc_next = numbers(seed + 20, N, H), numbers(seed + 21, N, H)

    def loss() -> float:
        h_next, c_next = _formula(*case)
        return float((h_next * dh_next).sum() + (c_next * dc_next).sum())

    found = student.ask("step_back", dh_next, dc_next, *case)
    inputs = listed(**dict(zip(STEP_TAKES, case, strict=True)), dh_next=dh_next, dc_next=dc_next)
    for name in names:
        place = STEP_TAKES.index(name)
        expect(f"{inputs}d{name}", found[place], gradient(loss, case[place]), HINTS[name])


def _states_back(student: Student, **sizes: int) -> None:
    _back(student, ("c", "x", "h"), **sizes)


def _parameters_back(student: Student, **sizes: int) -> None:
    _back(student, ("w", "u", "b"), **sizes)


HINTS = {
    "x": "x enters z = x w + h u + b; if dc is right, look at dz, gate by gate",
    "h": "h enters z by u, as x does by w",
    "c": "c reaches the loss through c' = f c + i g only; but c' does so by two ways, directly "
    "(dc_next) and through h' = o tanh(c')",
    "w": "the rows of x and of dz belong together: a product (D, N) (N, 4 H); if dx is right",
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


def _scan(student: Student, N: int, T: int, D: int, H: int, seed: int) -> None:
    layer, x, weights = _layer(N, T, D, H, seed)
    expected, _ = layer.forward(x, nn.EVALUATE)
    hint = "each step begins with the h' and c' of the one before, the first with zeros"
    inputs = listed(**dict(zip(SCAN_TAKES, (x, *weights), strict=True)))
    expect(f"{inputs}y", student.ask("scan", x, *weights), expected, hint)


def _scan_back(student: Student, N: int, T: int, D: int, H: int, seed: int) -> None:
    layer, x, weights = _layer(N, T, D, H, seed)
    y, saved = layer.forward(x, nn.Mode(training=True, batch_size=N))
    dy = numbers(seed + 20, *y.shape)
    dx = layer.backward(dy, saved)
    expected = [dx, *(parameter.grad for parameter in layer.parameters().values())]
    inputs = listed(**dict(zip(SCAN_TAKES, (x, *weights), strict=True)), dy=dy)
    hint = "a step's output reaches the loss by its own y, and by h and by c of the next step"
    shared = "its gradient is the sum of what all steps give"
    gradients = student.ask("scan_back", dy, x, *weights)
    for name, found, right in zip(SCAN_TAKES, gradients, expected, strict=True):
        expect(f"{inputs}d{name}", found, right, hint if name == "x" else shared)


small = st.integers(1, 3)
STEP = {"N": small, "D": small, "H": small, "seed": st.integers(0, 99)}
FAR = {"N": small, "H": small, "seed": st.integers(0, 99), "far": st.sampled_from([1e3, 1e4])}
SCAN = {"T": st.integers(1, 6)} | STEP
CHECKS = (
    Check("step: h' and c'", 20, STEP, _step),
    Check("step: no NaN far out", 5, FAR, _far_out),
    Check("step_back: dx, dh and dc", 25, STEP, _states_back),
    Check("step_back: dw, du and db", 15, STEP, _parameters_back),
    Check("scan: as minidl's LSTM", 15, SCAN, _scan),
    Check("scan_back: as minidl's LSTM", 20, SCAN, _scan_back),
)
"""100 points."""
