"""Segments: reserved, private, nameless; and those that others left behind are found."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from minidl.errors import InputError, SharedMemoryError
from minidl.runtime import memory
from minidl.runtime.leftovers import leftovers, remove
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
def test_leftovers_of_the_dead_are_found_and_removed(dead: Path) -> None:
    living = Path(f"/dev/shm/minidl-{os.getpid()}-0123456789abcdef")
    strange = Path("/dev/shm/minidl-something")
    try:
        living.write_bytes(b"x")
        strange.write_bytes(b"x")
        found = {leftover.path: leftover for leftover in leftovers()}
        assert living not in found and strange not in found
        assert found[dead].bytes == 100
        remove(found[dead])
        remove(found[dead])
        assert not dead.exists()
    finally:
        living.unlink()
        strange.unlink()
