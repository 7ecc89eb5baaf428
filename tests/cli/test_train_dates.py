"""``minidl train dates``: what it prints and says in JSON. How well it learns, a slow test says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from minidl import data
from minidl.cli.main import app
from minidl.data.dates import ISO


def minidl(*words: str) -> Any:
    """Run the command line in this process."""
    return CliRunner().invoke(app, ["train", "dates", *words])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few dates."""
    made = data.dates(96, 20)
    monkeypatch.setattr(data, "dates", lambda: made)


def test_figures_are_in_json(few: None) -> None:
    ring = ("-s", "ring", "--optimizer", "rmsprop", "--lr", "0.01")
    result = minidl("-e", "1", "-b", "32", "--json", *ring)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert 0 <= found["exact_greedy"] <= 1
    assert 0 <= found["exact_beam"] <= 1
    _, test = data.dates()
    assert [shown["truth"] for shown in found["predictions"][:10]] == [
        ISO.decode(row) for row in test.targets[:10]
    ]
    wrong = sum(shown["written"] != shown["truth"] for shown in found["predictions"])
    assert wrong >= min(10, round(20 * (1 - found["exact_greedy"])))


def test_predictions_stand_beside_text_and_truth(few: None) -> None:
    result = minidl("-e", "1", "-m", "seq2seq")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("wrong") >= 10
    assert "exact on 20 unseen dates: 0.00% greedy" in result.stdout


def test_another_model_is_refused(few: None) -> None:
    result = minidl("-m", "mlp")
    assert result.exit_code == 2
    assert "dates are for the model seq2seq, not 'mlp'" in " ".join(result.stderr.split())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_unseen_dates_are_read() -> None:
    result = minidl("--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["exact_greedy"] >= 0.98
    assert found["exact_beam"] >= 0.98
