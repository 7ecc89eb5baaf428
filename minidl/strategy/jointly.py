"""An update by ranks that each hold a part of the parameters: what they need to know of the rest.

Some updates depend on the whole gradient: clipping by its norm, and in mixed precision whether
it has overflowed. Ranks then sum their squares, along a chain and back.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from minidl.runtime.requests import Exchange, Incoming, Outgoing, Request
from minidl.strategy.job import Job
from minidl.strategy.replica import Replica
from minidl.tasks import Phase

NORM = "gradient norm"


def needs_squares(job: Job) -> bool:
    """Whether an update needs to know how long the whole gradient is, or that it overflowed."""
    return job.optimizer.needs_norm or job.precision is not None


def update_jointly(
    replica: Replica, phase: Phase, ranks: Sequence[int], place: int
) -> Generator[Request, Any, None]:
    """Update the parameters that a replica holds, while other ranks update the others.

    Parameters
    ----------
    replica
        Whose weights are updated.
    phase
        As for `Replica.update`.
    ranks
        Which ranks hold a part each.
    place
        Which of these this one is.
    """
    squares = None
    if needs_squares(replica.job):
        total = np.array([replica.squares(phase)])
        yield from sum_along(total, ranks, place, NORM)
        squares = float(total[0])
    replica.update(phase, squares)


def sum_along(
    array: np.ndarray, ranks: Sequence[int], place: int, operation: str
) -> Generator[Request, Any, None]:
    """Leave in an array its sum over all `ranks`; none ends before all have begun.

    What they have is added up on the way to the last of them, which sends the sum back.
    """
    before, after = neighbours_of(ranks, place)
    for peer in before:
        yield Exchange((Incoming(peer, array, operation, reduce=True),))
    for peer in after:
        yield Exchange((Outgoing(peer, array, operation),))
        yield Exchange((Incoming(peer, array, operation),))
    for peer in before:
        yield Exchange((Outgoing(peer, array, operation),))


def neighbours_of(ranks: Sequence[int], place: int) -> tuple[Sequence[int], Sequence[int]]:
    """The rank before this one in the chain, and that after it; nobody at the chain's ends."""
    return ranks[:place][-1:], ranks[place + 1 :][:1]


def neighbours(ranks: Sequence[int]) -> list[tuple[int, int]]:
    """The channels that `sum_along` needs."""
    return [pair for a, b in pairwise(ranks) for pair in ((a, b), (b, a))]


def norm_bytes(job: Job, updates: int, ranks: int) -> dict[str, tuple[int, ...]]:
    """What each of so many ranks sends in so many joint updates, by operation."""
    if not needs_squares(job):
        return {}
    return {NORM: tuple(8 * updates * ((at > 0) + (at < ranks - 1)) for at in range(ranks))}
