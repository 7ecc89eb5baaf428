"""``minidl train shakespeare``: what it prints, and that it beats counting."""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from minidl import data
from minidl.cli.main import app

SHAKESPEARE = data.shakespeare


def minidl(*words: str) -> Any:
    return CliRunner().invoke(app, ["train", "shakespeare", *words])


@pytest.fixture
def few_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The play, but little of it; and a folder of its own to write to."""
    train, test = SHAKESPEARE(8)
    few = train.take(slice(0, 64)), test.take(slice(0, 16))
    monkeypatch.setattr(data, "shakespeare", lambda: few)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("few_windows")
def test_figures_and_samples_as_json() -> None:
    result = minidl("--json", "--epochs", "1", "--strategy", "pipeline")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    train, test = data.shakespeare()
    assert found["nats"]["network"] == pytest.approx(found["validation"]["loss"], rel=1e-5)
    assert found["nats"]["bigram"] == data.bigram_loss(train, test)
    assert found["nats"]["unigram"] == data.unigram_loss(train, test)
    for name, nats in found["nats"].items():
        assert found["bits"][name] == pytest.approx(nats / log(2))
    assert len(found["samples"]) == 2
    for sample in found["samples"].values():
        assert sample.startswith("ROSALIND\t") and set(sample) <= set(train.classes)


@pytest.mark.usefixtures("few_windows")
def test_figures_and_samples_in_words() -> None:
    result = minidl("--epochs", "1", "--optimizer", "lars", "--seed", "3")
    assert result.exit_code == 0, result.output
    for name in ("network", "bigram", "unigram"):
        assert any(
            line.startswith(name) and "nats" in line and line.endswith("bits a character")
            for line in result.stdout.splitlines()
        )
    assert result.stdout.count("ROSALIND") >= 2


@pytest.mark.usefixtures("few_windows")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "lenet5"], "FitImage"),
        (["--model", "lenet"], "unknown model 'lenet'"),
        (["--lr", "0"], "lr must be greater than 0"),
    ],
)
def test_what_cannot_continue_text_is_refused(words: list[str], message: str) -> None:
    result = minidl(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in " ".join(result.stderr.split())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_network_beats_counting_clearly() -> None:
    result = minidl("--json", "--epochs", "5")
    assert result.exit_code == 0, result.output
    nats = json.loads(result.stdout)["nats"]
    assert nats["network"] < nats["bigram"] - 0.5
    assert nats["bigram"] < nats["unigram"] - 0.5
