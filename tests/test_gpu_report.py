"""The report of ``make gpu``: what fails is said, and nothing that was found before is lost."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from benchmarks import gpu, steps


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for CuPy, which refuses to mix arrays of host and device."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "strategy")
    from pretended_cupy import pretended

    module = pretended()
    module.cuda.runtime.deviceSynchronize = lambda: None
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.delitem(sys.modules, "minidl.kernels.gpu", raising=False)
    yield
    sys.modules.pop("minidl.kernels.gpu", None)


def test_without_a_device_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MINIDL_KERNELS", "reference")  # main sets it, and it is taken back here
    monkeypatch.setattr(sys, "argv", ["gpu", str(tmp_path / "report.md")])
    monkeypatch.setattr(gpu, "NEEDED", (*gpu.NEEDED, "no_such_package"))
    assert gpu.main() == 2
    assert "no_such_package" in capsys.readouterr().err
    assert not (tmp_path / "report.md").exists()


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
