"""The table, in shared memory, of what each rank is doing: written by workers, read by the caller.

It is how a hang is explained. A rank writes only its own row, so no lock is needed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from minidl.runtime.memory import Segment

STARTING: Final = 0
COMPUTING: Final = 1
WAITING: Final = 2
FINISHED: Final = 3
ARRIVING: Final = 4
"""It waits for what is on its way to it, over an emulated link."""
OPERATION_BYTES: Final = 96
WHY_BYTES: Final = 256
ROW: Final = np.dtype(
    [
        ("beat", "i8"),
        ("state", "i8"),
        ("since", "i8"),
        ("checks", "i8"),
        ("pid", "i8"),
        ("arrived", "i8"),
        ("heard", "i8"),
        ("said", "i8"),
        ("operation", f"S{OPERATION_BYTES}"),
        ("lost", "i8"),
        ("why", f"S{WHY_BYTES}"),
    ]
)
"""A rank's row.

beat
    Grows as long as the process runs.
state, since
    What the rank does, and since when (nanoseconds of the machine's monotonic clock).
checks
    How often it has found, in this wait, that nothing has arrived.
arrived
    How many barriers it has reached.
heard
    How often the caller, who alone writes this, has let the rank go on that waited to be heard.
said
    How many messages it has sent and received; brought up to date with every heartbeat.
lost, why
    Whether the caller, who alone writes these, has given the rank up, and why.
"""


class Status:
    """What all ranks of a launch do, and whether they shall stop.

    Parameters
    ----------
    size
        The number of ranks.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.segment = Segment(size * ROW.itemsize + 2 * size * size + 16)
        self._place()

    def _place(self) -> None:
        size = self.size
        self.rows = self.segment.array(ROW, (size,), 0)
        self.flag = self.segment.array(np.int64, (1,), size * ROW.itemsize)
        self.losses = self.segment.array(np.int64, (1,), size * ROW.itemsize + 8)
        self.waits = self.segment.array(np.bool_, (size, size), size * ROW.itemsize + 16)
        end = size * ROW.itemsize + 16 + size * size
        self.hears = self.segment.array(np.bool_, (size, size), end)

    def __getstate__(self) -> dict[str, Any]:
        return {"size": self.size, "segment": self.segment}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.size, self.segment = state["size"], state["segment"]
        self._place()

    @property
    def aborted(self) -> bool:
        """Whether all ranks shall stop."""
        return bool(self.flag[0])

    def abort(self) -> None:
        """Tell all ranks to stop."""
        self.flag[0] = 1

    def waiting(self, rank: int, peers: Iterable[int], operation: str) -> None:
        """Say that `rank` has begun to wait for these peers."""
        self.waits[rank] = False
        for peer in peers:
            self.waits[rank, peer] = True
        row = self.rows[rank]
        row["operation"] = operation.encode()[:OPERATION_BYTES]
        row["checks"] = 0
        row["since"] = time.monotonic_ns()
        row["state"] = WAITING

    def lose(self, rank: int, why: str) -> None:
        """Say that `rank`, whose process has ended, is lost."""
        row = self.rows[rank]
        row["why"] = why.encode()[:WHY_BYTES]
        row["state"] = FINISHED
        row["lost"] = 1
        self.losses[0] += 1  # last: who sees this sees the rest

    def lost(self, ranks: Iterable[int]) -> list[int]:
        """Those of these ranks that are lost."""
        if not self.losses[0]:
            return []
        return [rank for rank in ranks if self.rows["lost"][rank]]

    def why(self, rank: int) -> str:
        """What became of a lost rank."""
        return bytes(self.rows[rank]["why"]).decode(errors="replace")

    def doing(self, rank: int, state: int) -> None:
        """Say what else `rank` has begun to do."""
        self.rows[rank]["since"] = time.monotonic_ns()
        self.rows[rank]["state"] = state
