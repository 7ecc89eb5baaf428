"""Collectives as plans: how P ranks turn their own vectors into the sum of all of them.

Ring: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters
of workstations", J. Parallel Distrib. Comput. 69 (2009).
"""

from __future__ import annotations

from collections.abc import Callable

from minidl.errors import InputError
from minidl.plans.instructions import Collective, Program, Receive, Send


def ring_all_reduce(size: int) -> Collective:
    """Sum over a ring: every rank sends only to the next one and ends with the whole sum.

    The vector is cut into P chunks. In the first P - 1 steps (reduce-scatter) rank r
    sends chunk r - s at step s while it adds chunk r - s - 1 from the rank before it;
    then rank r holds the finished chunk r + 1. In the last P - 1 steps (all-gather)
    the finished chunks travel once around. All indices are modulo P.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.

    Returns
    -------
    Collective
        2(P - 1) steps; a rank sends 2(P - 1) of the P chunks, the least possible
        (see `minidl.plans.formulas.ring_bytes`).

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1.
    """
    _require_size(size)

    def program(rank: int) -> Program:
        after, before = (rank + 1) % size, (rank - 1) % size
        reduce_scatter = tuple(
            (Send(after, (rank - s) % size), Receive(before, (rank - s - 1) % size, reduce=True))
            for s in range(size - 1)
        )
        all_gather = tuple(
            (Send(after, (rank + 1 - s) % size), Receive(before, (rank - s) % size))
            for s in range(size - 1)
        )
        return reduce_scatter + all_gather

    return Collective("ring all-reduce", tuple(map(program, range(size))), chunks=size)


def server_reduce(size: int) -> Collective:
    """Sum at a server: all send their whole vector to rank 0, which sends the sum back.

    The server adds the vectors in rank order, so that the sum is the same in every
    run, and answers all ranks at once.

    Parameters
    ----------
    size
        The number of ranks P, server included, at least 1.

    Returns
    -------
    Collective
        One chunk; 2N(P - 1) elements pass through rank 0
        (see `minidl.plans.formulas.server_bytes`).

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1.
    """
    _require_size(size)
    others = range(1, size)
    gather: Program = tuple((Receive(peer, 0, reduce=True),) for peer in others)
    answer: Program = (tuple(Send(peer, 0) for peer in others),) if size > 1 else ()
    learner: Program = ((Send(0, 0),), (Receive(0, 0),))
    return Collective("server reduce", (gather + answer, *(learner for _ in others)), chunks=1)


ALL_REDUCES: dict[str, Callable[[int], Collective]] = {
    "ring": ring_all_reduce,
    "server": server_reduce,
}
"""Every all-reduce by name: a function of the number of ranks."""


def _require_size(size: int) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InputError(f"a collective needs a whole number of ranks of at least 1, not {size!r}")
