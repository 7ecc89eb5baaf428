"""All ranks in one process, one at a time, in an order that can be repeated or varied.

The same programs run here as in processes of their own. With no buffering, a
send is done only when its receive is, so a program that gets through here is
free of deadlock however small the real buffers are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from minidl.checks import checked
from minidl.errors import InputError
from minidl.reprs import brief
from minidl.runtime.base import MakeProgram, Outcome
from minidl.runtime.matching import Rank
from minidl.runtime.programs import check_channels, pack, rank_names
from minidl.runtime.requests import RankContext
from minidl.runtime.schedule import Schedule
from minidl.runtime.trace import Trace


@checked
class Virtual:
    """The runtime for tests: deterministic, and deadlocks are found at once.

    Parameters
    ----------
    buffering
        ``"none"``: a send waits for its receive. ``"unlimited"``: a send never waits.
    seed
        None lets ranks take turns; an integer draws whose turn it is.
    """

    link = None

    __repr__ = brief

    def __init__(
        self, buffering: Literal["none", "unlimited"] = "none", seed: int | None = None
    ) -> None:
        if buffering not in ("none", "unlimited"):
            raise InputError(f"buffering is 'none' or 'unlimited', not {buffering!r}")
        self.buffering = buffering
        self.seed = seed

    @contextmanager
    def share(self, arrays: Mapping[str, np.ndarray]) -> Iterator[Mapping[str, np.ndarray]]:
        """Copies of these arrays; see `Runtime.share`."""
        yield {name: np.array(array) for name, array in arrays.items()}

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

        No rank gets lost here: one that raises ends the run, expendable or not.

        Raises
        ------
        DeadlockError
            If no rank can go on; the message says who waits for whom.
        MessageMismatchError
            If a message is not the one its receiver expects, or is never received.
        MinidlError
            If a rank raised one: the same class, with the rank named.
        WorkerError
            If a rank raised any other exception; the message holds its traceback.
        """
        size = len(programs)
        names = rank_names(names, size)
        packed = [pack(p, f"the program of {n}") for p, n in zip(programs, names, strict=True)]
        ranks = [
            Rank(name, RankContext(rank, size, shared), program)
            for rank, (name, program) in enumerate(zip(names, packed, strict=True))
        ]
        schedule = Schedule(
            ranks,
            check_channels(channels, size),
            listen,
            unlimited=self.buffering == "unlimited",
            seed=self.seed,
        )
        try:
            schedule.run()
        finally:
            for rank in ranks:
                if rank.generator is not None:
                    rank.generator.close()
        return Outcome(
            tuple(rank.result for rank in ranks),
            tuple(rank.traffic for rank in ranks),
            Trace.woven(_spans(ranks), _spans(schedule.beside), names),
        )


def _spans(ranks: Sequence[Rank]) -> list[np.ndarray]:
    return [rank.context.trace.spans() for rank in ranks]
