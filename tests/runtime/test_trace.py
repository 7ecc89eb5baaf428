"""What a rank records of its time, also of work that came to nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minidl.runtime.trace import KINDS, Recorder


@given(
    lengths=st.lists(st.integers(1, 5), max_size=9),
    kept=st.integers(0, 9),
    capacity=st.integers(1, 12),
    more=st.integers(0, 3),
)
def test_what_is_cancelled_is_all_since_a_moment_up_to_now(
    lengths: list[int], kept: int, capacity: int, more: int
) -> None:
    now = 0.0
    recorder = Recorder(capacity, clock=lambda: now)
    cut, expected = 0.0, []
    for number, length in enumerate(lengths):
        if number == kept:
            cut = now
        recorder.add("forward", now, now + length)
        kind = "forward" if number < kept < len(lengths) else "cancelled"
        expected.append((now, now + length, kind))
        now += length
    now += more
    recorder.cancel(cut)
    expected.append((now - more, now, "cancelled"))
    found = [(s["start"], s["stop"], KINDS[s["kind"]]) for s in recorder.spans()]
    assert found == expected[-capacity:]
