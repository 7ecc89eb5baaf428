"""The table has a row for all that is public, and a test for each cell; the page shows it."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
from coverage_page import PASSED, SECTIONS, SKIPPED, cells, marks_of, page
from rows import COLUMNS, STRATEGIES

from minidl import nn, optim

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
BASES = {nn.Layer, nn.Recurrent, nn.Loss, nn.AdversarialLoss, optim.Optimizer}
MODULES = {
    "Layers": "test_layer_rows",
    "Losses": "test_loss_rows",
    "Adversarial losses": "test_game_rows",
    "Update rules": "test_rule_rows",
}


def test_all_that_is_public_has_a_row():
    public = {
        kind
        for module in (nn, optim)
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, tuple(BASES))
    }
    rows = [row for section in SECTIONS.values() for row in section]
    assert public - BASES == {row.kind for row in rows}
    assert len({row.title for row in rows}) == len(rows)
    for row in rows:
        assert {*row.notes, *row.absent} <= {*COLUMNS}


@pytest.mark.parametrize("title", SECTIONS)
def test_every_column_has_a_test(title):
    """And a row says of every column that has none why."""
    columns = {name for row in SECTIONS[title] for name in COLUMNS if name not in row.absent}
    tests = dir(importlib.import_module(MODULES[title]))
    for column in columns - {*STRATEGIES}:
        assert f"test_{column.replace(' ', '_')}" in tests
    assert not columns & {*STRATEGIES} or "test_strategies" in tests


def test_the_page_shows_these_rows_and_nothing_that_failed():
    text = PAGE.read_text()
    marks = marks_of(text)
    assert set(cells()) <= set(marks), "the table has changed: run `make table`"
    assert page(marks) == text, "the table has changed: run `make table`"
    for cell in cells():
        assert marks[cell] in (PASSED, SKIPPED.get(cell[1])), cell
