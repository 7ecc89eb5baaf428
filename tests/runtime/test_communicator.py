"""The communicator by itself, on threads of one process: sends, barriers, counts, spans."""

from __future__ import annotations

import threading
from collections.abc import Callable

import multiprocess
import numpy as np
import pytest

from minidl.errors import WorkerError
from minidl.runtime.base import Traffic
from minidl.runtime.channel import HEADER, Receiving, Sending
from minidl.runtime.communicator import Communicator
from minidl.runtime.memory import Segment
from minidl.runtime.requests import Incoming, Outgoing
from minidl.runtime.status import WAITING, Status
from minidl.runtime.trace import KINDS, Recorder
from minidl.runtime.waiting import Aborted, WaitedTooLong
from minidl.runtime.worker import Wiring

pytestmark = pytest.mark.timeout(20)
SLOTS, SLOT_BYTES = 2, 64


def communicators(size: int, deadline: float = 5.0) -> tuple[list[Communicator], list[Recorder]]:
    pairs = tuple((a, b) for a in range(size) for b in range(size) if a != b)
    context = multiprocess.get_context("spawn")
    status = Status(size)
    segment = Segment(len(pairs) * SLOTS * (HEADER + SLOT_BYTES))
    wiring = Wiring(
        channels=pairs,
        segment=segment,
        slots=SLOTS,
        slot_bytes=SLOT_BYTES,
        items=[context.Semaphore(0) for _ in pairs],
        space=[context.Semaphore(SLOTS) for _ in pairs],
        bells=[context.Semaphore(0) for _ in range(size)],
        status=status,
    )
    recorders = [Recorder() for _ in range(size)]
    made = []
    for rank in range(size):
        outgoing, incoming = wiring.ends(rank)
        made.append(
            Communicator(
                rank,
                size,
                outgoing=outgoing,
                incoming=incoming,
                bells=wiring.bells,
                status=status,
                trace=recorders[rank],
                deadline=deadline,
            )
        )
    segment.close()
    status.segment.close()
    return made, recorders


def together(*actions: Callable[[], object]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_send_and_receive_count_bytes_and_record_spans() -> None:
    (a, b), (_, recorder) = communicators(2)
    x, y = np.arange(100.0), np.ones(100)
    together(lambda: a.send(x, 1, "x"), lambda: b.recv(y, 0, "x", reduce=True))
    np.testing.assert_array_equal(y, x + 1)
    assert a.traffic == {"x": Traffic(800, 1)} and b.traffic == {}
    spans = recorder.spans()
    assert KINDS.index("reduce") in spans["kind"]
    assert (spans["stop"] >= spans["start"]).all()
    busy = spans[np.argsort(spans["start"])]
    assert (busy["start"][1:] >= busy["stop"][:-1]).all()


def test_nobody_leaves_a_barrier_before_all_have_come() -> None:
    ranks, _ = communicators(3)
    log: list[str] = []

    def run(rank: int) -> None:
        for _ in range(20):
            log.append("come")
            ranks[rank].barrier()
            log.append("go")
            ranks[rank].barrier()

    together(*(lambda rank=rank: run(rank) for rank in range(3)))  # type: ignore[misc]
    assert log == (["come"] * 3 + ["go"] * 3) * 20


def test_abort_wakes_whoever_waits() -> None:
    (a, b), _ = communicators(2, deadline=60)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            b.recv(np.zeros(1), 0, "x")
        except Aborted as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while b._status.rows["state"][1] != WAITING:
        pass
    assert b._status.waits[1].tolist() == [True, False]
    a.abort()
    thread.join(2)
    assert not thread.is_alive() and len(caught) == 1
    with pytest.raises(Aborted):
        a.send(np.zeros(1), 1, "x")


def test_every_wait_ends_at_the_deadline() -> None:
    (a, _), _ = communicators(2, deadline=0.3)
    with pytest.raises(WaitedTooLong):
        a.recv(np.zeros(1), 1, "x")
    with pytest.raises(WaitedTooLong):
        a.barrier()
    assert issubclass(WaitedTooLong, WorkerError)


def test_messages_of_one_channel_never_overtake_each_other() -> None:
    (a, b), _ = communicators(2)
    out, into = a._outgoing[1], b._incoming[0]
    x, y, z = np.arange(24.0), np.zeros(24), np.zeros(24)
    first = Sending(out, Outgoing(1, x, "first"), None)
    second = Sending(out, Outgoing(1, x, "second"), first)
    third = Receiving(into, Incoming(0, y, "first"))
    fourth = Receiving(into, Incoming(0, z, "second"), third)
    assert first.advance() and not first.done
    # The first message is three slots long: two are filled, and neither side may go on with
    # the second message, though there is something to take and then space to fill.
    assert not fourth.advance()
    assert third.advance() and not third.done
    assert not second.advance()
    assert first.advance() and third.advance() and third.done
    assert second.advance() and fourth.advance()
    assert second.advance() and fourth.advance() and fourth.done
    np.testing.assert_array_equal([y, z], [x, x])
