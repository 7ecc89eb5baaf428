"""No command replaces a file unasked; and what is shown fits the terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

import minidl
from minidl import analysis, models
from minidl.cli import places
from minidl.cli.main import app
from minidl.errors import InputError

TRAIN = ["train", "digits", "-m", "mlp", "-e", "1"]
COMMANDS = {
    "train": (TRAIN, ["--save", "--plot", "--timeline", "--trace"]),
    "summary": (["summary", "lenet5"], ["--plot"]),
    "bench": (["bench", "scaling"], ["--plot"]),
}


@pytest.mark.parametrize(("words", "options"), COMMANDS.values(), ids=COMMANDS)
def test_a_file_is_not_replaced_unless_forced(
    words: list[str], options: list[str], tmp_path: Path
) -> None:
    paths = {option: tmp_path / f"kept{option}.png" for option in options}
    for option, path in paths.items():
        path.write_text("old")
        refused = CliRunner().invoke(app, [*words, option, str(path)])
        assert refused.exit_code == 2
        assert "--force" in refused.stderr and path.read_text() == "old"
    if words[0] == "bench":
        return
    everything = [str(word) for pair in paths.items() for word in pair]
    forced = CliRunner().invoke(app, [*words, *everything, "--force"])
    assert forced.exit_code == 0, forced.stderr
    assert all(path.read_bytes() != b"old" for path in paths.values())
    if words is TRAIN:  # a run that is resumed may save where it was loaded from
        where = str(paths["--save"])
        again = CliRunner().invoke(app, [*words, "--save", where, "--resume", where])
        assert again.exit_code == 0, again.stderr


def test_a_folder_of_ones_own_is_numbered(tmp_path: Path) -> None:
    for name in ("runs", "runs-2", "runs-3"):
        assert places.fresh(tmp_path / "runs") == tmp_path / name
        (tmp_path / name).mkdir()


def test_a_comparison_replaces_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "timeline.png").write_text("old")
    refused = CliRunner().invoke(app, ["compare", "digits", "--out", str(tmp_path)])
    assert refused.exit_code == 2
    assert "timeline.pngexistsalready" in "".join(refused.stderr.split())  # a long path is cut
    assert [path.name for path in tmp_path.iterdir()] == ["timeline.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        places.require_place(tmp_path / "file")


@pytest.mark.parametrize("width", [80, 120])
def test_a_summary_cuts_no_name_in_pieces(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = CliRunner().invoke(app, ["summary", "resnet50"]).stdout
    names = {line.split()[0] for line in shown.splitlines() if line}
    counted = analysis.summary(models.make("resnet50"), models.usual_input("resnet50"))
    assert names >= {row.name for row in counted.rows}
    assert max(map(len, shown.splitlines())) <= width
    assert ("left out" in shown) == (width == 80)


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"minidl {minidl.__version__}\n"
