"""Plans are data: their modules know of nothing else in minidl but errors and checks."""

from __future__ import annotations

import ast
from pathlib import Path

import minidl.plans

ALLOWED = ("minidl.checks", "minidl.errors", "minidl.plans", "minidl.reprs")


def test_plans_import_nothing_of_minidl_but_the_ground() -> None:
    files = list(Path(minidl.plans.__file__).parent.rglob("*.py"))
    assert len(files) > 5
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, file
                names = [str(node.module)]
            for name in names:
                if name.partition(".")[0] in ("minidl", "numpy"):
                    assert name.startswith(ALLOWED), f"{file.name} imports {name}"
