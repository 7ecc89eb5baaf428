"""Homework on drawn inputs: solutions pass, stubs and typical mistakes are told what is wrong."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistakes import EARLY, MISTAKES, Mistake
from rich.console import Console
from test_forms import DRAWS, graded_here

from minidl import data, kernels, models, nn, optim, plans, strategy
from minidl.course import EXERCISES, Report, checks, grade, load_plan_maker
from minidl.course.hw_batch_norm import CHECKS
from minidl.course.student import Student
from minidl.errors import ExerciseError
from minidl.plans import check_all_reduce
from minidl.runtime import Processes, Virtual
from minidl.sim.formulas import stability_edge
from minidl.tasks import Adversarial
from minidl.train import Trainer

ROOT = Path(__file__).parents[2]
DRAWN = tuple(name for name in EXERCISES if name != "hw_ring")


def solution(exercise: str) -> Path:
    (path,) = (ROOT / "solutions" / exercise).glob("*.py")
    return path


@functools.cache
def load(exercise: str, path: Path | None = None) -> ModuleType:
    """The solution, or another file, as what a student's file is when it is run."""
    path = path or solution(exercise)
    spec = importlib.util.spec_from_file_location(f"solution_{exercise}", path)
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
def test_the_solution_gets_all_points_and_nothing_is_left_beside_it(
    exercise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    report = graded(exercise, solution(exercise).read_text(), tmp_path)
    assert (report.score, report.max_score) == (100, 100), text(report)
    assert time.monotonic() - began < 20
    assert [path.name for path in tmp_path.iterdir()] == [solution(exercise).name]


@pytest.mark.parametrize("exercise", DRAWN)
def test_the_stub_gets_no_point_and_says_where_to_begin(exercise: str, tmp_path: Path) -> None:
    stub = ROOT / "exercises" / exercise / solution(exercise).name
    report = graded_here(exercise, stub.read_text(), tmp_path)
    assert (report.score, report.max_score) == (0, 100)
    assert "is not written yet: " in text(report)
    assert "Traceback" not in text(report) and "smallest case" not in text(report)


@pytest.mark.parametrize("exercise", DRAWN)
def test_the_readme_names_every_check(exercise: str) -> None:
    module = importlib.import_module(f"minidl.course.{exercise}")
    readme = (ROOT / "exercises" / exercise / "README.md").read_text()
    for check in module.CHECKS:
        assert f"| {check.name} | {check.points} |" in readme


RARE = ("log-of-infinity", "by-the-root", "only-what-fits", "full-but-open")
"""Mistakes that few inputs show: they need all draws to be found."""


def _mistakes() -> Iterator[Any]:
    """All mistakes; those after the first three of an exercise take time that not every run has."""
    seen: Counter[str] = Counter()
    for name, mistake in MISTAKES.items():
        seen[mistake.exercise] += 1
        slow = seen[mistake.exercise] > 3
        draws = checks.EXAMPLES if slow or name in RARE else DRAWS
        yield pytest.param(mistake, draws, id=name, marks=[pytest.mark.slow] * slow)


@pytest.mark.parametrize(("mistake", "draws"), list(_mistakes()))
def test_a_mistake_is_told(
    mistake: Mistake, draws: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "EXAMPLES", draws)
    source = solution(mistake.exercise).read_text()
    for right, wrong in mistake.changes.items():
        assert right in source
        source = source.replace(right, wrong)
    report = graded_here(mistake.exercise, source, tmp_path)
    shown = "\n".join(result.message for result in report.results)
    assert report.score == pytest.approx(mistake.score), shown
    for words in mistake.words:
        assert words in shown


def test_a_file_that_does_not_load(tmp_path: Path) -> None:
    report = graded("hw_gan", "while True:\n    pass\n", tmp_path, seconds=0.5)
    assert report.score == 0
    words = "still running after 0.5 seconds while loading the file: is there an endless loop?"
    assert text(report).count(words) == 1
    report = graded_here("hw_gan", "", tmp_path)
    assert report.score == 0
    assert text(report).count("gan.py defines no function named") == 1


def test_batch_norm_makes_a_deep_network_learn() -> None:
    module = load("hw_batch_norm")
    assert module.train(None)[-1] < 0.2 < 0.6 < module.train(module.MyBatchNorm)[-1]


@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 9))
def test_batch_norm_is_minidls_layer(size: int, channels: int, seed: int) -> None:
    layers = [nn.BatchNorm(), load("hw_batch_norm").MyBatchNorm()]
    generator = np.random.default_rng(seed)
    x, dy = generator.normal(size=(2, size, 3, channels))
    found = []
    with kernels.using("reference"):
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


@pytest.mark.slow
def test_generators_find_the_centres_by_the_students_losses() -> None:
    module = load("hw_gan")
    model, found = module.train(module.non_saturating, k=1, epochs=60)
    assert min(found[-1]) > 0.1
    assert model.sample(2).shape == (2, 2)


@pytest.mark.parametrize(
    ("own", "theirs", "k"),
    [(nn.NonSaturating(), "non_saturating", 3), (nn.Minimax(), "minimax", 1)],
)
def test_generators_learn_the_same_by_the_students_losses(
    own: nn.Minimax, theirs: str, k: int
) -> None:
    module = load("hw_gan")
    tasks = Adversarial(own, k), module.MyTurns(module.MyLoss(getattr(module, theirs)), k)
    assert [tasks[0].phases(n) for n in range(20)] == [tasks[1].phases(n) for n in range(20)]
    weights = []
    for task in tasks:
        trainer = Trainer(models.mlp_gan((2,), latent=2, hidden=8), task, optim.SGD(0.05), seed=0)
        trainer.fit(module.mixture(96), epochs=1, batch_size=16, progress=False)
        first = trainer.weights()
        trainer.fit(module.mixture(96), epochs=1, batch_size=16, progress=False)
        weights.append(trainer.weights())
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, atol=1e-6)
        assert np.abs(value - first[name]).max() > 1e-4


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


def test_the_students_torus_trains_as_one_process() -> None:
    make = load_plan_maker(solution("hw_torus"))
    assert make(6) is make(6)
    momentum = load("hw_momentum")
    losses, weights = momentum.train(optim.SGD(0.1), epochs=1)
    torus = strategy.AllReduce(6, plan=make, runtime=Virtual())
    found, ours = momentum.train(optim.SGD(0.1), epochs=1, how=torus)
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    for name, value in weights.items():
        np.testing.assert_allclose(ours[name], value, atol=1e-5)


@given(st.integers(1, 4), st.integers(1, 4))
def test_a_torus_costs_what_minidls_does(rows: int, columns: int) -> None:
    found = load("hw_torus").torus_all_reduce(rows, columns)
    plan = plans.Collective("torus", tuple(map(tuple, found)), chunks=rows * columns)
    costs = check_all_reduce(plan)
    ours = check_all_reduce(plans.torus_all_reduce(rows * columns, (rows, columns)))
    assert (costs.steps, costs.chunks_sent) == (ours.steps, ours.chunks_sent)


def test_a_plan_of_neither_exercise_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.py").write_text("def all_reduce(size):\n    return []\n")
    with pytest.raises(ExerciseError, match=r"plan.py: .* no function named ring_all_reduce"):
        load_plan_maker(tmp_path / "plan.py")(4)


@pytest.mark.parametrize(
    ("name", "k", "own"),
    [("KBatchSync", 5, plans.KBatchSync(5)), ("KAsync", 3, plans.KAsync(3)),
     ("KAsync", 8, plans.FullySync())],
)  # fmt: skip
def test_the_students_rules_train_as_minidls(name: str, k: int, own: plans.Rule) -> None:
    module = load("hw_server")
    assert module.train(getattr(module, name)(k), epochs=1) == module.train(own, epochs=1)


@pytest.mark.parametrize(("name", "k"), [("KBatchSync", 3), ("KAsync", 2)])
def test_the_students_rules_serve_real_learners(name: str, k: int) -> None:
    rule = getattr(load("hw_server"), name)(k)
    trainer = Trainer(models.mlp((8,)), nn.CrossEntropy(), optim.SGD(0.1))
    how = strategy.ParameterServer(2, rule, runtime=Processes(deadline=30))
    history = trainer.fit(
        data.digits()[0].take(slice(0, 96)), epochs=2, batch_size=32, strategy=how
    )
    assert {len(stale) for stale in history.staleness} == {k}
    assert not any(map(any, history.staleness))  # with two, and k gradients an update


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("apply=((0, 0, 0, 0),)", "named as Push(learner, version), not as (0, 0"),
        ("apply=(plans.Push('a', 0),)", "TypeError: 'str' object cannot be interpreted"),
        ("apply=None", "TypeError: 'NoneType' object is not iterable"),
        ("drop=(0,)", "named as Push(learner, version), not as 0"),
    ],
)
def test_decisions_that_name_nobody(wrong: str, words: str, tmp_path: Path) -> None:
    source = solution("hw_server").read_text()
    changed = source.replace("apply=tuple(sorted(waiting))", wrong)
    report = graded_here("hw_server", changed, tmp_path)
    assert report.score == 0
    assert words in text(report)


def test_weights_for_staleness_rescue_a_run_as_minidls_do() -> None:
    module = load("hw_staleness")
    lr = 0.75 * stability_edge(7)
    assert module.train(optim.SGD(lr))[-1] > 1e3
    for own, by in ((module.ByGradient, "gradient"), (module.ByMean, "mean")):
        found = module.train(own(lr))
        assert found[-1] < 1e-6
        assert found == module.train(optim.StalenessAware(optim.SGD(lr), by))


@given(
    st.dictionaries(st.integers(0, 99).map(str), st.integers(0, 9)),
    st.integers(1, 20) | st.floats(0.1, 9) | st.just(math.inf),
    st.data(),
)
def test_buckets_and_launches_are_minidls(sizes: dict[str, int], least: float, draw: Any) -> None:
    module = load("hw_overlap")
    cut = plans.buckets(sizes, least)
    assert module.buckets(sizes, least) == cut
    ours, theirs = plans.Launches(cut), module.Launches(cut)
    for name in draw.draw(st.permutations([*sizes])):
        assert [*ours.filled(name)] == [*theirs.filled(name)]


def test_buckets_train_the_same_to_the_last_bit_unless_sent_too_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits, unseen = data.digits()
    monkeypatch.setattr(data, "digits", lambda: (digits.take(slice(0, 192)), unseen))
    source = solution("hw_overlap").read_text()
    for right, wrong in EARLY.items():
        assert right in source
        source = source.replace(right, wrong)
    (tmp_path / "overlap.py").write_text(source)
    ours, early = load("hw_overlap"), load("hw_overlap", tmp_path / "overlap.py")
    _, plain = ours.train(plans.Bucketing(), False, Virtual(), epochs=1)
    for module in (ours, early):
        own = plans.Bucketing(module.buckets, module.Launches)
        _, beside = module.train(own, True, Virtual("unlimited"), epochs=1)
        same = all(np.array_equal(plain[name], beside[name]) for name in plain)
        assert same == (module is ours)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("return found", "return None"), "a list of lists of names, not None: is a return missin"),
        (("return found", "return ['ab']"), "should return a list of lists of names, not 'ab'"),
        (("return found", "return [['z']]"), "list of lists of names; 'z' is none of []"),
        (("return range(first, self.next)", "return None"), "a list of numbers, not None: is a"),
        (("return range(first, self.next)", "return {0}"), "return a list of numbers, not {0}"),
        (("return range(first, self.next)", "return [9]"), "bucket 9 is launched, which is none"),
        (("return range(first, self.next)", "return ['a']"), "TypeError: 'str' object cannot be"),
    ],
)
def test_what_is_no_bucket_and_no_number(
    change: tuple[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "EXAMPLES", DRAWS)
    source = solution("hw_overlap").read_text()
    assert change[0] in source
    report = graded_here("hw_overlap", source.replace(*change), tmp_path)
    assert report.score < 100
    assert words in text(report)


def batch_norm_with(line: str) -> str:
    """The solution, with a line in front of what `forward` does."""
    first = "    off = x - x.mean(axis=0)"
    source = solution("hw_batch_norm").read_text()
    assert first in source
    return source.replace(first, f"    {line}\n{first}")


def test_an_endless_call_is_stopped(tmp_path: Path) -> None:
    report = graded("hw_batch_norm", batch_norm_with("while len(x) > 1: pass"), tmp_path, 0.5)
    assert "still running after 0.5 seconds in forward for M = 2, C = 1" in text(report)


def test_results_that_differ_from_call_to_call(tmp_path: Path) -> None:
    """They are wrong for a while, and right when they are tried again."""
    line = "globals()['n'] = globals().get('n', 0) + 1; x = -x if 10 < n < 14 else x"
    assert "the same input" in text(graded_here("hw_batch_norm", batch_norm_with(line), tmp_path))


TOLD = (
    ("return x", "forward: should return (y, saved), not ndarray"),
    ("return None", "forward: should return (y, saved), not None: is a return missing?"),
    ("return x, x, x", "forward: should return (y, saved), not 3 values"),
    ("return 'y', None", "y should be an array of shape (2, 1), not"),
    ("return x[0], None", "y should have the shape (2, 1), not (1,)"),
    ("return lambda: x, None", "forward: the result should be a number, an array"),
    ("return np.zeros(10**6), None", "has 1000000 entries, which is more than 100000"),
    ("raise ValueError('so not')", "forward: ValueError: so not"),
    ("bytearray(3 << 30)", "forward: MemoryError"),
    ("import sys; sys.exit()", "forward: SystemExit"),
    ("import os; os._exit(0)", "the process ended by itself in forward for M = 2, C = 1"),
)
"""What `forward` does, and what is told of it; after the last one nothing more can be asked."""


def test_what_the_student_is_told(tmp_path: Path) -> None:
    """In one process: which of these is done depends on eps."""
    path = tmp_path / "batch_norm.py"
    lines = (f"if eps == {eps}: {line}\n    " for eps, (line, _) in enumerate(TOLD))
    path.write_text(batch_norm_with("".join(lines)))
    with Student(path, "hw_batch_norm") as student:
        student.case = "M = 2, C = 1"
        for eps, (_, words) in enumerate(TOLD):
            with pytest.raises(ExerciseError) as told:
                CHECKS[0].prove(student, M=2, C=1, seed=0, eps=eps)
            assert words in str(told.value)
            assert "Traceback" not in str(told.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "batchnorm.py").touch()
    report = grade("hw_batch_norm", tmp_path)
    assert report.score == 0
    missing = f"there is no file batch_norm.py in {tmp_path}; there is: batchnorm.py"
    assert " ".join(text(report).split()).count("there is no file") == 1
    assert missing in report.results[0].message
