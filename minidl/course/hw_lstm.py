"""The checks of exercise hw_lstm: a formula, finite differences of it, and `nn.LSTM`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import nn
from minidl.course.checks import Check, expect, gradient, judge, numbers, parts
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.kernels import reference

FILE, NAMES = "lstm.py", ("step", "step_back", "scan", "scan_back")
GIVEN = "x, h, c, w, u, b"


def step(module: ModuleType, *given: Any) -> Any:
    """A probe: h' and c'."""
    return parts(module.step(*given), "h_next, c_next, saved")[:2]


def step_back(module: ModuleType, dh: Any, dc: Any, *given: Any) -> Any:
    """A probe: the gradients by all that a step is given."""
    saved = parts(module.step(*given), "h_next, c_next, saved")[2]
    return parts(module.step_back(dh, dc, saved), "dx, dh, dc, dw, du, db")


def scan(module: ModuleType, *given: Any) -> Any:
    """A probe: y."""
    return parts(module.scan(*given), "y, saved")[0]


def scan_back(module: ModuleType, dy: Any, *given: Any) -> Any:
    """A probe: the gradients by all that a scan is given."""
    saved = parts(module.scan(*given), "y, saved")[1]
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


def _formula(*given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """h' and c', by minidl's definition."""
    x, h, c, w, u, b = given
    return reference.lstm_cell(x @ w + h @ u + b, c)[:2]


def _step(student: Student, N: int, D: int, H: int, seed: int) -> None:
    given = _case(N, D, H, seed)
    expected = dict(zip(("h'", "c'"), _formula(*given), strict=True))
    found = dict(zip(expected, student.ask("step", *given), strict=True))
    hint = "the quarters of z are i, f, g, o in this order; sigmoid for i, f and o, tanh for g"
    expect("c'", found["c'"], expected["c'"], hint)
    expect("h'", found["h'"], expected["h'"], "h' = o tanh(c')")


def _far_out(student: Student, N: int, H: int, seed: int, far: float) -> None:
    given = _case(N, 1, H, seed)
    given[5] = far * np.sign(given[5] + 0.01)
    hint = "exp of a large number is infinite, and infinite / infinite is not a number"
    for what, found, expected in zip(
        ("h'", "c'"), student.ask("step", *given), _formula(*given), strict=True
    ):
        expect(f"with b = {given[5]}, {what}", found, expected, hint)


def _differences(N: int, D: int, H: int, seed: int) -> tuple[list[np.ndarray], dict[str, Any]]:
    """What `step_back` is given, and finite differences of the definition."""
    given = _case(N, D, H, seed)
    dh, dc = numbers(seed + 20, N, H), numbers(seed + 21, N, H)

    def loss() -> float:
        h_next, c_next = _formula(*given)
        return float((h_next * dh).sum() + (c_next * dc).sum())

    names = (f"d{name}" for name in GIVEN.split(", "))
    return [dh, dc, *given], {
        name: gradient(loss, array) for name, array in zip(names, given, strict=True)
    }


HINTS = {
    "dc": "c reaches the loss only through c' = f c + i g; but c' does so by two ways, directly "
    "(dc_next) and through h' = o tanh(c')",
    "dx": "x enters z = x w + h u + b; if dc is right, look at dz, gate by gate",
    "dh": "h enters z by u, as x does by w",
    "dw": "the rows of x and of dz belong together: a product (D, N) (N, 4 H)",
    "du": "as dw, with h in the place of x",
    "db": "b is added to every row of z",
}


def _back(student: Student, names: tuple[str, ...], N: int, D: int, H: int, seed: int) -> None:
    arguments, expected = _differences(N, D, H, seed)
    found = dict(zip(expected, student.ask("step_back", *arguments), strict=True))
    for name in names:
        expect(name, found[name], expected[name], HINTS[name])


def _states_back(student: Student, **sizes: int) -> None:
    _back(student, ("dc", "dx", "dh"), **sizes)


def _parameters_back(student: Student, **sizes: int) -> None:
    _back(student, ("dw", "du", "db"), **sizes)


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
    expect("y", student.ask("scan", x, *weights), expected, hint)


def _scan_back(student: Student, N: int, T: int, D: int, H: int, seed: int) -> None:
    layer, x, weights = _layer(N, T, D, H, seed)
    y, saved = layer.forward(x, nn.Mode(training=True, batch_size=N))
    dy = numbers(seed + 20, *y.shape)
    dx = layer.backward(dy, saved)
    expected = [dx, *(parameter.grad for parameter in layer.parameters().values())]
    hints = ["a step's output reaches the loss by its own y, and by h and by c of the next step"]
    hints += 3 * ["its gradient is the sum of what all steps give"]
    for name, found, right, hint in zip(
        ("dx", "dw", "du", "db"), student.ask("scan_back", dy, *(x, *weights)), expected, hints,
        strict=True,
    ):  # fmt: skip
        expect(name, found, right, hint)


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
