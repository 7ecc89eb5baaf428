"""Collectives in which ranks talk straight to those they have something for.

Pairwise exchange and the barrier: Thakur, Rabenseifner and Gropp, "Optimization of
collective communication operations in MPICH", Int. J. High Perform. Comput. Appl.
19 (2005); Hensgen, Finkel and Manber, "Two algorithms for barrier synchronization",
Int. J. Parallel Program. 17 (1988).
"""

from __future__ import annotations

from minidl.errors import InputError
from minidl.plans import costs
from minidl.plans.collectives.rounds import (
    Rounds,
    Transfer,
    backwards,
    chunk,
    from_rounds,
    require_rank,
    require_root,
    require_size,
)
from minidl.plans.instructions import Collective


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
    size = require_size(size)
    others = range(1, size)
    gather = [[Transfer(peer, 0, chunk(0), reduce=True)] for peer in others]
    answer = [[Transfer(0, peer, chunk(0)) for peer in others]] if others else []
    return from_rounds("server reduce", size, 1, gather + answer, costs.server(size))


def full_all_reduce(size: int) -> Collective:
    """Sum over a fully connected network: rank r adds everybody's chunk r and tells all.

    One round for each summand, because a sum that all runs repeat has to be added in
    one order; then one in which all answer all.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.

    Returns
    -------
    Collective
        P steps; a rank sends 2(P - 1)/P of the vector, over P - 1 links.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1.
    """
    size = require_size(size)
    ranks = range(size)
    collect = [
        [Transfer(r, (r + s) % size, chunk((r + s) % size), reduce=True) for r in ranks]
        for s in range(1, size)
    ]
    answer = [[Transfer(r, peer, chunk(r)) for r in ranks for peer in ranks if peer != r]]
    rounds = collect + answer if size > 1 else []
    return from_rounds("fully connected all-reduce", size, size, rounds, costs.full(size))


def scatter(size: int, root: int = 0) -> Collective:
    """Rank r gets chunk r of the root's vector; no number travels twice.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.
    root
        Whose vector it is.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1, or there is no rank `root`.
    """
    size, root = require_root(size, root)
    rounds = _scatter(size, root)
    each = [[rank] for rank in range(size)]
    cost = costs.scatter(size, root)
    return from_rounds("scatter", size, size, rounds, cost, [[root]] * size, each)


def gather(size: int, root: int = 0) -> Collective:
    """The root gets chunk r from rank r: scatter backwards.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.
    root
        Who ends with all chunks.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1, or there is no rank `root`.
    """
    size, root = require_root(size, root)
    rounds = backwards(_scatter(size, root), reduce=False)
    each = [[rank] for rank in range(size)]
    cost = costs.gather(size, root)
    return from_rounds("gather", size, size, rounds, cost, each, [[root]] * size)


def all_to_all(size: int) -> Collective:
    """Every rank has something for every other: a matrix is transposed over the ranks.

    Chunk rP + c is what rank r has for rank c. A rank begins with the row of its
    number and ends with the column, in one vector that has room for the whole matrix,
    so that a chunk has the same place on both ranks.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.

    Returns
    -------
    Collective
        P² chunks; in step s rank r sends to r + s and receives from r - s.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1.
    """
    size = require_size(size)
    ranks = range(size)
    rounds = [
        [Transfer(r, (r + s) % size, chunk(r * size + (r + s) % size)) for r in ranks]
        for s in range(1, size)
    ]
    rows = [[r] for r in ranks for _ in ranks]
    columns = [[c] for _ in ranks for c in ranks]
    return from_rounds(
        "all-to-all", size, size * size, rounds, costs.all_to_all(size), rows, columns
    )


def send_receive(size: int, source: int = 0, target: int = 1) -> Collective:
    """One rank's vector goes to one other: the message that all else is made of.

    Parameters
    ----------
    size
        The number of ranks P, at least 2.
    source
        The rank that sends.
    target
        The rank that receives, a different one.

    Raises
    ------
    InputError
        If there is no such rank, or it is the same one twice.
    """
    size = require_size(size)
    source = require_rank("source", source, size)
    target = require_rank("target", target, size)
    if source == target:
        raise InputError(f"a rank sends to another one, but source and target are both {source}")
    rounds = [[Transfer(source, target, chunk(0))]]
    cost = costs.send_receive(size, source)
    return from_rounds("send/receive", size, 1, rounds, cost, [[source]], [[target]])


def barrier(size: int) -> Collective:
    """Nobody passes before all have come: news spreads to twice as many with every step.

    In step k rank r tells rank r + 2^k (modulo P) that it and all it has heard of have
    come. The vector's contents mean nothing, and it may be empty: chunk r is what rank
    r sends. See `minidl.plans.check_barrier`.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.

    Returns
    -------
    Collective
        Dissemination: as many steps as there are doublings of 1 up to P, rounded up.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1.
    """
    size = require_size(size)
    distances = [1 << step for step in range((size - 1).bit_length())]
    rounds = [
        [Transfer(r, (r + distance) % size, chunk(r)) for r in range(size)]
        for distance in distances
    ]
    each = [[rank] for rank in range(size)]
    told = [[(rank + distance) % size for distance in distances] for rank in range(size)]
    return from_rounds("barrier", size, size, rounds, costs.barrier(size), each, told)


def _scatter(size: int, root: int) -> Rounds:
    return [[Transfer(root, rank, chunk(rank))] for rank in range(size) if rank != root]
