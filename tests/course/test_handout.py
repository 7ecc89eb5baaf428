"""Exercises are laid out from a clone or an installation, and found where students have them."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from minidl.course import EXERCISES, handout
from minidl.course.grading import load_exercise
from minidl.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["clone", "wheel"])
def installed(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working folder, and minidl in a clone or from a wheel, which has no solutions."""
    if request.param == "wheel":
        shutil.copytree(ROOT / "exercises", tmp_path / "package" / "exercises")
        monkeypatch.setattr(handout, "SHIPPED", tmp_path / "package" / "exercises")
        monkeypatch.setattr(handout, "CLONE", tmp_path / "package")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("exercise", EXERCISES)
def test_what_is_laid_out_is_the_exercise(exercise: str) -> None:
    written = handout.start(exercise)
    assert all(written.values())
    assert {path.name for path in written} == {"README.md", load_exercise(exercise).FILE}
    for path in written:
        assert path.read_text() == (ROOT / path).read_text()
    assert handout.find(exercise) == Path("exercises") / exercise


def test_a_students_work_is_kept(installed: Path) -> None:
    folder = installed / "mine"
    folder.mkdir()
    (folder / "ring.py").write_text("my work")
    assert handout.start("hw_ring", "mine") == {
        Path("mine/README.md"): True,
        Path("mine/ring.py"): False,
    }
    assert (folder / "ring.py").read_text() == "my work"
    assert not any(handout.start("hw_ring", folder).values())


def test_a_clones_stub_is_laid_out_whatever_its_exercises_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student who works in a clone may want to begin anew elsewhere."""
    for folder in ("exercises", "solutions"):
        shutil.copytree(ROOT / folder / "hw_ring", tmp_path / folder / "hw_ring")
    (tmp_path / "exercises" / "hw_ring" / "ring.py").write_text("my work")
    monkeypatch.setattr(handout, "CLONE", tmp_path)
    handout.start("hw_ring", tmp_path / "anew")
    stub = (ROOT / "exercises" / "hw_ring" / "ring.py").read_text()
    assert (tmp_path / "anew" / "ring.py").read_text() == stub


@pytest.mark.parametrize("place", ["exercises/hw_lstm", "hw_lstm", "."])
def test_work_is_found(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="`minidl course start hw_lstm` lays out the task"):
        handout.find("hw_lstm")
    Path(place).mkdir(parents=True, exist_ok=True)
    (Path(place) / "lstm.py").touch()
    assert handout.find("hw_lstm") == Path(place)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file; name a folder for hw_ring"):
        handout.start("hw_ring", tmp_path / "file")


def test_a_wheel_has_them_where_they_are_looked_for() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert [ROOT / place for place in shipped.values()] == [handout.SHIPPED]
    assert [*shipped] == ["exercises"]


def test_the_package_index_is_shown_no_path_of_the_repository() -> None:
    """Nor a picture, which an index looks for beside its own page."""
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["readme"]["text"]
    assert not re.search(r"\]\((?!https:)|(docs|exercises|minidl)/", text)
