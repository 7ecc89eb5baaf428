"""What a worker process does: runs one rank's program and tells the caller how it went."""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import multiprocess
import numpy as np
from multiprocess.connection import Connection, wait

from minidl.plans import Link
from minidl.runtime import limits
from minidl.runtime.base import Traffic
from minidl.runtime.channel import HEADER, Channel, Semaphore, Uplink
from minidl.runtime.communicator import Communicator
from minidl.runtime.memory import Segment
from minidl.runtime.programs import Failure, make_program, pack, pack_small
from minidl.runtime.requests import Lost, RankContext
from minidl.runtime.status import COMPUTING, FINISHED, Status
from minidl.runtime.trace import SPAN
from minidl.runtime.waiting import Aborted, WaitedTooLong

BEAT = 0.1
"""Seconds between two heartbeats."""
BATCH = 0.05
"""Seconds for which events are gathered before they are sent to the caller."""
LENGTH = struct.Struct("!Q")
"""Comes before every message to the caller."""
GRACE = 1.0
"""Seconds that a worker told to stop may take."""


@dataclass(frozen=True)
class Wiring:
    """What all ranks of a launch share.

    Parameters
    ----------
    channels
        The (sender, receiver) pairs.
    segment
        Holds every channel's slots, one channel after the other.
    slots
        How many each channel has.
    slot_bytes
        Bytes that fit into one.
    items
        The semaphore of each channel that counts filled slots.
    space
        The semaphore of each channel that counts free slots.
    bells
        A semaphore for each rank.
    status
        What each rank does.
    link
        What all messages pass, if a network is emulated.
    """

    channels: tuple[tuple[int, int], ...]
    segment: Segment
    slots: int
    slot_bytes: int
    items: list[Semaphore]
    space: list[Semaphore]
    bells: list[Semaphore]
    status: Status
    link: Link | None = None

    def ends(self, rank: int) -> tuple[dict[int, Channel], dict[int, Channel]]:
        """The channels out of and into a rank, by the rank at their other end."""
        row = (self.slots, HEADER + self.slot_bytes)
        outgoing: dict[int, Channel] = {}
        incoming: dict[int, Channel] = {}
        uplink = None if self.link is None else Uplink(self.link)
        for place, (sender, receiver) in enumerate(self.channels):
            if rank not in (sender, receiver):
                continue
            other = receiver if rank == sender else sender
            memory = self.segment.array(np.uint8, row, place * row[0] * row[1])
            items, space = self.items[place], self.space[place]
            channel = Channel(sender, receiver, memory, items, space, self.bells[other], uplink)
            (outgoing if rank == sender else incoming)[other] = channel
        return outgoing, incoming


@dataclass(frozen=True)
class Job:
    """What a worker is handed.

    Parameters
    ----------
    rank
        Which rank the worker is.
    size
        The number of ranks.
    name
        What the rank is called.
    program
        The packed maker of its program.
    shared
        Arrays that all ranks see.
    wiring
        Joins it with the other ranks.
    pipe
        Leads to the caller.
    environment
        The caller's environment variables.
    threads
        How many threads its kernels may use.
    deadline
        Seconds that a wait may last.
    polls
        How often it looks for news before it sleeps.
    """

    rank: int
    size: int
    name: str
    program: bytes
    shared: Mapping[str, np.ndarray]
    wiring: Wiring
    pipe: Connection
    environment: dict[str, str]
    threads: int
    deadline: float
    polls: int


@dataclass(frozen=True)
class Done:
    """What a worker says last: its result, and what it counted and recorded."""

    result: bytes
    traffic: dict[str, Traffic]
    spans: np.ndarray
    beside: np.ndarray
    messages: tuple[dict[int, int], dict[int, int]]
    lost: bool = False


LOST = Done(
    pack_small(None, "nothing"), {}, np.zeros(0, SPAN), np.zeros(0, SPAN), ({}, {}), lost=True
)
"""Stands for what a lost worker would have said."""


@dataclass(frozen=True)
class Events:
    """What a worker's program reported, each packed."""

    packed: list[bytes]


@dataclass(frozen=True)
class Asked:
    """What a worker says that waits until all it said, and unless `alone` all ranks, were heard."""

    alone: bool


def main(job: Job) -> None:
    """Run a rank to its end, in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The server that forked this process may have been started in another environment.
    os.environ.clear()
    os.environ.update(job.environment)
    status = job.wiring.status
    channels: list[Channel] = []
    mail = _Mail(job.pipe)
    status.rows[job.rank]["pid"] = os.getpid()
    status.doing(job.rank, COMPUTING)
    try:
        with limits.explained("its threads cannot be started"):
            threading.Thread(target=_beat, args=(status, job.rank, channels), daemon=True).start()
        done = _run(job, mail, channels)
        mail.close(done)
        status.doing(job.rank, FINISHED)  # only now: if it stops before, that is to be noticed
    except Aborted:
        pass
    except Lost as lost:
        mail.close(lost)
    except (Exception, SystemExit) as error:
        mail.close(Failure.of(error))


def _run(job: Job, mail: _Mail, channels: list[Channel]) -> Done:
    context = RankContext(job.rank, job.size, job.shared, job.threads)
    outgoing, incoming = job.wiring.ends(job.rank)
    channels += [*outgoing.values(), *incoming.values()]
    communicator = Communicator(
        job.rank,
        job.size,
        outgoing=outgoing,
        incoming=incoming,
        bells=job.wiring.bells,
        status=job.wiring.status,
        trace=context.trace,
        deadline=job.deadline,
        polls=job.polls,
        complain=mail.close,
    )
    _set_threads(job.threads)
    program = make_program(job.program, context)
    try:
        result = communicator.run(
            program,
            report=lambda event: mail.add(pack_small(event, f"an event of {job.name}")),
            ask=mail.ask,
        )
    finally:
        program.close()
    packed = pack(result, f"the result of {job.name}")
    return Done(
        packed,
        communicator.traffic,
        context.trace.spans(),
        communicator.beside.spans(),
        communicator.messages,
    )


def _set_threads(threads: int) -> None:
    """Give the kernels this rank's share of the cores, without importing what may not be needed."""
    if "numba" in sys.modules:
        from minidl import kernels

        kernels.set_threads(threads)
        return
    os.environ["NUMBA_NUM_THREADS"] = str(threads)
    if threads > 1:
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads, "blas")


def _beat(status: Status, rank: int, channels: Sequence[Channel]) -> None:
    """Show that the process lives; end it when its caller has died, or it does not stop."""
    parent = multiprocess.parent_process()
    told = 0.0
    while True:
        if parent is not None and wait([parent.sentinel], BEAT):
            os._exit(1)
        status.rows[rank]["said"] = sum(channel.messages for channel in channels)
        status.rows[rank]["beat"] += 1
        if status.aborted:
            told += BEAT
            if told > GRACE:
                os._exit(1)


class _Mail:
    """The way to the caller; events are sent in batches, so that reporting costs little."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._events: list[bytes] = []
        self._news = threading.Event()
        self._adding = threading.Lock()
        self._sending = threading.Lock()
        self._carrier: threading.Thread | None = None

    def add(self, packed: bytes) -> None:
        """Send this event soon."""
        with self._adding:
            self._events.append(packed)
        self._news.set()
        if self._carrier is None:
            self._carrier = threading.Thread(target=self._carry, daemon=True)
            self._carrier.start()

    def ask(self, alone: bool) -> None:
        """Send all events at once, and ask to be told when they have been heard."""
        self._send_events(pack_small(Asked(alone), "a question"))

    def close(self, last: Done | Failure | Lost | WaitedTooLong) -> None:
        """Send all events, then this."""
        self._send_events(pack_small(last, "a worker's last message"))

    def _carry(self) -> None:
        while True:
            self._news.wait()
            time.sleep(BATCH)
            self._news.clear()
            self._send_events()

    def _send_events(self, last: bytes | None = None) -> None:
        with self._sending:
            with self._adding:
                events, self._events = self._events, []
            try:
                if events:
                    self._write(pack_small(Events(events), "events"))
                if last is not None:
                    self._write(last)
            except (BrokenPipeError, ConnectionResetError):
                os._exit(1)  # the caller is gone, so nobody is left to tell

    def _write(self, packed: bytes) -> None:
        rest = memoryview(LENGTH.pack(len(packed)) + packed)
        while rest:
            rest = rest[os.write(self._pipe.fileno(), rest) :]
