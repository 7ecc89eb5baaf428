"""How a rank waits: asleep, with a deadline, and so that the caller can explain a hang."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from minidl.errors import WorkerError
from minidl.runtime.channel import Semaphore
from minidl.runtime.status import ARRIVING, COMPUTING, WAITING, Status
from minidl.runtime.trace import Recorder

NAP = 0.25
"""Seconds of sleep after which a waiting rank looks whether it shall stop."""

_let_others_run: Callable[[], None] = getattr(os, "sched_yield", lambda: time.sleep(0))


class Aborted(BaseException):
    """Another rank has failed: stop. Not an Exception, so that no program catches it."""


class WaitedTooLong(WorkerError):
    """A wait exceeded the deadline; the caller finds out who is to blame."""


@dataclass(frozen=True)
class Patience:
    """What a rank waits with.

    Parameters
    ----------
    rank
        Which it is.
    bell
        The semaphore on which it sleeps.
    status
        Where it says for whom it waits, and sees that it shall stop.
    trace
        Where it records how long it has waited.
    deadline
        See `Communicator`.
    polls
        See `Communicator`.
    complain
        See `Communicator`.
    on_its_way
        Seconds until a piece arrives that was seen on its way from one of these ranks; 0 if
        none was.
    """

    rank: int
    bell: Semaphore
    status: Status
    trace: Recorder
    deadline: float
    polls: int
    complain: Callable[[WaitedTooLong], object] | None
    on_its_way: Callable[[Sequence[int]], float]

    def until_let_go_on(self, ask: Callable[[], object]) -> None:
        """Ask the caller to count up this rank's `heard`, and sleep until it has.

        Raises
        ------
        Aborted
            If this rank shall stop.
        """
        before = self.status.rows["heard"][self.rank]
        ask()
        while self.status.rows["heard"][self.rank] == before:
            self.bell.acquire(True, NAP)
            if self.status.aborted:
                raise Aborted


class Wait:
    """A time in which a rank has nothing to do; it begins here.

    Parameters
    ----------
    patience
        What the rank waits with.
    operation
        What it waits for belongs to.
    """

    def __init__(self, patience: Patience, operation: str) -> None:
        self._of = patience
        self._operation = operation
        self._start = patience.trace.clock()
        self._polls = patience.polls
        self._slept = False
        self._waited = 0.0
        self._peer = -1
        self._ended = False

    def sleep(self, peers: list[int], sources: Sequence[int] = ()) -> list[int]:
        """Until the bell rings, which it does after everything that any peer does.

        Parameters
        ----------
        peers
            Whom the rank waits for.
        sources
            From which of them it is to receive something.

        Returns
        -------
        list of int
            Those of the peers that are lost. What they had sent before is in its channel by now.

        Raises
        ------
        Aborted
            If this rank shall stop.
        WaitedTooLong
            After the deadline, if there is no caller to complain to.
        """
        of = self._of
        if self._polls:
            self._polls -= 1
            _let_others_run()
            return of.status.lost(peers)
        row = of.status.rows[of.rank]
        if not self._slept:
            self._slept = True
            self._peer = peers[0] if len(peers) == 1 else -1
            of.status.waiting(of.rank, peers, self._operation)
        slept = time.monotonic()
        due = of.on_its_way(sources)
        row["state"] = ARRIVING if due else WAITING
        of.bell.acquire(True, min(due, NAP) if due else NAP)
        row["checks"] += 1
        if of.status.aborted:
            raise Aborted
        # A nap that took much longer was a pause of the whole run (Ctrl-Z), and no wait.
        self._waited += min(time.monotonic() - slept, 2 * NAP)
        if self._waited > of.deadline:
            error = WaitedTooLong(f"rank {of.rank} waited {self._waited:.1f} s")
            if of.complain is None:
                raise error
            # Meanwhile its row in the table goes on saying what it waits for.
            of.until_let_go_on(partial(of.complain, error))
            self._waited = 0.0
        return of.status.lost(peers)

    def over(self, now: float | None = None) -> None:
        """Something has come."""
        if self._ended:
            return
        self._ended = True
        of = self._of
        of.trace.add("wait", self._start, of.trace.clock() if now is None else now, self._peer)
        if self._slept:
            of.status.doing(of.rank, COMPUTING)
