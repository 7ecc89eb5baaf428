"""An expendable rank that is lost: whoever wants to hear of it is told, and all others go on."""

from __future__ import annotations

import itertools
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.errors import DeadlockError, WorkerError
from minidl.plans import Link
from minidl.runtime import (
    Exchange,
    Incoming,
    Launch,
    Loss,
    Lost,
    Outcome,
    Outgoing,
    Processes,
    RankContext,
    ReceiveAny,
    Report,
)
from minidl.runtime.channel import HEADER, Channel, Sending, Uplink
from minidl.runtime.communicator import Communicator
from minidl.runtime.requests import Request
from minidl.runtime.status import Status
from minidl.runtime.trace import Recorder

Program = Generator[Request, Any, Any]
pytestmark = pytest.mark.timeout(30)


def launch(
    *programs: Callable[[RankContext], Program],
    deadline: float = 20.0,
    expendable: Any = None,
    listen: Callable[[int, Any], None] = lambda rank, event: None,
) -> Outcome:
    """The first rank is the one that all others are to be expendable for."""
    size = len(programs)
    return Processes(deadline, slots=2, slot_bytes=64).launch(
        programs,
        shared={},
        channels=[(a, b) for a in range(size) for b in range(size) if a != b],
        listen=listen,
        names=["server", *(f"learner {rank}" for rank in range(1, size))],
        expendable=range(1, size) if expendable is None else expendable,
    )


def stop(kind: str) -> None:
    """End this process, or let it stand still."""
    match kind:
        case "raise":
            raise ZeroDivisionError("one over nothing")
        case "exit":
            os._exit(3)
        case "leave":
            sys.exit(4)
        case "compute":
            while True:
                time.sleep(0.01)
    os.kill(os.getpid(), getattr(signal, kind))
    time.sleep(60)


WHY = {
    "raise": "learner 1 raised an exception: ZeroDivisionError: one over nothing",
    "exit": r"learner 1 \(process \d+\) ended with exit code 3 without a result",
    "leave": "learner 1 raised an exception: SystemExit: 4",
    "SIGKILL": r"learner 1 \(process \d+\) was killed by SIGKILL",
    "SIGSTOP": r"learner 1 \(process \d+\) does not answer: .*stopped by a signal",
    "compute": r"learner 1 \(process \d+\) has been computing for .* longer than the deadline",
}


def gather(messages: int, length: int) -> Callable[[RankContext], Program]:
    """Receives so many messages of every peer, from whom any comes; says who is lost, and why."""

    def program(context: RankContext) -> Program:
        arrays = {peer: np.zeros(length) for peer in range(1, context.size)}
        counts, lost = dict.fromkeys(arrays, 0), {}
        while any(counts[peer] < messages for peer in arrays):
            try:
                peer = yield ReceiveAny(arrays, "number")
                assert (arrays[peer] == counts[peer]).all()
                counts[peer] += 1
            except Lost as loss:
                lost[loss.rank] = loss.why
                # Nothing more can come from it: its process has ended.
                pid = re.search(r"process (\d+)", loss.why)
                stat = Path(f"/proc/{pid and pid[1]}/stat")
                assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"
                del arrays[loss.rank]
        for peer in counts:
            yield Exchange((Outgoing(peer, np.zeros(5 * length), "thanks"),))
        return counts, lost

    return program


def give(
    messages: int, length: int, end: Callable[[RankContext, int], None] = lambda context, sent: None
) -> Callable[[RankContext], Program]:
    """Sends numbered messages, then receives one; `end` may put an end to it before each."""

    def program(context: RankContext) -> Program:
        for number in range(messages):
            end(context, number)
            yield Exchange((Outgoing(0, np.full(length, number, float), "number"),))
        yield Exchange((Incoming(0, np.zeros(5 * length), "thanks"),))

    return program


@pytest.mark.parametrize("kind", WHY)
def test_the_others_go_on_and_are_told(kind: str) -> None:
    """What was sent before is received; what is sent after vanishes; nothing is left to check."""

    def end(context: RankContext, sent: int) -> None:
        if context.rank == 1 and sent == 2:
            stop(kind)

    began = time.monotonic()
    deadline = 1.5 if kind in ("compute", "SIGSTOP") else 20
    outcome = launch(gather(3, 20), give(3, 20, end), give(3, 20, end), deadline=deadline)
    counts, lost = outcome.results[0]
    assert counts == {1: 2, 2: 3}
    assert list(lost) == [1]
    assert re.match(WHY[kind], lost[1])
    assert outcome.results[1:] == (None, None)
    assert outcome.traffic[1] == {} and not len(outcome.trace.ranks[1])
    assert outcome.traffic[2]["number"].messages == 3
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("kind", [kind for kind in WHY if kind != "compute"])
def test_the_caller_hears_of_the_loss_of_a_rank_for_which_nobody_waits(kind: str) -> None:
    """Of any but one that computes: how long it may only matters to whoever waits for it."""

    def deserted(context: RankContext) -> Program:
        yield Report("here")
        stop(kind)

    def server(context: RankContext) -> Program:
        yield Report("here")

    heard: list[tuple[int, Any]] = []
    launch(server, deserted, deadline=1.0, listen=lambda *news: heard.append(news))
    (loss,) = [event for rank, event in heard if rank == 1 and event != "here"]
    assert isinstance(loss, Loss) and loss.name == "learner 1"
    assert re.match(WHY[kind], loss.why)


@settings(max_examples=6)
@given(pieces=st.integers(1, 12), struck=st.integers(0, 14), reduce=st.booleans())
def test_a_message_of_which_a_part_arrived_never_comes(
    pieces: int, struck: int, reduce: bool
) -> None:
    """Each piece is 8 numbers; the sender dies after so many sends, some of several pieces."""
    length = 8 * pieces

    def sender(context: RankContext) -> Program:
        add, spans = context.trace.add, iter(range(10**6))

        def strike(kind: str, *place: Any) -> None:
            add(kind, *place)
            if kind == "send" and next(spans) == struck:
                stop("SIGKILL")

        context.trace.add = strike  # type: ignore[method-assign]
        while True:
            yield Exchange((Outgoing(0, np.ones(length), "gradient"),))

    def receiver(context: RankContext) -> Program:
        whole = 0
        try:
            while True:
                found = np.zeros(length)
                yield Exchange((Incoming(1, found, "gradient", reduce),))
                assert (found == 1).all()
                whole += 1
        except Lost as lost:
            # It stays lost; what else is in an exchange with it is done.
            try:
                other = np.zeros(length)
                yield Exchange(
                    (
                        Incoming(1, np.zeros(length), "gradient"),
                        Incoming(2, other, "gradient"),
                        Outgoing(1, np.zeros(99 * length), "gradient"),
                    )
                )
            except Lost as again:
                return lost.rank, again.rank, other.tolist(), whole
        return None

    def other(context: RankContext) -> Program:
        yield Exchange((Outgoing(0, np.full(length, 7.0), "gradient"),))

    *who, numbers, whole = launch(receiver, sender, other).results[0]
    assert who == [1, 1] and numbers == [7.0] * length
    assert whole <= struck + 1


@pytest.mark.parametrize("kind", ["raise", "SIGKILL"])
@pytest.mark.parametrize("expendable", [(), (1, 2)])
def test_who_does_not_go_on_ends_the_run_by_the_error_of_the_lost(
    kind: str, expendable: tuple[int, ...]
) -> None:
    """As if nobody were expendable, but for what the program adds."""

    def hopeless(context: RankContext) -> Program:
        try:
            yield ReceiveAny({1: np.zeros(1), 2: np.zeros(1)}, "number")
        except Lost as lost:
            lost.add_note("what now?")
            raise

    def end(context: RankContext, sent: int) -> None:
        stop(kind)

    with pytest.raises(WorkerError) as caught:
        launch(hopeless, give(1, 1, end), give(0, 1), expendable=expendable)
    text = "raised an exception; its traceback" if kind == "raise" else "(process"
    assert str(caught.value).startswith(f"learner 1 {text}")
    notes = getattr(caught.value, "__notes__", [])
    assert ("what now?" in notes) == bool(expendable)


def test_a_rank_that_is_not_expendable_still_ends_the_run() -> None:
    def killed(context: RankContext) -> Program:
        stop("SIGKILL")
        yield

    with pytest.raises(WorkerError, match=r"^server \(process \d+\) was killed by SIGKILL"):
        launch(killed, give(1, 1), give(1, 1))


def test_a_chain_of_waits_ends_with_the_one_to_blame() -> None:
    """The server waits for learner 2 alone, who is still; learner 1 for the server, in time."""

    def server(context: RankContext) -> Program:
        try:
            yield Exchange((Incoming(2, np.zeros(1), "number"),))
        except Lost as lost:
            yield Exchange((Outgoing(1, np.ones(1), "number"),))
            return lost.rank
        return None

    def learner(context: RankContext) -> Program:
        yield Exchange((Incoming(0, np.zeros(1), "number"),))
        return "heard"

    def still(context: RankContext) -> Program:
        stop("compute")
        yield

    assert launch(server, learner, still, deadline=1.0).results == (2, "heard", None)


def test_a_deadlock_of_those_who_are_left_is_one() -> None:
    def server(context: RankContext) -> Program:
        yield Exchange((Incoming(1, np.zeros(1), "number"), Incoming(2, np.zeros(1), "number")))

    def killed(context: RankContext) -> Program:
        stop("SIGKILL")
        yield

    def waits(context: RankContext) -> Program:
        yield Exchange((Incoming(0, np.zeros(1), "number"),))

    with pytest.raises(DeadlockError, match="^deadlock: server has waited .* for learner 2 in"):
        launch(server, killed, waits)


def test_nobody_waits_to_be_heard_with_a_lost_rank() -> None:
    def heard(context: RankContext) -> Program:
        if context.rank == 1:
            time.sleep(0.2)
            stop("SIGKILL")
        yield Report(None, heard=True)
        return "heard"

    assert launch(heard, heard, heard).results == ("heard", None, "heard")


@given(ticks=st.floats(0.01, 0.6), any_peer=st.booleans(), lost=st.booleans())
def test_what_arrives_between_two_looks_is_taken_at_the_next(
    ticks: float, any_peer: bool, lost: bool
) -> None:
    """Whenever the looks are: here the clock goes on by so much at each of them."""
    clock = itertools.count(0.0, ticks)
    now = 0.0

    def tick() -> float:
        nonlocal now
        now = next(clock)
        return now

    def acquire(block: bool, seconds: float) -> None:
        """Nobody rings when a message arrives that was sent long before."""
        assert seconds <= max(came.due - now, 1e-3)

    memory = np.zeros((2, HEADER + 64), np.uint8)
    ends = threading.Semaphore(0), threading.Semaphore(2), threading.Semaphore(0)
    sent = Channel(1, 0, memory, *ends, Uplink(Link(1.0, math.inf)))
    came = Channel(1, 0, memory, *ends, Uplink(Link(1.0, math.inf)))
    status, got = Status(2), np.zeros(1)
    if lost:
        status.lose(1, "gone")
    communicator = Communicator(
        0,
        2,
        outgoing={},
        incoming={1: came},
        bells=[SimpleNamespace(acquire=acquire)] * 2,
        status=status,
        trace=Recorder(),
        deadline=5.0,
    )
    with patch("minidl.runtime.channel.time", SimpleNamespace(monotonic=tick)):
        Sending(sent, Outgoing(1, np.ones(1), "x"), None).advance()
        asked = ReceiveAny({1: got}, "x") if any_peer else Exchange((Incoming(1, got, "x"),))
        communicator.perform(asked)
    status.segment.close()
    assert got == 1


def test_a_loss_beside_a_program_is_told_once() -> None:
    def server(context: RankContext) -> Program:
        got = np.zeros(1)
        yield Launch(each for each in [Exchange((Incoming(1, got, "never"),))])
        with pytest.raises(Lost, match="learner 1"):
            yield Exchange(())
        yield Exchange((Incoming(2, got, "x"),))
        return got[0]

    def lost(context: RankContext) -> Program:
        yield Report("here")
        raise ZeroDivisionError("one over nothing")

    def alive(context: RankContext) -> Program:
        yield Exchange((Outgoing(0, np.ones(1), "x"),))

    assert launch(server, lost, alive).results == (1, None, None)


@pytest.mark.parametrize(("events", "seconds"), [(0, 1.8), (9, 0.2)])
def test_who_waits_for_a_rank_that_waits_for_the_caller_blames_nobody(
    events: int, seconds: float
) -> None:
    """Callbacks may take longer than the deadline, one or many: meanwhile no rank is at fault."""

    def server(context: RankContext) -> Program:
        for _ in range(events):
            yield Report("step")
            time.sleep(0.06)  # so that they are not heard as one
        yield Report("epoch", heard=True, alone=True)
        yield Exchange((Outgoing(1, np.ones(1), "parameters"),))

    def learner(context: RankContext) -> Program:
        time.sleep(0.06 * events)
        got = np.zeros(1)
        yield Exchange((Incoming(0, got, "parameters"),))
        return got[0]

    outcome = Processes(deadline=1).launch(
        [server, learner],
        shared={},
        channels=[(0, 1)],
        listen=lambda rank, event: time.sleep(seconds),
    )
    assert outcome.results == (None, 1)


def test_who_listens_to_a_loss_may_take_longer_than_the_deadline() -> None:
    def server(context: RankContext) -> Program:
        time.sleep(0.8)
        yield Report("epoch", heard=True, alone=True)
        yield Exchange((Outgoing(1, np.ones(1), "parameters"),))

    def learner(context: RankContext) -> Program:
        got = np.zeros(1)
        yield Exchange((Incoming(0, got, "parameters"),))
        return got[0]

    def lost(context: RankContext) -> Program:
        stop("exit")
        yield

    def listen(rank: int, event: Any) -> None:
        time.sleep(1.8 * isinstance(event, Loss))

    outcome = launch(server, learner, lost, deadline=1.0, listen=listen, expendable=[2])
    assert outcome.results == (None, 1, None)
