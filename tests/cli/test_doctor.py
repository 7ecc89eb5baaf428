"""The doctor sees what it looks at, and advises where something is amiss."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from minidl.cli import doctor
from minidl.runtime import machine


def test_this_machine_can_run_minidl(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(as_json=True) == 0
    findings = json.loads(capsys.readouterr().out)
    names = [finding["name"] for finding in findings]
    for name in ("Python", "packages", "cores", "BLAS", "numba", "shared memory", "GPU"):
        assert name in names
    assert {finding["status"] for finding in findings} <= {"ok", "warn"}
    assert all(finding["found"] for finding in findings)


def test_the_table_shows_every_finding_and_its_advice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [
        doctor.Finding("cores", "ok", "2"),
        doctor.Finding("GPU", "warn", "[none]", "Buy one."),
        doctor.Finding("packages", "bad", "no numpy", "Install it."),
    ]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert doctor.main() == 1
    shown = capsys.readouterr().out
    for finding in findings:
        assert finding.name in shown
        assert finding.found in shown
        assert finding.advice in shown


@pytest.mark.parametrize(
    ("free", "status"), [(0, "bad"), (31, "bad"), (32, "warn"), (255, "warn"), (256, "ok")]
)
def test_room_in_shared_memory(free: int, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    room = SimpleNamespace(f_blocks=1024, f_bavail=free, f_frsize=doctor.MIB)
    monkeypatch.setattr(os, "statvfs", lambda _: room)
    finding = doctor._shared_memory()
    assert finding.status == status
    assert f"{free} of 1024 MiB" in finding.found
    assert bool(finding.advice) == (status != "ok")


def test_no_shared_memory_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SHM", tmp_path / "nowhere")
    assert doctor._shared_memory().status == "bad"


@pytest.mark.parametrize(
    ("content", "cores"), [("max 100000\n", None), ("150000 100000\n", 1.5), ("50000 100000", 0.5)]
)
def test_a_containers_limit_is_read(
    content: str, cores: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(content)
    monkeypatch.setattr(machine, "CGROUPS", (tmp_path / "cpu.max", tmp_path / "none"))
    assert machine.container_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [(-1, None), (200000, 2.0)])
def test_an_older_containers_limit_is_read(
    quota: int, cores: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    monkeypatch.setattr(machine, "CGROUPS", (tmp_path / "none", tmp_path / "cpu.cfs_quota_us"))
    assert machine.container_cores() == cores


def test_a_limit_below_the_cores_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "container_cores", lambda: 2.0)
    assert doctor._cores().status == "warn"
    monkeypatch.setattr(machine, "container_cores", lambda: 8.0)
    assert doctor._cores().status == "ok"


def test_missing_packages_are_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package-of-minidl"))
    finding = doctor._packages()
    assert finding.status == "bad"
    assert "not installed: no-such-package-of-minidl" in finding.found


def test_a_kernel_is_compiled_kept_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "made"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(named))
    finding = doctor._kernel_cache()
    assert finding.status == "ok"
    assert str(named) in finding.found
    (folder,) = named.iterdir()
    assert list(folder.iterdir()) == []  # nothing is left of the trial
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "below"))
    finding = doctor._kernel_cache()
    assert finding.status == "warn"
    assert "file/below" in finding.found and "Not a directory" in finding.found


@pytest.mark.parametrize(
    ("tried", "free", "status", "says"),
    [
        ({"kept": None, "failures": ["/a: No space left"]}, 99, "warn", "/a: No space left"),
        ({"kept": "/tmp", "failures": [], "read": False}, 99, "warn", "none can be read back"),
        ({"kept": "/tmp", "failures": [], "read": True}, 16, "ok", "/tmp, 0 kernels"),
        ({"kept": "/tmp", "failures": [], "read": True}, 15, "warn", "need 16 MiB; make room"),
        ("its process was ended by signal 6", 99, "bad", "ended by signal 6"),
    ],
)
def test_what_the_trial_of_a_kernel_says(
    tried: object, free: int, status: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = SimpleNamespace(f_bavail=free, f_frsize=doctor.MIB)
    monkeypatch.setattr(os, "statvfs", lambda _: room)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(doctor, "_in_a_child", lambda script: tried)
    finding = doctor._kernel_cache()
    assert finding.status == status
    assert says in f"{finding.found}; {finding.advice}"
    assert bool(finding.advice) == (status != "ok")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("import os; os.abort()", "its process was ended by signal 6"),
        ("raise ValueError('why')", "ValueError: why"),
        ("print('[1]')", [1]),
    ],
)
def test_what_a_child_ends_with_is_told(script: str, says: object) -> None:
    assert doctor._in_a_child(script) == says


@pytest.mark.parametrize(
    ("methods", "status"),
    [(["fork", "spawn", "forkserver"], "ok"), (["spawn"], "warn"), (["fork"], "bad")],
)
def test_ways_to_start_a_process(
    methods: list[str], status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multiprocess.get_all_start_methods", lambda: methods)
    assert doctor._processes().status == status


@pytest.fixture
def leftover() -> Iterator[Path]:
    """A segment whose process has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    path = Path(f"/dev/shm/minidl-{ended.pid}-{os.urandom(8).hex()}")
    path.write_bytes(bytes(1024))
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.xdist_group("leftovers")
def test_leftover_segments_are_seen_and_cleared(
    leftover: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "examine", list)
    finding = doctor._leftovers()
    assert finding.status == "warn"
    assert leftover.name in finding.found
    assert "--clear" in finding.advice
    doctor.main(clear=True)
    assert "leftovers removed" in capsys.readouterr().out
    assert not leftover.exists()
    assert leftover.name not in doctor._leftovers().found


@pytest.mark.xdist_group("leftovers")
def test_a_living_processs_segment_is_left_alone() -> None:
    path = Path(f"/dev/shm/minidl-{os.getpid()}-{os.urandom(8).hex()}")
    path.write_bytes(b"x")
    try:
        doctor.clear_leftovers()
        assert path.exists()
    finally:
        path.unlink()
