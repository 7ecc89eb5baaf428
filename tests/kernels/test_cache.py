"""Compiled kernels are kept, in whichever folder takes them, and a damaged one does no harm."""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import files
from minidl.kernels import cpu
from minidl.kernels.cpu import cache, trial


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where kernels are kept within a test."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "named"))
    return next(cache.folders(Path(trial.__file__).parent))


def compiled() -> Any:
    """A kernel that was called once, after its cache was asked."""
    kernel = cache.njit()(trial.add_one)
    assert kernel(1.0) == 2.0
    return kernel


def hits(kernel: Any) -> int:
    return sum(kernel.stats.cache_hits.values())


def test_a_kernel_is_compiled_once_for_each_form(folder: Path) -> None:
    first, second = compiled(), compiled()
    assert (hits(first), hits(second)) == (0, 1)
    for kernel in first, second:
        assert kernel(1) == 2  # an integer: another form
    assert (hits(first), hits(second)) == (0, 2)
    assert sorted(path.suffix for path in folder.iterdir()) == [cache.SUFFIX] * 2


@given(data=st.data())
def test_whatever_happens_to_a_file_is_noticed(data: st.DataObject) -> None:
    """LLVM ends the process where it is given less, or other code, than was kept."""
    body = data.draw(st.binary(min_size=1, max_size=40))
    whole = cache._digest(body) + body
    cut = st.integers(0, len(whole) - 1).map(lambda end: whole[:end])
    zeros = st.integers(0, len(body) - 1).map(
        lambda end: whole[: len(whole) - len(body) + end] + bytes(len(body) - end)
    )
    place = st.integers(0, len(whole) - 1)
    flipped = place.map(lambda at: whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
    damaged = data.draw(cut | zeros | flipped)
    assert cache.unwrapped(whole) == body
    assert cache.unwrapped(damaged) == (body if damaged == whole else None)


@pytest.mark.parametrize("keep", [0, 3000])
def test_a_damaged_file_is_written_anew(keep: int, folder: Path) -> None:
    compiled()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert hits(compiled()) == 0
    assert hits(compiled()) == 1
    assert len(path.read_bytes()) == len(whole)


def test_a_stale_file_is_written_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled()
    monkeypatch.setattr(cache, "VERSIONS", "other ones")
    assert hits(compiled()) == 0
    assert hits(compiled()) == 1
    assert len(list(folder.iterdir())) == 1


def test_what_is_stale_is_not_unpickled(tmp_path: Path) -> None:
    """What another version has written may not be readable at all."""
    path, identity = tmp_path / "kept", b"a" * cache.DIGEST_BYTES
    kept = b"b" * cache.DIGEST_BYTES + b"not a pickle"
    path.write_bytes(cache._digest(kept) + kept)
    assert cache._read(path, identity) is None


def test_a_kernel_is_compiled_anew_when_another_that_it_inlines_was_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    package = tmp_path / "two_kernels"
    package.mkdir()
    head = "from minidl.kernels.cpu.cache import njit\n"
    call = "from two_kernels.one import one\n@njit()\ndef two(x):\n    return x + one()\n"
    (package / "other.py").write_text(head + call)

    def outcome(number: float) -> tuple[float, int]:
        (package / "one.py").write_text(f"{head}@njit()\ndef one():\n    return {number}\n")
        for name in [name for name in sys.modules if name.startswith("two_kernels")]:
            monkeypatch.delitem(sys.modules, name)
        cache._sources.cache_clear()
        importlib.invalidate_caches()
        kernel = importlib.import_module("two_kernels.other").two
        return kernel(1.0), hits(kernel)

    assert [outcome(1.0), outcome(5.0)] == [(2.0, 0), (6.0, 0)]


def test_a_full_folder_leaves_it_to_the_next(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    monkeypatch.setattr(cache, "folders", lambda source, make=False: iter([folder, other]))
    replace = files.replace

    def full(path: Path, data: bytes) -> None:
        if path.parent == folder:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(path, data)

    monkeypatch.setattr(files, "replace", full)
    kernel = compiled()
    assert kernel._cache.kept.parent == other
    assert kernel._cache.failures == [f"{folder}: No space left on device"]
    assert hits(compiled()) == 1


CALL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as a disk without room for more
from minidl.kernels.cpu import cache, trial
print(cache.njit()(trial.add_one)(1.0))
"""


def test_without_any_folder_kernels_work_and_a_warning_says_what_to_do(tmp_path: Path) -> None:
    """numba ended with "no locator available", or with the bare number of an error."""
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file" / "below")
    names = ("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME")
    ended = subprocess.run(
        [sys.executable, "-c", CALL],
        env=os.environ | dict.fromkeys(names, nowhere) | {"TMPDIR": str(tmp_path)},
        cwd=Path(cpu.__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.stdout == "2.0\n", ended.stderr
    assert "UserWarning: compiled kernels cannot be kept on disk" in ended.stderr
    assert "set NUMBA_CACHE_DIR" in ended.stderr
    assert f"{nowhere}/" in ended.stderr and "File too large" in ended.stderr


def test_nobody_elses_folder_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes there says what this process runs."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache.private_folder() is None
    found = cache.private_folder(make=True)
    assert found is not None and found.stat().st_mode & 0o777 == 0o700
    assert cache.private_folder() == found
    found.chmod(0o770)
    assert cache.private_folder() is None
    found.rmdir()
    found.symlink_to(tmp_path)
    assert cache.private_folder() is None
    found.unlink()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert cache.private_folder(make=True) is None


def test_every_kernel_that_python_calls_is_kept() -> None:
    """Those that are not kept are only called by others, and compiled into them."""
    kept = 0
    for name, module in list(sys.modules.items()):
        if not name.startswith("minidl.kernels.cpu."):
            continue
        for thing in vars(module).values():
            if isinstance(thing, FunctionType) and thing.__module__ == name:
                used = [vars(module).get(each) for each in thing.__code__.co_names]
                for kernel in used:
                    if hasattr(kernel, "py_func"):
                        assert isinstance(kernel._cache, cache.KernelCache), (thing, kernel)
                        kept += 1
    assert kept > 35
