"""Files are replaced as a whole, behind links too, and lines are added to what is there."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import files, nn, optim
from minidl.errors import FileError
from minidl.nn import export_pytorch
from minidl.plans import ring_all_reduce
from minidl.report.motion import animate_collective
from minidl.report.style import new_figure, save
from minidl.runtime.trace import SPAN, Trace
from minidl.train import Trainer


@given(old=st.binary(max_size=50), new=st.binary(max_size=50), given_as_function=st.booleans())
def test_a_link_stays_and_its_target_is_new(
    old: bytes, new: bytes, given_as_function: bool, tmp_path: Path
) -> None:
    folder, link = tmp_path / "store", tmp_path / "link"
    folder.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to("middle")
    if not (tmp_path / "middle").is_symlink():
        (tmp_path / "middle").symlink_to(folder / "file")
    (folder / "file").write_bytes(old)
    (folder / "file").chmod(0o640)
    files.replace(link, (lambda file: file.write(new)) if given_as_function else new)
    assert link.is_symlink()
    assert (folder / "file").read_bytes() == new
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "link", "middle", "store"]


def test_a_link_to_nothing_gets_a_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "new" / "file")
    files.replace(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new" / "file").read_bytes() == b"1"


def test_a_content_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise ZeroDivisionError

    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        files.replace(tmp_path / "file", fail)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def write_figure(path: Path) -> None:
    save(new_figure(1, 1), path)


def write_trace(path: Path) -> None:
    Trace((np.zeros(1, SPAN),), ("one",)).save_chrome(path)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        *((write_figure, f"figure.{kind}") for kind in ("png", "pdf", "svg", "eps")),
        pytest.param(
            lambda path: animate_collective(ring_all_reduce(2), path),
            "film.gif",
            marks=pytest.mark.slow,
        ),
        (write_trace, "trace.json"),
    ],
)
def test_what_is_drawn_and_exported_is_whole_or_not_there(
    write: Callable[[Path], None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, link = tmp_path / "store" / name, tmp_path / name
    link.symlink_to(target)
    write(link)
    first = target.read_bytes()
    assert link.is_symlink()
    assert len(first) > 50

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(link)
    assert target.read_bytes() == first
    assert [path.name for path in target.parent.iterdir()] == [name]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_figure(path.with_name(f"{path.name}.png")),
        write_trace,
        lambda path: files.append(path, "line"),
        lambda path: trainer().save(path),
        lambda path: export_pytorch(initialised(), path),
    ],
)
def test_a_path_that_cannot_be_written_is_named(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for path, why in (("file/x", "Not a directory|File exists"), ("x" * 300, "name too long")):
        with pytest.raises(FileError, match=f"{path[-99:]}.* cannot be written: .*({why})"):
            write(tmp_path / path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def trainer() -> Trainer:
    made = Trainer(nn.Sequential(nn.Linear(2)), nn.CrossEntropy(), optim.SGD(0.1))
    made.evaluate((np.zeros((2, 2)), np.zeros(2)))
    return made


def initialised() -> nn.Layer:
    made = nn.Linear(2)
    made.initialise((3,))
    return made


def test_a_picture_without_an_ending_gets_one(tmp_path: Path) -> None:
    save(new_figure(1, 1), tmp_path / "picture")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"))),
    torn=st.text(st.characters(exclude_characters="\n\r", codec="utf-8")),
)
def test_lines_are_added_after_a_torn_one_too(lines: list[str], torn: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "log"
    path.unlink(missing_ok=True)
    for line in lines:
        files.append(path, line)
    if torn:
        path.parent.mkdir(exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(torn)
    files.append(path, "last")
    kept = [*lines, *([torn] if torn else []), "last"]
    assert path.read_text("utf-8").split("\n") == [*kept, ""]
