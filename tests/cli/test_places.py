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

COMMANDS = {
    "train --save": ["train", "digits", "-m", "mlp", "-e", "1", "--save"],
    "train --plot": ["train", "digits", "-m", "mlp", "-e", "1", "--plot"],
    "train --timeline": ["train", "digits", "-m", "mlp", "-e", "1", "--timeline"],
    "train --trace": ["train", "digits", "-m", "mlp", "-e", "1", "--trace"],
    "summary --plot": ["summary", "lenet5", "--plot"],
    "bench --plot": ["bench", "scaling", "--plot"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_file_is_not_replaced_unless_forced(words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "kept.png"
    path.write_text("old")
    refused = CliRunner().invoke(app, [*words, str(path)])
    assert refused.exit_code == 2
    assert "--force" in refused.stderr and path.read_text() == "old"
    if not words[0].startswith("bench"):
        forced = CliRunner().invoke(app, [*words, str(path), "--force"])
        assert forced.exit_code == 0, forced.stderr
        assert path.read_bytes() != b"old"


def test_a_resumed_run_may_save_where_it_was_loaded_from(tmp_path: Path) -> None:
    words = ["train", "digits", "-m", "mlp", "-e", "1", "--save", str(tmp_path / "run")]
    assert CliRunner().invoke(app, words).exit_code == 0
    again = CliRunner().invoke(app, [*words, "--resume", str(tmp_path / "run")])
    assert again.exit_code == 0, again.stderr


def test_a_folder_of_ones_own_is_numbered(tmp_path: Path) -> None:
    for name in ("runs", "runs-2", "runs-3"):
        assert places.fresh(tmp_path / "runs") == tmp_path / name
        (tmp_path / name).mkdir()


def test_a_comparison_replaces_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "timeline.png").write_text("old")
    refused = CliRunner().invoke(app, ["compare", "digits", "--out", str(tmp_path)])
    assert refused.exit_code == 2
    assert "timeline.png exists already" in " ".join(refused.stderr.split())
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
