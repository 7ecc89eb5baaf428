"""The house stands: nothing imports upward, importing is light, README's example runs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = (
    ("cli",),
    ("course", "train"),
    ("strategy", "report"),
    ("tasks",),
    ("runtime",),
    ("sim",),
    ("plans", "models", "data", "analysis"),
    ("nn", "optim"),
    ("kernels",),
)
BESIDE = ("checks", "errors", "files", "reprs", "rng", "tensor_file")
"""Modules that every folder may import; they import none."""
PICTURES = "report"
"""What can draw itself reaches up to it, in a method that does nothing else."""
HEAVY = ("hypothesis", "matplotlib", "multiprocess", "numba", "rich", "typer")


def imported(path: Path) -> Iterator[str]:
    """The folders and modules of minidl that a file imports, wherever in the file.

    But for pictures that a method named `plot` imports.
    """
    tree = ast.parse(path.read_text())
    plots = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "plot"]
    drawing = {part for plot in plots for part in ast.walk(plot)}
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if node in drawing and (
                module.startswith(f"minidl.{PICTURES}.")
            ):
                continue
            case ast.ImportFrom(module="minidl", names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module)) if module.startswith("minidl."):
                yield module.split(".")[1]
            case ast.Import(names=names):
                dotted = (name.name.split(".") for name in names)
                yield from (parts[1] for parts in dotted if parts[0] == "minidl" and parts[1:])


@pytest.mark.parametrize("folder", [folder for row in FLOORS for folder in row])
def test_a_folder_imports_only_what_stands_below_it(folder: str) -> None:
    level = next(level for level, row in enumerate(FLOORS) if folder in row)
    allowed = {name for row in FLOORS[level:] for name in row} | {*BESIDE}
    files = list((ROOT / "minidl" / folder).rglob("*.py"))
    assert files
    for path in files:
        assert set(imported(path)) <= allowed, path


@pytest.mark.parametrize("module", BESIDE)
def test_what_all_use_uses_nothing(module: str) -> None:
    assert not set(imported(ROOT / "minidl" / f"{module}.py")) - {*BESIDE}


def run(code: str, folder: Path) -> str:
    """What a script prints that runs in a process of its own."""
    script = folder / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "what", ["import minidl", "from minidl import analysis, data, models, nn, optim, sim, strategy"]
)
def test_importing_loads_nothing_heavy(what: str, tmp_path: Path) -> None:
    loaded = run(f"import sys\n{what}\nprint(*sys.modules)", tmp_path).split()
    assert not set(loaded) & set(HEAVY)


@pytest.mark.slow
def test_readmes_example_runs_as_it_stands(tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert example
    assert "accuracy" in run(example[1], tmp_path)
    for made in ("losses.png", "ring.png", "lenet.safetensors"):
        assert (tmp_path / made).stat().st_size > 0


def test_readmes_map_has_every_folder_above_what_it_imports() -> None:
    rows = [
        re.findall(r"`minidl/(\w+)`", line)
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("| `minidl/")
    ]
    shown = [folder for row in rows for folder in row]
    assert sorted(shown) == sorted(folder for row in FLOORS for folder in row)
    for level, row in enumerate(rows):
        below = {folder for lower in rows[level:] for folder in lower} | {*BESIDE}
        for folder in row:
            for path in (ROOT / "minidl" / folder).rglob("*.py"):
                assert set(imported(path)) <= below, path
