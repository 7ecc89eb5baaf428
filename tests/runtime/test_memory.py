"""Segments: reserved, private, nameless; and those that others left behind are found."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import multiprocess
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from minidl.errors import InputError, SharedMemoryError
from minidl.runtime import leftovers, memory
from minidl.runtime.memory import Segment, SharedArrays


@given(
    st.dictionaries(
        st.text(max_size=3),
        st_numpy.arrays(
            st.sampled_from([np.uint8, np.int64, np.float32, np.complex128, np.bool_]),
            st_numpy.array_shapes(min_dims=0, min_side=0),
        ),
        max_size=4,
    )
)
def test_shared_arrays_are_equal_aligned_and_apart(arrays: dict[str, np.ndarray]) -> None:
    shared = SharedArrays(arrays)
    assert list(shared) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(shared[name], array)
        assert shared[name].dtype == array.dtype
        assert shared[name].size == 0 or shared[name].ctypes.data % memory.ALIGNMENT == 0
        shared[name][...] = 0
    held = dict(shared)
    shared.close()
    assert not shared.open and len(shared) == 0
    assert all((array == 0).all() for array in held.values())


def test_ctrl_c_while_arrays_are_copied_leaves_nothing() -> None:
    class Interrupted(dict[str, np.ndarray]):
        looks = 0

        def items(self) -> Any:
            self.looks += 1
            yield from super().items()
            if self.looks > 1:
                raise KeyboardInterrupt

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt) as caught:
        SharedArrays(Interrupted(x=np.zeros(100)))
    assert len(os.listdir("/proc/self/fd")) == before
    assert caught.value.__traceback__ is not None  # whose frames are still there


def test_arrays_of_objects_cannot_be_shared() -> None:
    with pytest.raises(InputError, match="'x' holds Python objects"):
        SharedArrays({"x": np.array([{}])})


def test_a_segment_has_no_name_and_is_reserved() -> None:
    segment = Segment(5 << 20)
    assert not list(Path("/dev/shm").glob(f"minidl-{os.getpid()}-*"))
    status = os.fstat(segment._fd)
    assert status.st_mode & 0o777 == 0o600
    assert status.st_blocks * 512 >= 5 << 20
    segment.close()
    segment.close()


def test_a_disk_that_fills_up_while_reserving_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(memory, "_check_room", lambda size: None)
    room = os.statvfs("/dev/shm")
    size = (room.f_blocks + 1000) * room.f_frsize
    with pytest.raises(SharedMemoryError, match=rf"^{size} bytes .* has \d+ bytes"):
        Segment(size)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def dead() -> Iterator[Path]:
    """A segment whose process has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    path = Path(f"/dev/shm/minidl-{process.pid}-0123456789abcdef")
    path.write_bytes(bytes(100))
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.xdist_group("leftovers")
def test_what_multiprocess_leaves_is_found_once_nobody_has_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "socket_places", lambda: [tmp_path])
    sockets = {}
    for name in ("pymp-open", "pymp-dead"):
        (tmp_path / name).mkdir()
        sockets[name] = socket.socket(socket.AF_UNIX)
        sockets[name].bind(str(tmp_path / name / "listener-x"))
    sockets["pymp-dead"].close()
    (tmp_path / "pymp-new").mkdir()  # its process may be about to make a socket in it
    (tmp_path / "pymp-foreign").mkdir()
    (tmp_path / "pymp-foreign" / "notes").touch()
    used = multiprocess.get_context("spawn").Semaphore(1)
    dead = Path(f"/dev/shm/sem.mp-dead{os.getpid()}")
    dead.touch()
    try:
        found = [leftover.path for leftover in leftovers.leftovers()]
        assert Path(f"/dev/shm/sem.{used._semlock.name[1:]}").exists()
        ours = [path for path in found if path == dead or path.parent == tmp_path]
        assert ours == [dead, tmp_path / "pymp-dead"]
        assert not any(used._semlock.name[1:] in path.name for path in found)
        leftovers.remove(leftovers.Leftover(tmp_path / "pymp-dead", 0))
        assert not (tmp_path / "pymp-dead").exists()
    finally:
        dead.unlink()
        sockets["pymp-open"].close()


@pytest.mark.xdist_group("leftovers")
def test_leftovers_of_the_dead_are_found_and_removed(dead: Path) -> None:
    living = Path(f"/dev/shm/minidl-{os.getpid()}-0123456789abcdef")
    strange = Path("/dev/shm/minidl-something")
    try:
        living.write_bytes(b"x")
        strange.write_bytes(b"x")
        found = {leftover.path: leftover for leftover in leftovers.leftovers()}
        assert living not in found and strange not in found
        assert found[dead].bytes == 100
        leftovers.remove(found[dead])
        leftovers.remove(found[dead])
        assert not dead.exists()
    finally:
        living.unlink()
        strange.unlink()
