"""Homework on the command line: laid out, graded, and one case run where it can be looked into."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minidl.cli.main import app

ROOT = Path(__file__).parents[2]
OFF_BY_ONE = (ROOT / "tests" / "course" / "wrong_rings" / "off_by_one.py").read_text()


@pytest.fixture
def minidl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, keyboard: str = "", exit_code: int = 0) -> str:
        result = CliRunner(env={"COLUMNS": "120"}).invoke(app, arguments, keyboard)
        assert result.exit_code == exit_code, result.output
        return result.output

    return run


def ring(line: str) -> str:
    """A ring with a mistake, with this line at the beginning of its function."""
    head, definition, rest = OFF_BY_ONE.partition("def ring_all_reduce")
    first, body = rest.split("\n", 1)
    return f"{head}{definition}{first}\n    {line}\n{body}"


def test_a_start_and_its_grade(minidl, tmp_path: Path) -> None:
    assert minidl("course", "start", "hw_ring").splitlines() == [
        "wrote exercises/hw_ring/README.md",
        "wrote exercises/hw_ring/ring.py",
    ]
    assert "not written yet" in minidl("grade", "hw_ring", exit_code=1)
    (tmp_path / "exercises" / "hw_ring" / "ring.py").write_text(OFF_BY_ONE)
    assert "kept exercises/hw_ring/ring.py" in minidl("course", "start", "hw_ring")
    assert (tmp_path / "exercises" / "hw_ring" / "ring.py").read_text() == OFF_BY_ONE


def test_each_case_has_a_number_by_which_it_runs_here(minidl, tmp_path: Path) -> None:
    (tmp_path / "ring.py").write_text(ring('print("asked for", size)'))
    told = minidl("grade", "hw_ring", exit_code=1)
    assert "case 5: second phase: every rank ends with every sum" in told
    assert "minidl grade hw_ring --case NUMBER --here" in told
    before, here = minidl("grade", "hw_ring", "--case", "5", "--here", exit_code=1).split(
        "The same in this process:"
    )
    assert "case 5: second phase" in before and "case 6" not in before
    assert "smallest failing world size: 2" in before
    assert here.splitlines()[1:] == [
        "asked for 2",
        "asked for 2",  # once more, to see that the answer is the same
        "ring_all_reduce(2) gives [2, "
        "[[[['send', 1, 0], ['receive', 1, 1, True]], [['send', 1, 0], ['receive', 1, 1, False]]], "
        "[[['send', 0, 1], ['receive', 0, 0, True]], [['send', 0, 1], ['receive', 0, 0, False]]]]]",
    ]


def test_here_there_is_a_keyboard(minidl, tmp_path: Path) -> None:
    (tmp_path / "ring.py").write_text(ring("if size == 2: print('you said', input('what? '))"))
    case = ("grade", "hw_ring", "--case", "5", "--here")
    told = minidl(*case, keyboard="something\n", exit_code=1)
    assert "you said something" in told.split("The same in this process:")[1]
    assert "EOFError: the judge has no keyboard" in told.split("The same in this process:")[0]


@pytest.mark.parametrize(
    ("keyboard", "words"),
    [
        pytest.param("p 'here', size\nc\n", "('here', 2)", id="look"),
        pytest.param("q\n", "stopped in the debugger", id="quit", marks=pytest.mark.slow),
    ],
)
def test_here_there_is_a_debugger(keyboard: str, words: str, tmp_path: Path) -> None:
    """In a process of its own, because pytest has a debugger too."""
    (tmp_path / "ring.py").write_text(ring("breakpoint()"))
    command = [sys.executable, "-m", "minidl.cli.main", "grade", "hw_ring", "--case", "5", "--here"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        input=keyboard, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    before, here = done.stdout.split("The same in this process:")
    assert "smallest failing world size: 2" in before
    assert words in here
    assert done.returncode == 1, done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--here"], "--here runs one case: say which, e.g. --case 1 --here"),
        (["--case", "8"], "there is no case 8; hw_ring has 1 to 7"),
        (["--case", "1", "--json"], "--case shows one check"),
    ],
)
def test_cases_that_there_are_not(options: list[str], words: str, minidl, tmp_path: Path) -> None:
    (tmp_path / "ring.py").write_text(OFF_BY_ONE)
    assert words in minidl("grade", "hw_ring", *options, exit_code=2)


def test_where_there_is_no_work(minidl) -> None:
    told = minidl("grade", "hw_ring", exit_code=2)
    assert "`minidl course start hw_ring` lays out the task" in " ".join(told.split())
