"""Homework on drawn inputs: solutions pass, stubs and typical mistakes are told what is wrong."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from minidl import nn, optim, strategy
from minidl.course import EXERCISES, Report, grade
from minidl.runtime import Virtual
from minidl.tasks import Adversarial

ROOT = Path(__file__).parents[2]
DRAWN = tuple(name for name in EXERCISES if name != "hw_ring")


@dataclass(frozen=True)
class Mistake:
    """A solution with one thing wrong.

    Parameters
    ----------
    exercise
        Whose solution.
    changes
        What is replaced in it by what.
    score
        What is left of 100 points.
    words
        What the report has to say.
    """

    exercise: str
    changes: dict[str, str]
    score: float
    words: tuple[str, ...]


MISTAKES = {
    "rows-for-columns": Mistake(
        "hw_batch_norm",
        {"x - x.mean(axis=0)": "x - x.mean(axis=1, keepdims=True)"},
        0,
        ("smallest case found: M = 2, C = 1, seed = 0", "over its M rows"),
    ),
    "unbiased-variance": Mistake(
        "hw_batch_norm",
        {"(off * off).mean(axis=0)": "x.var(axis=0, ddof=1)"},
        0,
        ("smallest case found: M = 2, C = 1, seed = 0", "divides by M", "and y is beta"),
    ),
    "difference-of-squares": Mistake(
        "hw_batch_norm",
        {"(off * off).mean(axis=0)": "np.abs((x * x).mean(axis=0) - x.mean(axis=0) ** 2)"},
        90,
        ("E[x²] - E[x]² is the difference of two large numbers",),
    ),
    "no-way-through-the-mean": Mistake(
        "hw_batch_norm",
        {"dy - dy.mean(axis=0) - normal": "dy - normal"},
        55,
        ("M = 2, C = 1, seed = 0", "every column of dx has to sum to 0"),
    ),
    "no-way-through-the-variance": Mistake(
        "hw_batch_norm",
        {" - normal * (dy * normal).mean(axis=0)": ""},
        65,
        ("M = 2, C = 1, seed = 0", "the way through the variance"),
    ),
    "kept-in-a-global": Mistake(
        "hw_batch_norm",
        {
            "return gamma * normal + beta, (": "global KEPT; KEPT = (normal, inv_std, gamma)\n"
            "    return gamma * normal + beta, (",
            "gamma = saved": "gamma = KEPT",
        },
        90,
        ("with two batches under way, dx of number 1", "not in a global"),
    ),
    "changed-in-place": Mistake(
        "hw_batch_norm",
        {"off = x - x.mean(axis=0)": "x -= x.mean(axis=0); off = x"},
        90,
        ("x, which is not to be changed, is",),
    ),
    "gates-in-another-order": Mistake(
        "hw_lstm",
        {"zi, zf, zg, zo = ": "zi, zf, zo, zg = "},
        0,
        ("smallest case found: N = 1, D = 1, H = 1, seed = 0", "i, f, g, o in this order"),
    ),
    "sigmoid-by-exp-over-exp": Mistake(
        "hw_lstm",
        {"(1 + np.tanh(z / 2)) / 2": "np.exp(z) / (1 + np.exp(z))"},
        95,
        ("N = 1, H = 1, seed = 0, far = 1000.0", "infinite / infinite is not a number"),
    ),
    "memory-by-one-way-only": Mistake(
        "hw_lstm",
        {"dc_next + dh_next * o": "dh_next * o"},
        40,
        ("c' does so by two ways", "by h and by c of the next step"),
    ),
    "tanh-without-its-slope": Mistake(
        "hw_lstm",
        {"dg * (1 - g**2)": "dg"},
        40,
        ("N = 1, D = 1, H = 1, seed = 0", "look at dz, gate by gate"),
    ),
    "outputs-of-inner-steps-forgotten": Mistake(
        "hw_lstm",
        {"dy[:, t] + dh": "dy[:, t] * (t == len(saved) - 1) + dh"},
        80,
        ("smallest case found: T = 2, N = 1, D = 1, H = 1, seed = 0", "by its own y"),
    ),
    "parameters-of-the-last-step-only": Mistake(
        "hw_lstm",
        {"sum(each) for each": "each[0] for each"},
        80,
        ("T = 2, N = 1, D = 1, H = 1", "the sum of what all steps give"),
    ),
    "span-without-dilation": Mistake(
        "hw_receptive_field",
        {"span = dilation * (kernel - 1)": "span = kernel - 1"},
        30,
        ("windows = [(2, 1, 0, 2)]", "the field of layer 0 is 2 and should be 3"),
    ),
    "own-stride-too-early": Mistake(
        "hw_receptive_field",
        {
            "        jump *= stride\n": "",
            "        centre +=": "        jump *= stride\n        centre +=",
        },
        35,
        ("windows = [(2, 2, 0, 1)]", "the field of layer 0 is 3 and should be 2"),
    ),
    "strides-added": Mistake(
        "hw_receptive_field",
        {"jump *= stride": "jump += stride - 1"},
        20,
        ("windows = [(1, 2, 0, 1), (1, 2, 0, 1)]", "the stride of layer 1 is 3 and should be 4"),
    ),
    "no-padding-in-the-centre": Mistake(
        "hw_receptive_field",
        {"(span / 2 - padding)": "(span / 2)"},
        60,
        ("windows = [(1, 1, 1, 1)]", "the centre of layer 0 is 0.0 and should be -1"),
    ),
    "ceiling-for-floor": Mistake(
        "hw_receptive_field",
        {"- span - 1) // stride": "- span + stride - 2) // stride"},
        65,
        ("the size of layer", "leaves the padding?"),
    ),
    "real-and-fake-swapped": Mistake(
        "hw_gan",
        {"logaddexp(0, -z), sigmoid(z) - 1": "logaddexp(0, z), sigmoid(z)"},
        35,
        ("smallest case found: name = real, size = 1, seed = 0", "each element is -log D, where"),
    ),
    "derivative-by-d": Mistake(
        "hw_gan",
        {"np.logaddexp(0, -z), sigmoid(z) - 1": "np.logaddexp(0, -z), -1 / sigmoid(z)"},
        55,
        ("name = real, size = 1, seed = 0", "the derivative of D by z is D (1 - D)"),
    ),
    "log-of-infinity": Mistake(
        "hw_gan",
        {"np.logaddexp(0, -z)": "np.log(1 + np.exp(-z))"},
        85,
        ("name = real, far = -10000.0", "np.logaddexp goes round that"),
    ),
    "the-generator-climbs": Mistake(
        "hw_gan",
        {"return -losses, -dz": "return losses, dz"},
        70,
        ("the losses of minimax", "falls as D takes samples for data"),
    ),
    "mean-instead-of-each": Mistake(
        "hw_gan",
        {"return np.logaddexp(0, z), sigmoid": "return np.logaddexp(0, z).mean(), sigmoid"},
        65,
        ("the losses of fake should have the shape (1, 1), not ()",),
    ),
    "the-generator-moves-first": Mistake(
        "hw_gan",
        {"(step + 1) % k": "step % k"},
        80,
        ("k = 2, rounds = 1", "schedule(0, 2) is ['discriminator', 'generator']"),
    ),
    "a-new-array-of-weights": Mistake(
        "hw_momentum",
        {"values -= ": "values = values - "},
        10,
        ("size = 1, steps = 1, seed = 0", "values -= ..., not values = values - ..."),
    ),
    "a-new-array-of-velocities": Mistake(
        "hw_momentum",
        {"v *= self.momentum": "v = v * self.momentum"},
        25,
        ("momentum = 0.5, nesterov = False, size = 1, steps = 2", "after step 2, w"),
    ),
    "dampened": Mistake(
        "hw_momentum",
        {"v += grads": "v += (1 - self.momentum) * grads"},
        25,
        ("steps = 1, seed = 0", "before the first step v is 0"),
    ),
    "rate-inside-the-velocity": Mistake(
        "hw_momentum",
        {
            "v += grads": "v += self.lr * grads",
            "self.lr * (grads + self.momentum * v if self.nesterov else v)": "("
            "self.lr * grads + self.momentum * v if self.nesterov else v)",
        },
        85,
        ("momentum = 0.5, nesterov = False, rates = [0.1, 0.2]", "comes in when w is moved"),
    ),
    "nesterov-with-the-old-velocity": Mistake(
        "hw_momentum",
        {
            "v *= self.momentum": "old = v.copy(); v *= self.momentum",
            "grads + self.momentum * v": "grads + self.momentum * old",
        },
        50,
        ("nesterov = True, size = 1, steps = 1, seed = 0", "after step 1, w"),
    ),
    "velocity-without-need": Mistake(
        "hw_momentum",
        {" if self.momentum else ()": ""},
        90,
        ("slots has 1 names and should have 0", "with a momentum of 0?"),
    ),
}


def solution(exercise: str) -> Path:
    (path,) = (ROOT / "solutions" / exercise).glob("*.py")
    return path


def load(exercise: str) -> ModuleType:
    """The solution, as what a student's file is when it is run."""
    spec = importlib.util.spec_from_file_location(f"solution_{exercise}", solution(exercise))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def graded(exercise: str, source: str, folder: Path, seconds: float = 10.0) -> Report:
    (folder / solution(exercise).name).write_text(source)
    return grade(exercise, folder, seconds)


def text(report: Report) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(report.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("exercise", DRAWN)
def test_the_solution_gets_all_points(exercise: str) -> None:
    began = time.monotonic()
    report = grade(exercise, ROOT / "solutions" / exercise)
    assert (report.score, report.max_score) == (100, 100), text(report)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("exercise", DRAWN)
def test_the_stub_gets_no_point_and_says_where_to_begin(exercise: str) -> None:
    report = grade(exercise, ROOT / "exercises" / exercise)
    assert (report.score, report.max_score) == (0, 100)
    assert "is not written yet: " in text(report)
    assert "Traceback" not in text(report) and "smallest case" not in text(report)


@pytest.mark.parametrize("exercise", DRAWN)
def test_the_readme_names_every_check(exercise: str) -> None:
    module = importlib.import_module(f"minidl.course.{exercise}")
    readme = (ROOT / "exercises" / exercise / "README.md").read_text()
    for check in module.CHECKS:
        assert f"| {check.name} | {check.points} |" in readme


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_told(mistake: Mistake, tmp_path: Path) -> None:
    source = solution(mistake.exercise).read_text()
    for right, wrong in mistake.changes.items():
        assert right in source
        source = source.replace(right, wrong)
    report = graded(mistake.exercise, source, tmp_path)
    shown = text(report)
    assert report.score == mistake.score, shown
    for words in mistake.words:
        assert words in shown


@pytest.mark.parametrize("exercise", DRAWN)
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import os\nos._exit(0)\n", "the process ended by itself while loading"),
        ("while True:\n    pass\n", "seconds while loading the file: is there an endless loop?"),
        ("", "defines no"),
    ],
    ids=["syntax", "exit", "endless", "empty"],
)
def test_a_file_that_does_not_load(exercise: str, source: str, words: str, tmp_path: Path) -> None:
    report = graded(exercise, source, tmp_path, seconds=1.0)
    assert report.score == 0
    assert text(report).count(words) == 1


def test_batch_norm_makes_a_deep_network_learn() -> None:
    module = load("hw_batch_norm")
    assert module.train(None)[-1] < 0.2 < 0.6 < module.train(module.MyBatchNorm)[-1]


@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 9))
def test_batch_norm_is_minidls_layer(size: int, channels: int, seed: int) -> None:
    layers = [nn.BatchNorm(), load("hw_batch_norm").MyBatchNorm()]
    generator = np.random.default_rng(seed)
    x, dy = generator.normal(size=(2, size, 3, channels))
    found = []
    for layer in layers:
        layer.initialise((3, channels), dtype=np.float64)
        y, saved = layer.forward(x, nn.Mode(training=True, batch_size=size))
        found.append((y, layer.backward(dy, saved), layer.gamma.grad, layer.beta.grad))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_an_lstm_remembers_what_it_has_to_add() -> None:
    module = load("hw_lstm")
    errors = module.train(module.MyLSTM(16), steps=6, epochs=4)
    assert errors[-1] < 0.02


def test_the_students_lstm_is_minidls_layer() -> None:
    layers = [nn.LSTM(3), load("hw_lstm").MyLSTM(3)]
    values = [layer.initialise((5, 2), seed=1).values.shape for layer in layers]
    assert values[0] == values[1]


@pytest.mark.parametrize(("apart", "learns"), [(6, True), (10, False)])
def test_what_no_position_sees_is_not_learnt(apart: int, learns: bool) -> None:
    module = load("hw_receptive_field")
    windows = [module.Window(3, 1, 1, 1)] * 3
    assert (module.receptive_fields(64, windows)[-1].field > apart) == learns
    accuracy = module.train(windows, apart, epochs=6)
    assert accuracy > 0.9 if learns else accuracy < 0.6


def test_generators_find_the_centres_by_the_students_losses() -> None:
    module = load("hw_gan")
    model, found = module.train(module.non_saturating, k=1, epochs=20)
    assert min(found[-1]) > 0.1
    own = Adversarial(nn.NonSaturating(), 3)
    theirs = module.MyTurns(module.MyLoss(module.non_saturating), 3)
    assert [own.phases(step) for step in range(20)] == [theirs.phases(step) for step in range(20)]
    assert model.sample(2).shape == (2, 2)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_trains_as_minidls_and_on_a_ring(nesterov: bool) -> None:
    module = load("hw_momentum")
    ring = strategy.RingAllReduce(2, runtime=Virtual())
    own = optim.SGD(0.01, momentum=0.9, nesterov=nesterov)
    losses, weights = module.train(own, epochs=1)
    for how in (None, ring):
        found, ours = module.train(module.Momentum(0.01, 0.9, nesterov), epochs=1, how=how)
        np.testing.assert_allclose(found, losses, rtol=1e-5)
        for name, value in weights.items():
            np.testing.assert_allclose(ours[name], value, atol=1e-5)
