"""With bubblewrap: a student's code sees no answers, changes nothing, and ends no other process."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from minidl.course import grade, sandbox
from minidl.course.student import Student

ROOT = Path(__file__).parents[2]
SPY = """
import os, socket
def tried(what):
    try:
        return what()
    except OSError as error:
        return type(error).__name__
print("solutions", tried(lambda: os.listdir({root!r} + "/solutions")))
print("system", tried(lambda: open({root!r} + "/minidl/changed", "w")))
print("beside", tried(lambda: open({here!r} + "/changed", "w")))
print("network", tried(lambda: socket.create_connection(("127.0.0.1", {port}), 1)))
print("own", tried(lambda: open("mine", "w").name), os.getcwd(), os.environ["TMPDIR"])
print("judge", tried(lambda: os.kill({judge}, 0)))
print("processes", len([name for name in os.listdir("/proc") if name.isdigit()]) < 4)
"""


@pytest.fixture
def bubblewrap(tmp_path: Path) -> None:
    (tmp_path / "ring.py").touch()
    if trouble := sandbox.trouble(tmp_path / "ring.py"):
        pytest.skip(trouble)


@pytest.mark.usefixtures("bubblewrap")
def test_what_a_sandbox_keeps_from_the_code(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        spy = SPY.format(root=str(ROOT), here=str(tmp_path), port=port, judge=os.getpid())
        (tmp_path / "ring.py").write_text(spy)
        with Student(tmp_path / "ring.py", "hw_ring") as student:
            assert student.gone == "ring.py defines no function named ring_all_reduce"
    assert student.isolation == "in a sandbox"
    assert student.printed.splitlines() == [
        "solutions []",
        "system OSError",
        "beside OSError",
        "network ConnectionRefusedError",
        "own mine /tmp /tmp",
        "judge ProcessLookupError",
        "processes True",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["ring.py"]


@pytest.mark.usefixtures("bubblewrap")
def test_a_solution_in_a_sandbox(tmp_path: Path) -> None:
    report = grade("hw_ring", ROOT / "solutions" / "hw_ring")
    assert report.passed
    assert "in a sandbox" in report.to_json()


@pytest.mark.parametrize("words", ["", "no namespaces here"])
def test_the_report_says_that_there_is_none(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Because bubblewrap is not installed, or cannot work, as in many containers."""
    if words:
        fake = tmp_path / "bwrap"
        fake.write_text(f"#!/bin/sh\necho {words} >&2\nexit 1\n")
        fake.chmod(0o755)
    shell = Path(shutil.which("sh") or "").parent
    monkeypatch.setenv("PATH", f"{tmp_path}:{shell}" if words else str(tmp_path))
    shutil.copy(ROOT / "solutions" / "hw_ring" / "ring.py", tmp_path)
    said = sandbox.trouble(tmp_path / "ring.py")
    assert said == (
        f"bubblewrap does not work here: {words}" if words else "bubblewrap is not installed"
    )
    monkeypatch.undo()
    monkeypatch.setattr(sandbox, "trouble", lambda path: said)
    report = grade("hw_ring", tmp_path)
    assert report.passed
    assert f"Your code ran without a sandbox: {said}." in report.to_json()


def test_a_student_in_a_folder_that_the_sandbox_replaces() -> None:
    """What is bound last wins: the student's folder, also inside of a hidden one."""
    path = ROOT / "solutions" / "hw_ring" / "ring.py"
    words = sandbox.wrapped(["true"], "/private", path)
    binds = [words[at + 2] for at, word in enumerate(words) if word == "--ro-bind"]
    assert binds[-1] == str(path.parent)
    last = len(words) - 1 - words[::-1].index("--tmpfs")
    assert words.index(str(path.parent)) > last
    assert words[-2:] == ["--", "true"]
