"""Exercises are made from solutions, and drift is seen."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from minidl.course.stubs import main, stub
from minidl.errors import InputError

ROOT = Path(__file__).parents[2]
SOLUTION = """\
# stub: import what_the_stub_needs
def answer():
    # stub: raise ValueError("not yet")
    # solution: begin
    return 42
    # solution: end
"""
EXERCISE = """\
import what_the_stub_needs
def answer():
    raise ValueError("not yet")
"""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    solution = tmp_path / "solutions" / "hw" / "answer.py"
    solution.parent.mkdir(parents=True)
    solution.write_text(SOLUTION)
    return tmp_path / "solutions", tmp_path / "exercises"


def test_solution_lines_are_left_out_and_stub_lines_come_alive() -> None:
    assert stub(SOLUTION) == EXERCISE


@pytest.mark.parametrize(
    "text",
    [
        "return 42\n",
        "# solution: begin\nreturn 42\n",
        "return 42\n# solution: end\n",
        "# solution: begin\n# solution: begin\n# solution: end\n",
    ],
)
def test_unpaired_marks_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="solution"):
        stub(text)


def test_writing_then_checking(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(folder) for folder in folders]
    assert main([*arguments, "--check"]) == 1
    assert "+import what_the_stub_needs" in capsys.readouterr().out
    assert not folders[1].exists()
    assert main(arguments) == 0
    assert (folders[1] / "hw" / "answer.py").read_text() == EXERCISE
    assert main([*arguments, "--check"]) == 0


def test_drift_is_shown(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder) for folder in folders]
    main(arguments)
    exercise = folders[1] / "hw" / "answer.py"
    exercise.write_text(EXERCISE.replace("not yet", "never"))
    capsys.readouterr()
    assert main([*arguments, "--check"]) == 1
    shown = capsys.readouterr().out
    assert '-    raise ValueError("never")' in shown and '+    raise ValueError("not yet")' in shown
    assert "out of step: python -m minidl.course.stubs" in shown
    assert "never" in exercise.read_text()


def test_a_folder_without_solutions_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), str(tmp_path)]) == 2
    assert "there are no solutions" in capsys.readouterr().err


def test_this_repositorys_exercises_are_in_step() -> None:
    assert main([str(ROOT / "solutions"), str(ROOT / "exercises"), "--check"]) == 0


@pytest.mark.parametrize("path", sorted(ROOT.glob("exercises/*/*.py")), ids=lambda path: path.name)
def test_a_written_exercise_is_free_of_complaints(path: Path) -> None:
    """What a stub imports for what is not written yet, nobody may use in the end."""
    ruff = pytest.importorskip("ruff")
    written = re.sub(r"raise (errors\.)?NotWrittenError\(", "print(", path.read_text())
    assert "Error(" not in written
    done = subprocess.run(
        [ruff.find_ruff_bin(), "check", "--no-cache", "--stdin-filename", str(path), "-"],
        input=written, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
