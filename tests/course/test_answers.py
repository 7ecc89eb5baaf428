"""A student's code that takes minidl's answer for its own is refused, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from minidl.course import EXERCISES, grade
from minidl.course.answers import ANSWERS
from minidl.course.grading import load_exercise
from minidl.course.student import Student

SEARCH = """
import importlib, pkgutil, minidl
seen, refused, names = set(), set(), {names!r}
for part in ("nn", "optim", "plans", "tasks", "analysis", "strategy", "kernels.reference"):
    package = importlib.import_module("minidl." + part)
    found = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    for module in [package, *(importlib.import_module(info.name) for info in found)]:
        for name in names:
            owner, _, method = name.partition(".")
            try:
                value = getattr(module, owner)
                if method:
                    getattr(value, method)()
                seen.add((module.__name__, name))
            except AttributeError:
                pass
            except Exception as error:
                assert "asks you to write" in str(error), error
                refused.add(name)
assert not seen, seen
assert refused == names, names - refused
assert False, "all are refused"
"""


def gone(exercise: str, source: str, folder: Path) -> str:
    path = folder / load_exercise(exercise).FILE
    path.write_text(source)
    with Student(path, exercise) as student:
        return student.gone


@pytest.mark.parametrize(
    "exercise",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name not in ("hw_gan", "hw_lstm") else [])
        for name in EXERCISES
    ],
)
def test_each_answer_is_refused_wherever_it_is(exercise: str, tmp_path: Path) -> None:
    source = SEARCH.format(names={*ANSWERS[exercise].split()})
    assert "all are refused" in gone(exercise, source, tmp_path)


def test_each_exercise_has_an_answer() -> None:
    assert sorted(ANSWERS) == sorted(EXERCISES)


LINES = (
    "from minidl import nn; nn.LSTM(3)",
    "from minidl.nn.recurrent import *; LSTM",
    "from minidl import nn; vars(nn)['LSTM']",
    "from minidl import nn; nn.__dict__['LSTM']",
    "import sys, minidl.nn; sys.modules['minidl.nn'].LSTM",
    "from minidl.course.hw_lstm import CHECKS",
    "import minidl.course.hw_lstm as exercise; exercise.CHECKS",
    "from minidl.kernels import cpu; cpu.lstm_scan",
)
WAYS = f"""
for line in {LINES}:
    try:
        exec(line)
    except Exception as error:
        assert "asks you to write" in str(error), (line, error)
    else:
        assert False, line
assert False, "all are refused"
"""


def test_the_usual_ways_to_an_answer(tmp_path: Path) -> None:
    assert "all are refused" in gone("hw_lstm", WAYS, tmp_path)


@pytest.mark.parametrize(
    "line", ["from minidl.nn import LSTM", "from minidl.course import hw_lstm"]
)
def test_the_student_is_told(line: str, tmp_path: Path) -> None:
    (tmp_path / "lstm.py").write_text(f"x = 1\n{line}\n")
    report = grade("hw_lstm", tmp_path)
    assert report.score == 0
    assert "AnswerError: minidl." in report.results[0].message
    assert "hw_lstm asks you to write: use your own" in report.results[0].message
    assert f"lstm.py, line 2: {line}" in report.results[0].message


def test_a_ring_for_training_may_be_anyones(tmp_path: Path) -> None:
    (tmp_path / "plan.py").write_text("from minidl.plans import ring_all_reduce")
    with Student(tmp_path / "plan.py", "programs") as student:
        assert student.ask("programs", 2)[0] == 2
