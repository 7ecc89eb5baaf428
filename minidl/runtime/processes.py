"""One process for each rank, joined by queues in shared memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import multiprocess
import numpy as np
from multiprocess.connection import Connection
from multiprocess.process import BaseProcess

from minidl.checks import fits, is_number, is_whole, whole
from minidl.errors import InputError
from minidl.plans import Link
from minidl.reprs import brief
from minidl.runtime import fork_server, limits
from minidl.runtime.base import MakeProgram, Outcome
from minidl.runtime.channel import HEADER
from minidl.runtime.interrupts import uninterrupted
from minidl.runtime.machine import usable_cores
from minidl.runtime.memory import Segment, SharedArrays
from minidl.runtime.messages import never_received
from minidl.runtime.programs import check_channels, pack, rank_names, unpack
from minidl.runtime.semaphores import semaphores
from minidl.runtime.start import start
from minidl.runtime.status import Status
from minidl.runtime.supervisor import Supervisor, stop
from minidl.runtime.trace import Trace
from minidl.runtime.worker import Done, Job, Wiring, main

POLLS, POLLS_CROWDED = 200, 20
"""How often a rank looks for news before it sleeps. To be woken takes longer than a small
message, but where ranks outnumber cores, another one could use the time."""


class Processes:
    """The runtime that uses all cores of a machine.

    Parameters
    ----------
    deadline
        Seconds that a rank may wait for another, or a process be silent, before
        the run is given up with an error that names who is to blame.
    context
        How processes are started: ``"forkserver"`` or ``"spawn"``; None takes the
        first where there is one.
    threads
        How many the kernels of each rank use; if None, ranks share the cores, or as
        much of their time as a container allows.
    slots
        How many messages each channel holds before its sender has to wait.
    slot_bytes
        Bytes that fit into one slot.
    link
        What every rank's messages pass, as if each were on a machine of its own: they then
        arrive when a network's would. None delivers them at once. A channel holds no more than
        its slots, messages on their way included: a long one takes longer than over a network
        whose latency exceeds the time in which ``slots - 1`` slots are sent.

    Raises
    ------
    InputError
        If one of these is out of range, or the system is not a POSIX system.
    """

    __repr__ = brief

    def __init__(
        self,
        deadline: float = 60.0,
        context: str | None = None,
        *,
        threads: int | None = None,
        slots: int = 4,
        slot_bytes: int = 1 << 18,
        link: Link | None = None,
    ) -> None:
        if os.name != "posix":
            raise InputError("worker processes need Linux or macOS (on Windows: WSL)")
        if not is_number(deadline) or deadline <= 0:
            raise InputError(f"the deadline is a positive number of seconds, not {deadline!r}")
        if threads is not None and not is_whole(threads, least=1):
            raise InputError(f"threads: a rank needs at least 1 thread, not {threads!r}")
        whole("slots", slots, least=0)
        whole("slot_bytes", slot_bytes, least=0, most=2**63 - 1)
        if slots < 1 or slot_bytes < 64 or slot_bytes % 64:
            raise InputError(
                "slots and slot_bytes: a channel needs at least 1 slot of a positive multiple of "
                f"64 bytes, not {slots} of {slot_bytes}"
            )
        if not isinstance(link, Link | None):
            raise InputError(f"link is a Link(latency, bandwidth) of minidl.plans, not {link!r}")
        methods = [m for m in ("forkserver", "spawn") if m in _available()]
        if not fits(context, str | None) or context not in (*methods, None):
            raise InputError(f"context is one of {', '.join(methods)} or None, not {context!r}")
        self.deadline = deadline
        self.method = context or methods[0]
        self.threads = threads
        self.slots, self.slot_bytes = slots, slot_bytes
        self.link = link

    @contextmanager
    def share(self, arrays: Mapping[str, np.ndarray]) -> Iterator[Mapping[str, np.ndarray]]:
        """Copies of these arrays in shared memory; see `Runtime.share`.

        Raises
        ------
        SharedMemoryError
            If there is not enough of it.
        """
        shared = SharedArrays(arrays)
        try:
            yield shared
        finally:
            shared.close()

    def launch(
        self,
        programs: Sequence[MakeProgram],
        *,
        shared: Mapping[str, np.ndarray],
        channels: Sequence[tuple[int, int]],
        listen: Callable[[int, Any], None],
        names: Sequence[str] | None = None,
        expendable: Collection[int] = (),
    ) -> Outcome:
        """Run ``programs[rank]`` on each rank until all have returned; see `Runtime.launch`.

        Raises
        ------
        WorkerError
            If a worker raised, died or stopped answering; the message names it.
        DeadlockError
            If all ranks wait for each other (it is a WorkerError too).
        MessageMismatchError
            If a message is not the one its receiver expects, or is never received.
        MinidlError
            If a rank raised one: the same class, with the rank named.
        SharedMemoryError
            If there is not enough shared memory for the channels.
        """
        size = len(programs)
        names = rank_names(names, size)
        pairs = check_channels(channels, size)
        if not shared.open if isinstance(shared, SharedArrays) else shared:
            raise InputError("`shared` is what this runtime's share() gave, inside its with block")
        packed = [pack(p, f"the program of {n}") for p, n in zip(programs, names, strict=True)]
        done = self._run(packed, shared if len(shared) else {}, pairs, listen, names, expendable)
        for sender, receiver in pairs:
            ends = done[sender], done[receiver]
            if any(end.lost for end in ends):
                continue
            sent, received = ends[0].messages[0][receiver], ends[1].messages[1][sender]
            if sent != received:
                raise never_received(sender, receiver, sent, received)
        return Outcome(
            tuple(unpack(rank.result) for rank in done),
            tuple(rank.traffic for rank in done),
            Trace.woven([rank.spans for rank in done], [rank.beside for rank in done], names),
        )

    def _run(
        self,
        programs: Sequence[bytes],
        shared: Mapping[str, np.ndarray],
        pairs: tuple[tuple[int, int], ...],
        listen: Callable[[int, Any], None],
        names: tuple[str, ...],
        expendable: Collection[int],
    ) -> list[Done]:
        size = len(programs)
        if multiprocess.current_process().daemon:
            raise InputError(
                "a process that multiprocess has started as a daemon, as a minidl worker or one of "
                "its Pool, can have no workers; train with strategy.Serial() there"
            )
        context = multiprocess.get_context(self.method)
        with ExitStack() as stack:
            segment = Segment(len(pairs) * self.slots * (HEADER + self.slot_bytes))
            stack.callback(segment.close)
            status = Status(size)
            stack.callback(status.segment.close)
            count = len(pairs)
            made = semaphores(context, [0] * count + [self.slots] * count + [0] * size)
            wiring = Wiring(
                channels=pairs,
                segment=segment,
                slots=self.slots,
                slot_bytes=self.slot_bytes,
                items=made[:count],
                space=made[count : 2 * count],
                bells=made[2 * count :],
                status=status,
                link=self.link,
            )
            workers: list[BaseProcess] = []
            pipes: list[Connection] = []
            stack.callback(_stop, workers, wiring)
            with (
                limits.explained("the workers' processes cannot be started"),
                uninterrupted() as pressed,
                fork_server.watched(self.method, self.deadline, pressed) as watch,
            ):
                for rank, program in enumerate(programs):
                    reader, writer = context.Pipe(duplex=False)
                    stack.callback(reader.close)
                    pipes.append(reader)
                    job = Job(
                        rank=rank,
                        size=size,
                        name=names[rank],
                        program=program,
                        shared=shared,
                        wiring=wiring,
                        pipe=writer,
                        environment=_environment(),
                        threads=self.threads or max(1, int(usable_cores() // size)),
                        deadline=self.deadline,
                        polls=POLLS if size <= usable_cores() else POLLS_CROWDED,
                    )
                    worker = context.Process(
                        target=main, args=(job,), name=f"minidl {names[rank]}", daemon=True
                    )
                    with writer:
                        start(worker, watch)
                    watch.answered()
                    workers.append(worker)
            return Supervisor(
                workers,
                pipes,
                status=status,
                bells=wiring.bells,
                names=names,
                listen=listen,
                deadline=self.deadline,
                expendable=expendable,
            ).watch()


def _stop(workers: Sequence[BaseProcess], wiring: Wiring) -> None:
    with uninterrupted():
        stop(workers, wiring.status, wiring.bells)


def _available() -> list[str]:
    return list(multiprocess.get_all_start_methods())


def _environment() -> dict[str, str]:
    return {**os.environ, **fork_server.ONE_THREAD}
