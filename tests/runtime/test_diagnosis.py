"""Whom the table of waits blames, and that whoever waits is named, whoever is asked about."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import DeadlockError
from minidl.runtime.diagnosis import NOBODY, Diagnosis
from minidl.runtime.status import COMPUTING, Status


@pytest.fixture(scope="module")
def stopped() -> Iterator[int]:
    """A process that is stopped by a signal."""
    process = subprocess.Popen(["sleep", "60"])
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    yield process.pid
    process.kill()
    process.wait()


@given(size=st.integers(2, 6), data=st.data())
def test_the_end_of_a_chain_is_blamed_and_who_waits_is_named(
    stopped: int, size: int, data: st.DataObject
) -> None:
    """Rank r waits for rank r + 1; the last computes, or stands still in its own wait."""
    asked, still = data.draw(st.integers(0, size - 1)), data.draw(st.booleans())
    status = Status(size)
    for rank in range(size):
        status.waiting(rank, [(rank + 1) % size], "gradients")
    if still:
        status.rows["pid"][size - 1] = stopped
    else:
        status.doing(size - 1, COMPUTING)
    names = [f"learner {rank}" for rank in range(size)]
    culprit, error = Diagnosis(status, names, deadline=2.0).explain(asked)
    status.segment.close()
    assert culprit == size - 1
    cause, *waits = str(error).split("; ")
    assert cause.startswith(f"learner {size - 1} (process ")
    assert ("stopped by a signal" if still else "computing") in cause
    who = range(asked, size - 1) if asked < size - 1 else [size - 2]
    told = [text for text in waits if " has waited " in text]
    assert [text.split(" has waited ")[0] for text in told] == [names[rank] for rank in who]


@given(size=st.integers(1, 6))
def test_in_a_circle_nobody_is_blamed(size: int) -> None:
    status = Status(size)
    for rank in range(size):
        status.waiting(rank, [(rank + 1) % size], "gradients")
    names = [f"learner {rank}" for rank in range(size)]
    culprit, error = Diagnosis(status, names, deadline=2.0).explain(0)
    status.segment.close()
    assert culprit == NOBODY
    with pytest.raises(DeadlockError, match=f"learner {size - 1} has waited"):
        raise error or AssertionError
