"""The report of ``make gpu``: what fails is said, and nothing that was found before is lost."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu, steps
from benchmarks.kernel_calls import calls
from minidl import kernels
from minidl.kernels import reference


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for CuPy, which refuses to mix arrays of host and device."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "strategy")
    from pretended_cupy import pretended

    module = pretended()
    module.cuda.runtime.deviceSynchronize = lambda: None
    monkeypatch.setitem(sys.modules, "cupy", module)
    _forget_gpu()  # which an earlier test may have imported with another stand-in
    yield
    _forget_gpu()


def _forget_gpu() -> None:
    sys.modules.pop("minidl.kernels.gpu", None)
    vars(kernels).pop("gpu", None)


def test_without_a_device_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MINIDL_KERNELS", "reference")  # main sets it, and it is taken back here
    monkeypatch.setattr(sys, "argv", ["gpu", str(tmp_path / "report.md")])
    monkeypatch.setattr(gpu, "missing", lambda names: ["cupy"])
    assert gpu.main() == 2
    assert "missing: cupy. In the checkout, pip install '.[gpu,test]'" in capsys.readouterr().err
    assert not (tmp_path / "report.md").exists()


WITH_NUMPY_ALONE = """
import sys
from benchmarks import gpu
sys.modules.update(dict.fromkeys([*gpu.NEEDED, "numba", "matplotlib", "typer", "pytest"]))
from pretended_cupy import pretended
sys.modules["cupy"] = pretended()
gpu.device, gpu.measure_kernels = lambda cupy: "", lambda report: None
gpu.missing = lambda names=gpu.NEEDED: [name for name in names if name in gpu.NEEDED]
sys.exit(gpu.main())
"""


def test_with_numpy_and_cupy_alone_the_kernels_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    root = Path(__file__).parents[1]
    places = os.pathsep.join([str(root), str(root / "tests" / "strategy")])
    done = subprocess.run(
        [sys.executable, "-c", WITH_NUMPY_ALONE, str(path)],
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    text = path.read_text()
    assert f"passed: {len(calls())} of {len(calls())} kernels agree" in text
    assert text.count("**left out**: it needs pytest, pytest_timeout, hypothesis, dill") == 3
    assert "pip install '.[gpu,test]' installs all of it" in text
    assert "left out, in whole or in part: Tests on the device, Training, Training steps." in text


@pytest.mark.usefixtures("cupy")
def test_a_kernel_that_differs_on_the_device_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert set(calls()) == set(reference.__all__)
    from minidl.kernels import gpu as kernels

    def changes_another_array(w, g, v, *settings):
        reference.adagrad_step(w, g, v, *settings)
        g *= 2

    monkeypatch.setattr(kernels, "adagrad_step", changes_another_array)
    monkeypatch.setattr(kernels, "tanh", lambda x: x * np.float32("nan"))
    monkeypatch.setattr(kernels, "relu", lambda x: 1 / 0)
    report = gpu.Report(tmp_path / "report.md", "minidl on a GPU")
    gpu.check_kernels(report)
    text = (tmp_path / "report.md").read_text()
    assert f"**failed**: {len(calls()) - 3} of {len(calls())} kernels agree" in text
    assert re.findall(r"- `(\w+)`: (\w+)", text) == [
        ("relu", "ZeroDivisionError"),
        ("tanh", "inf"),
        ("adagrad_step", "1"),
    ]


@pytest.mark.usefixtures("cupy")
def test_what_is_past_the_limit_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def rows():
        yield ("first",)
        time.sleep(30)

    for name in ("check_kernels", "measure_steps", "measure_kernels", "train_digits"):
        monkeypatch.setattr(gpu, name, lambda report, *rest: report.add("done"))
    monkeypatch.setattr(gpu, "run_tests", lambda report: report.table(("tests",), rows()))
    monkeypatch.setattr(gpu, "device", lambda cupy: "")
    monkeypatch.setattr(gpu, "missing", lambda names=(): [])
    monkeypatch.setattr(gpu, "LIMIT", 0.3)
    monkeypatch.setenv("MINIDL_KERNELS", "reference")
    monkeypatch.setattr(sys, "argv", ["gpu", str(tmp_path / "report.md")])
    assert gpu.main() == 2
    text = (tmp_path / "report.md").read_text()
    assert text.count("done") == 1
    assert "| first |\n\n**left out**: not finished 0.3 s after the start" in text
    assert text.count("**left out**: 0.3 s had passed") == 3
    assert "Checks: passed, but left out, in whole or in part: Tests on the device, Tr" in text


PYTHON = """#!/bin/bash
echo "${0#$PWD/} ${*:1:2}" >> calls
case "$*" in
  *"import sys, cupy"*) exit $NO_CUPY ;;
  *"missing"*) exit $INCOMPLETE ;;
  "-m venv"*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
  "-m pip"*) exit $NO_NETWORK ;;
esac
"""


@pytest.mark.parametrize(
    ("no_cupy", "incomplete", "no_network", "used"),
    [
        (0, 0, 0, "bin/python3"),
        (0, 1, 0, ".venv/gpu/bin/python"),
        (0, 1, 1, "bin/python3"),
        (1, 1, 0, ".venv/bin/python"),
    ],
)
def test_make_gpu_uses_the_systems_cupy(
    no_cupy: int, incomplete: int, no_network: int, used: str, tmp_path: Path
) -> None:
    """And installs beside it what is missing, where it can."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(Path(__file__).parents[1] / name, tmp_path)
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(0o755)
    given = {"NO_CUPY": no_cupy, "INCOMPLETE": incomplete, "NO_NETWORK": no_network}
    subprocess.run(
        ["make", "gpu"],
        cwd=tmp_path,
        env={
            **{k: str(v) for k, v in given.items()},
            "PATH": f"{python.parent}:{os.environ['PATH']}",
        },
        check=True,
        capture_output=True,
    )
    lines = (tmp_path / "calls").read_text().splitlines()
    assert lines[-1] == f"{used} -m benchmarks.gpu"
    assert ("bin/python3 -m venv" in lines) == (incomplete == 1)


def test_all_tests_for_a_gpu_are_run_and_none_needs_numba() -> None:
    """pytest imports every file that it is given, and ends where one cannot be imported."""
    root = Path(__file__).parents[1]
    given = [root / name for name in gpu.TESTS]
    run = {file for path in given for file in (path.rglob("*.py") if path.is_dir() else [path])}
    marked = {
        file
        for file in root.joinpath("tests").rglob("test_*.py")
        if "pytest.mark.gpu" in file.read_text() and file != Path(__file__)
    }
    assert len(marked) > 4 and marked <= run
    needing = re.compile(r"(import|from) (numba|llvmlite|minidl\.kernels\.cpu)|.* import .*\bcpu\b")
    for file in run:
        assert not [line for line in file.read_text().splitlines() if needing.match(line)], file


@pytest.mark.usefixtures("cupy")
def test_steps_are_measured_on_the_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = "MLP 784-512-256-10, batch 64"
    monkeypatch.setattr(gpu, "MEASURING", 0.0)
    monkeypatch.setattr(steps, "CASES", {name: steps.CASES[name]})
    report = gpu.Report(tmp_path / "report.md", "minidl on a GPU")
    if importlib.util.find_spec("torch"):
        monkeypatch.setattr("benchmarks.measure.TORCH", False)  # it would want a device
    with report.part("Training steps"):
        gpu.measure_steps(report, tmp_path / "report.svg")
    assert not report.failed, (tmp_path / "report.md").read_text()
    assert f"| {name} |" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("body", "failed", "said"),
    [
        ("pass", False, "1 passed, 0 failed, 0 skipped"),
        ("assert 1 == 2", True, "`test_one`: assert 1 == 2"),
        ("import pytest; pytest.skip()", True, "0 passed, 0 failed, 1 skipped"),
    ],
)
def test_a_failed_test_fails_the_report_and_later_parts_still_run(
    body: str, failed: bool, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tests = tmp_path / "test_one.py"
    tests.write_text(f"import pytest\n\n@pytest.mark.gpu\ndef test_one():\n    {body}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    monkeypatch.setattr(gpu, "TESTS", (str(tests),))
    report = gpu.Report(tmp_path / "report.md", "minidl on a GPU")
    with report.part("Checks"):
        gpu.run_tests(report)
    with report.part("Broken"):
        raise ValueError("out of memory")
    with report.part("Later"):
        report.add("still there")
    text = (tmp_path / "report.md").read_text()
    assert said in text
    assert "**failed**: ValueError: out of memory" in text
    assert "still there" in text
    checks = text.partition("## Broken")[0]
    assert ("**failed**" in checks) == failed
