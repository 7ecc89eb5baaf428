"""Finds out, from the table of what each rank does, why a run does not go on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minidl.errors import DeadlockError, MinidlError, WorkerError
from minidl.runtime.status import ARRIVING, COMPUTING, FINISHED, STARTING, WAITING, Status

FROZEN = 1.5
"""Seconds without a heartbeat after which a process counts as standing still."""
STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "waiting for a disk",
    "T": "stopped by a signal",
    "t": "stopped by a debugger",
    "Z": "dead",
}
"""What the letters in /proc mean."""
WAITS = (WAITING, ARRIVING)


NOBODY = -1
Verdict = tuple[int, MinidlError | None]
"""Which rank is to blame, or `NOBODY`, and the error to raise, if something is wrong."""


def state_of_process(pid: int | None) -> str:
    """The letter that Linux gives for the state of a process, or a dash."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "-"
    return text.rpartition(")")[2].split()[0]


class CircularWaitError(WorkerError, DeadlockError):
    """Worker processes wait for each other in a circle."""


class Diagnosis:
    """Watches the table of one launch.

    Parameters
    ----------
    status
        The table.
    names
        What the ranks are called.
    deadline
        Seconds that a rank may be silent, or be waited for.
    """

    def __init__(self, status: Status, names: Sequence[str], deadline: float) -> None:
        self._status = status
        self._names = names
        self._deadline = deadline
        self._beats = status.rows["beat"].copy()
        self._silent = np.zeros(status.size)
        self._said = status.rows["said"].copy()
        self._mute = np.zeros(status.size)
        self._looked = time.monotonic()
        self._suspected: tuple[np.ndarray, np.ndarray] | None = None

    def look(self) -> Verdict:
        """What is wrong, if anything; to be called a few times a second."""
        now = time.monotonic()
        # A pause of the whole run (Ctrl-Z) is not its workers' silence.
        passed = min(now - self._looked, 0.5)
        self._looked = now
        beats = self._status.rows["beat"].copy()
        self._silent = np.where(beats == self._beats, self._silent + passed, 0.0)
        self._beats = beats
        said = self._status.rows["said"].copy()
        computes = self._status.rows["state"] == COMPUTING
        self._mute = np.where(computes & (said == self._said), self._mute + passed, 0.0)
        self._said = said
        unfinished = self._unfinished()
        late = [rank for rank in unfinished if self._silent[rank] > self._deadline]
        if late:
            return self.explain(late[0])
        awaited = self._status.hears[unfinished].any(axis=0)
        # Who has said nothing at all may still be starting; a message for it is waited with.
        mute = np.flatnonzero(awaited & (said > 0) & (self._mute > self._deadline)).tolist()
        if mute and self._frozen(mute[0]):
            return self.explain(mute[0])
        if mute:
            return mute[0], WorkerError(self._mutely(mute[0]))
        if self._deadlocked(unfinished):
            return self.explain(int(unfinished[0]))
        return NOBODY, None

    def explain(self, rank: int) -> Verdict:
        """Why `rank`, which has waited too long or is silent, does not go on."""
        met = self._waited_for(rank)
        culprits = [r for r in met if self._frozen(r)]
        culprits += [r for r in met if self._state(r) in (STARTING, COMPUTING)]
        culprits += [r for r in met if self._state(r) == ARRIVING]
        lost = self._status.lost(met)
        culprits += [r for r in met if self._state(r) == FINISHED and r not in lost]
        waiting = [r for r in met if self._state(r) in WAITS and not self._frozen(r)]
        chain = "; ".join(map(self._wait, waiting or self._waiting_for(rank)[:1]))
        if culprits:
            cause = self._doing(culprits[0])
            return culprits[0], WorkerError(f"{cause}; {chain}" if chain else cause)
        return NOBODY, CircularWaitError(f"deadlock: {chain}")

    def _unfinished(self) -> np.ndarray:
        return np.flatnonzero(self._status.rows["state"] != FINISHED)

    def _deadlocked(self, unfinished: np.ndarray) -> bool:
        """Whether all ranks wait and nothing is on its way to any of them.

        That is certain once every rank has looked, in vain, after all of them
        had begun the waits that they are still in.
        """
        rows = self._status.rows[unfinished]
        checks, since = rows["checks"].copy(), rows["since"].copy()
        if not len(rows) or (rows["state"] != WAITING).any():
            self._suspected = None
            return False
        before = self._suspected
        if before is None or not np.array_equal(before[0], since):
            # Read anew: these counts must be no older than what was seen of the other ranks.
            self._suspected = (since, self._status.rows["checks"][unfinished].copy())
            return False
        return bool((checks >= before[1] + 2).all())

    def _waited_for(self, rank: int) -> list[int]:
        """`rank` and all that it waits for, directly or not, nearest first."""
        met = [rank]
        for current in met:
            if self._state(current) == WAITING and not self._frozen(current):
                met += [int(p) for p in np.flatnonzero(self._status.waits[current]) if p not in met]
        return met

    def _waiting_for(self, rank: int) -> list[int]:
        waits = np.flatnonzero(self._status.waits[:, rank]).tolist()
        return [r for r in waits if self._state(r) in WAITS]

    def _state(self, rank: int) -> int:
        return int(self._status.rows["state"][rank])

    def _frozen(self, rank: int) -> bool:
        return self._state(rank) != FINISHED and (
            self._silent[rank] > FROZEN or self._process_state(rank) in "Tt"
        )

    def _process_state(self, rank: int) -> str:
        return state_of_process(int(self._status.rows["pid"][rank]))

    def _seconds(self, rank: int) -> float:
        return (time.monotonic_ns() - int(self._status.rows["since"][rank])) / 1e9

    def _wait(self, rank: int) -> str:
        peers = [self._names[int(peer)] for peer in np.flatnonzero(self._status.waits[rank])]
        operation = bytes(self._status.rows["operation"][rank]).decode(errors="replace")
        return (
            f"{self._names[rank]} has waited {self._seconds(rank):.1f} s "
            f"for {' and '.join(peers)} in {operation!r}"
        )

    def _mutely(self, rank: int) -> str:
        return (
            f"{self._names[rank]} (process {self._status.rows['pid'][rank]}) has been computing "
            f"for {self._mute[rank]:.1f} s without a message to anybody, longer than the deadline "
            f"of {self._deadline} s; if that is meant, give the runtime a larger deadline"
        )

    def _doing(self, rank: int) -> str:
        name, pid = self._names[rank], self._status.rows["pid"][rank]
        if self._frozen(rank):
            letter = self._process_state(rank)
            return (
                f"{name} (process {pid}) does not answer: no heartbeat for "
                f"{self._silent[rank]:.1f} s, its process is {STATES.get(letter, 'not known')}"
            )
        if self._state(rank) == FINISHED:
            return f"{name} has finished, and the others wait for it"
        if self._state(rank) == STARTING:
            return f"{name} has not started after {self._deadline} s"
        if self._state(rank) == ARRIVING:
            return (
                f"{name} waits for what is on its way over the emulated link, which takes longer "
                f"than the deadline of {self._deadline} s allows; "
                "if that is meant, give the runtime a larger deadline"
            )
        return (
            f"{name} (process {pid}) has been computing for {self._seconds(rank):.1f} s, "
            f"longer than the deadline of {self._deadline} s allows others to wait for it; "
            "if that is meant, give the runtime a larger deadline"
        )
