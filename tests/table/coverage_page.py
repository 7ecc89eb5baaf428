"""The table as a page of the documentation: rows and reasons from here, marks from a run."""

from __future__ import annotations

import re
from collections.abc import Mapping

from layer_rows import LAYERS
from loss_rows import GAMES, LOSSES
from rows import COLUMNS, Row
from rule_rows import RULES

SECTIONS = {
    "Layers": LAYERS,
    "Losses": LOSSES,
    "Adversarial losses": GAMES,
    "Update rules": RULES,
}
PASSED, ABSENT = "✓", "–"
SKIPPED = {"gpu": "no device", "oracle": "no PyTorch"}
Marks = Mapping[tuple[str, str], str]
"""A mark for each row and column that has a test."""

TOP = """# What is checked

One test for each cell, over inputs that Hypothesis draws. `make table` runs them and writes
this page; a test fails when its rows are not those of the code. Where a machine had no GPU or no
PyTorch, the cell says so; `.venv/bin/pip install torch` brings the latter. An asterisk points to a
note below the table.
"""


def cells() -> dict[tuple[str, str], Row]:
    """All that must have a mark."""
    rows = [row for section in SECTIONS.values() for row in section]
    return {
        (row.title, column): row for row in rows for column in COLUMNS if column not in row.absent
    }


def line(parts: list[str]) -> str:
    return f"| {' | '.join(parts)} |"


def page(marks: Marks) -> str:
    """The page, in Markdown."""
    text = [TOP]
    text += [f"{column}\n: {what}.\n" for column, what in COLUMNS.items()]
    for title, rows in SECTIONS.items():
        text += [f"## {title}\n", line(["", *COLUMNS]), line(["---"] * (1 + len(COLUMNS)))]
        notes: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            found = [f"`{row.title}`"]
            for column in COLUMNS:
                said = row.absent.get(column) or row.notes.get(column)
                if said:
                    notes.setdefault((row.title, said), []).append(column)
                mark = ABSENT if column in row.absent else marks[row.title, column]
                found.append(f"{mark} \\*" if said else mark)
            text.append(line(found))
        together: dict[tuple[str, str], list[str]] = {}
        for (name, said), columns in notes.items():
            together.setdefault((", ".join(columns), said), []).append(f"`{name}`")
        text += ["", *(f"- \\* {', '.join(n)}, {c}: {s}." for (c, s), n in together.items()), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(text)).rstrip() + "\n"


def marks_of(text: str) -> dict[tuple[str, str], str]:
    """The marks that stand on a page."""
    found = {}
    for name, rest in re.findall(r"^\| `([^`]+)` \| (.*) \|$", text, re.MULTILINE):
        for column, mark in zip(COLUMNS, rest.split(" | "), strict=True):
            found[name, column] = mark.removesuffix(" \\*")
    return found
