"""What the caller does while its workers run: listens to them, and ends them all if one fails."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from multiprocess.connection import Connection, wait
from multiprocess.process import BaseProcess

from minidl.errors import MinidlError, WorkerError
from minidl.runtime import fork_server
from minidl.runtime.channel import Semaphore
from minidl.runtime.diagnosis import Diagnosis
from minidl.runtime.programs import Failure, unpack
from minidl.runtime.requests import Loss, Lost
from minidl.runtime.status import FINISHED, Status
from minidl.runtime.waiting import WaitedTooLong
from minidl.runtime.worker import GRACE, LENGTH, LOST, Asked, Done, Events

PART = 1 << 16
"""Bytes read at once of what a worker says."""
LOOK = 0.25
"""Seconds between two looks at the table of what each rank does."""
STOOD_STILL = 4 * LOOK
"""Seconds from one wait to the next after which the caller itself has not run, or was slow."""


class Supervisor:
    """Watches over the workers of one launch.

    Parameters
    ----------
    workers
        Each rank's process.
    pipes
        The end of each rank's pipe that is read here.
    status
        The table of what each rank does.
    bells
        What wakes a rank that sleeps.
    names
        What the ranks are called.
    listen
        Called with (rank, event) for every event.
    deadline
        Seconds that a rank may be silent, or be waited for.
    expendable
        Ranks without which the run goes on.
    """

    def __init__(
        self,
        workers: Sequence[BaseProcess],
        pipes: Sequence[Connection],
        *,
        status: Status,
        bells: Sequence[Semaphore],
        names: Sequence[str],
        listen: Callable[[int, Any], None],
        deadline: float,
        expendable: Collection[int] = (),
    ) -> None:
        self._workers, self._pipes = workers, pipes
        self._parts = [bytearray() for _ in pipes]
        self._status, self._bells = status, bells
        self._names, self._listen = names, listen
        self._diagnosis = Diagnosis(status, names, deadline)
        self._expendable = expendable
        self._losses: dict[int, MinidlError] = {}
        # Complaints count from then on: see `_be_patient`.
        self._deadline, self._patient_until = deadline, 0.0
        self._listened = 0.0  # seconds since the last look at the table
        self._done: dict[int, Done] = {}
        self._asking: set[int] = set()

    def watch(self) -> list[Done]:
        """Until every worker is done; what each said last.

        Raises
        ------
        MinidlError
            If one raised, died or stopped answering.
        """
        looked = waited = time.monotonic()
        while len(self._done) < len(self._workers):
            running = [rank for rank in range(len(self._workers)) if rank not in self._done]
            ready = wait(
                [self._pipes[rank] for rank in running]
                + [self._workers[rank].sentinel for rank in running],
                LOOK,
            )
            if time.monotonic() - waited > STOOD_STILL:  # Ctrl-Z, or a computer asleep
                self._be_patient()
            waited = time.monotonic()
            for rank in running:
                if self._pipes[rank] in ready:
                    self._read(rank)
                elif self._workers[rank].sentinel in ready and not self._pipes[rank].poll():
                    self._lose(rank, self._death(rank))
            if time.monotonic() - looked > LOOK:
                looked, self._listened = time.monotonic(), 0.0
                self._lose(*self._diagnosis.look())
        return [self._done[rank] for rank in range(len(self._workers))]

    def _read(self, rank: int) -> None:
        """Take in what has come, without waiting for the rest of a message: it may never come."""
        news = os.read(self._pipes[rank].fileno(), PART)
        if not news:
            self._lose(rank, self._death(rank))
            return
        parts = self._parts[rank]
        parts += news
        while len(parts) >= LENGTH.size and rank not in self._done:
            end = LENGTH.size + LENGTH.unpack_from(parts)[0]
            if len(parts) < end:
                return
            packed = bytes(memoryview(parts)[LENGTH.size : end])
            del parts[:end]
            self._hear(rank, packed)

    def _hear(self, rank: int, packed: bytes) -> None:
        match message := unpack(packed):
            case Events(events):
                began = time.monotonic()
                for event in events:
                    self._listen(rank, unpack(event))
                self._listened += time.monotonic() - began
                if self._listened > LOOK / 2:
                    self._be_patient()
            case Asked(alone=True):
                self._let_go_on(rank)
            case Asked():
                self._asking.add(rank)
                self._answer()
            case Done():
                self._done[rank] = message
                self._status.doing(rank, FINISHED)
                self._answer()
            case Failure():
                self._lose(rank, message.error(self._names[rank]))
            case Lost():
                for note in getattr(message, "__notes__", ()):
                    self._losses[message.rank].add_note(note)
                raise self._losses.pop(message.rank)
            case WaitedTooLong():
                if time.monotonic() > self._patient_until:
                    self._lose(*self._diagnosis.explain(rank))
                self._let_go_on(rank)

    def _lose(self, rank: int, error: MinidlError | None) -> None:
        """Go on without a rank, which is ended if it has not ended, or raise the error if any."""
        if error is None or rank in self._losses:
            return
        if rank not in self._expendable:
            try:
                raise error
            finally:
                del error  # or it and this frame, which has all pipes, would keep each other alive
        self._workers[rank].kill()
        self._workers[rank].join(GRACE)
        self._losses[rank] = error
        first, *_, last = 2 * str(error).splitlines()
        why = first if first == last else f"{first.partition(';')[0]}: {last}"
        self._status.lose(rank, why)
        for bell in self._bells:
            bell.release()
        self._done[rank] = LOST
        self._asking.discard(rank)
        self._listen(rank, Loss(self._names[rank], why))
        self._be_patient()
        self._answer()

    def _be_patient(self) -> None:
        """Who waited for a lost rank, or for the caller, may complain just now but goes on."""
        self._patient_until = time.monotonic() + self._deadline

    def _answer(self) -> None:
        """Let all ranks go on that wait to be heard, once all that still run do."""
        if len(self._asking) + len(self._done) == len(self._workers):
            for rank in self._asking:
                self._let_go_on(rank)
            self._asking.clear()

    def _let_go_on(self, rank: int) -> None:
        self._status.rows["heard"][rank] += 1
        self._bells[rank].release()

    def _death(self, rank: int) -> WorkerError:
        """The error for a worker that ended without a word."""
        worker = self._workers[rank]
        worker.join(GRACE)
        return WorkerError(f"{self._names[rank]} (process {worker.pid}) {_manner(worker.exitcode)}")


def stop(workers: Sequence[BaseProcess], status: Status, bells: Sequence[Semaphore]) -> None:
    """End all workers: by asking, then by force; none is left when this returns."""
    status.abort()
    for bell in bells:
        bell.release()
    _wait_for(workers, GRACE)
    for worker in workers:
        if worker.exitcode is None and worker.pid is not None:
            with suppress(ProcessLookupError):  # it may have ended just now
                os.kill(worker.pid, signal.SIGKILL)
    _wait_for(workers, GRACE)
    fork_server.give_up_if_stopped()  # or nobody would say that they have ended
    _wait_for(workers, 10 * GRACE)
    for worker in workers:
        worker.join(0)
        if worker.exitcode is not None:
            worker.close()


def _wait_for(workers: Sequence[BaseProcess], seconds: float) -> None:
    until = time.monotonic() + seconds
    left = [worker.sentinel for worker in workers if worker.exitcode is None]
    while left and (remaining := until - time.monotonic()) > 0:
        for sentinel in wait(left, remaining):
            left.remove(sentinel)


def _manner(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "closed its pipe without a result"
    if code >= 0:
        return f"ended with exit code {code} without a result"
    name = signal.Signals(-code).name
    hint = " (the system does that when memory runs out)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
