"""Collectives over rings: the ring itself, rings in two dimensions, rings of groups.

Ring: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters
of workstations", J. Parallel Distrib. Comput. 69 (2009). Torus: Mikami et al.,
arXiv 1811.05233. Groups: Jia et al., arXiv 1807.11205.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, lcm

from minidl.checks import is_whole
from minidl.errors import InputError
from minidl.plans import costs
from minidl.plans.collectives.rounds import (
    Rounds,
    Transfer,
    chunk,
    from_rounds,
    require_count,
    require_size,
    side_by_side,
)
from minidl.plans.instructions import Collective, split


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
    size = require_size(size)
    ranks = range(size)
    finished = [chunk((rank + 1) % size) for rank in ranks]
    rounds = _scatter_around(ranks, finished) + _gather_around(ranks, finished)
    return from_rounds("ring all-reduce", size, size, rounds, costs.ring(size))


def reduce_scatter(size: int) -> Collective:
    """Sum over a ring, of which rank r ends with chunk r only: P - 1 steps.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1.
    """
    size = require_size(size)
    ranks = range(size)
    rounds = _scatter_around(ranks, [chunk(rank) for rank in ranks])
    each = [[rank] for rank in ranks]
    return from_rounds("reduce-scatter", size, size, rounds, costs.half_ring(size), targets=each)


def all_gather(size: int) -> Collective:
    """Chunk r, which rank r holds, goes around a ring to all: P - 1 steps.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1.
    """
    size = require_size(size)
    ranks = range(size)
    rounds = _gather_around(ranks, [chunk(rank) for rank in ranks])
    each = [[rank] for rank in ranks]
    return from_rounds("all-gather", size, size, rounds, costs.half_ring(size), sources=each)


def torus_all_reduce(size: int, shape: tuple[int, int] | None = None) -> Collective:
    """Sum over a torus of X rows and Y columns: rings along one way, then along the other.

    Rank xY + y stands in row x and column y. Every column's ring reduce-scatters the
    vector in X parts; every row's ring reduce-scatters its part in Y chunks; then the
    rows' rings gather, then the columns'. The ring's bytes in far fewer steps.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.
    shape
        (X, Y), with XY = P; by default as nearly square as P's factors allow.

    Returns
    -------
    Collective
        2(X - 1) + 2(Y - 1) steps; a rank sends 2(P - 1)/P of the vector.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1, or the shape's factors are not
        whole numbers whose product is `size`.
    """
    size = require_size(size)
    x, y = nearly_square(size) if shape is None else _require_shape(size, shape)
    rows = [range(row * y, row * y + y) for row in range(x)]
    columns = [range(column, size, y) for column in range(y)]
    # Row x is left with the part x of the vector, which is the chunks with its ranks' numbers.
    gather_rows = [_gather_around(row, [chunk(rank) for rank in row]) for row in rows]
    scatter_rows = [_scatter_around(row, [chunk(rank) for rank in row]) for row in rows]
    rounds = (
        side_by_side(*(_scatter_around(column, rows) for column in columns))
        + side_by_side(*scatter_rows)
        + side_by_side(*gather_rows)
        + side_by_side(*(_gather_around(column, rows) for column in columns))
    )
    return from_rounds(f"{x}x{y} torus all-reduce", size, size, rounds, costs.torus(x, y))


def hierarchical_all_reduce(size: int, groups: int | None = None) -> Collective:
    """Sum inside groups of ranks, then over a ring of the groups' first ranks, then back.

    Inside a group a ring reduce-scatters and the first rank gathers the chunks; the
    way back is the same in the opposite order. Only first ranks talk to other groups,
    as where a machine's cards share one network card.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.
    groups
        How many groups G of neighbouring ranks, whose sizes differ by at most one; by
        default the square root of P, rounded up.

    Returns
    -------
    Collective
        4(k - 1) + 2(G - 1) steps, where k is the size of the largest group.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1, or `groups` is none from 1 to `size`.
    """
    size = require_size(size)
    if groups is None:
        groups = isqrt(size - 1) + 1
    require_count("the number of groups must be a whole number of", groups)
    if groups > size:
        raise InputError(f"{size} ranks make 1 to {size} groups, not {groups}")
    members = [range(size)[part] for part in split(size, groups)]
    # So many chunks that every ring can cut the vector evenly.
    chunks = lcm(groups, *(len(group) for group in members))
    leaders = [group[0] for group in members]
    whole_ring = _cut(chunks, groups)
    rounds = (
        side_by_side(*(_collect(group, _cut(chunks, len(group))) for group in members))
        + _scatter_around(leaders, whole_ring)
        + _gather_around(leaders, whole_ring)
        + side_by_side(*(_hand_out(group, _cut(chunks, len(group))) for group in members))
    )
    cost = costs.hierarchical([len(group) for group in members])
    return from_rounds("hierarchical all-reduce", size, chunks, rounds, cost)


def _scatter_around(ring: Sequence[int], parts: Sequence[range]) -> Rounds:
    """Reduce-scatter: in the end the rank at place i of the ring holds the sum of part i."""
    n = len(ring)
    return [
        [
            Transfer(ring[i], ring[(i + 1) % n], parts[(i - 1 - s) % n], reduce=True)
            for i in range(n)
        ]
        for s in range(n - 1)
    ]


def _gather_around(ring: Sequence[int], parts: Sequence[range]) -> Rounds:
    """All-gather: the rank at place i of the ring holds part i, and in the end all do."""
    n = len(ring)
    return [
        [Transfer(ring[i], ring[(i + 1) % n], parts[(i - s) % n]) for i in range(n)]
        for s in range(n - 1)
    ]


def _collect(group: Sequence[int], parts: Sequence[range]) -> Rounds:
    """The group's sum, at its first rank."""
    gather = [[Transfer(rank, group[0], part)] for rank, part in zip(group, parts, strict=True)]
    return _scatter_around(group, parts) + gather[1:]


def _hand_out(group: Sequence[int], parts: Sequence[range]) -> Rounds:
    """What the group's first rank holds, at all its ranks."""
    scatter = [[Transfer(group[0], rank, part)] for rank, part in zip(group, parts, strict=True)]
    around = _gather_around(group, parts)
    # The first rank has all from the start, so the last one does not close the circle.
    return scatter[1:] + [[t for t in messages if t.receiver != group[0]] for messages in around]


def _cut(chunks: int, parts: int) -> list[range]:
    return [range(chunks)[part] for part in split(chunks, parts)]


def nearly_square(size: int) -> tuple[int, int]:
    """X and Y with XY = size that differ as little as its factors allow, X first."""
    x = next(x for x in range(isqrt(size), 0, -1) if size % x == 0)
    return x, size // x


def _require_shape(size: int, shape: tuple[int, int]) -> tuple[int, int]:
    factors = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    whole = all(is_whole(n, least=1) for n in factors)
    if len(factors) != 2 or not whole or factors[0] * factors[1] != size:
        fitting = ", ".join(f"({x}, {size // x})" for x in range(1, size + 1) if size % x == 0)
        raise InputError(
            f"a torus of {size} ranks needs a shape whose product is {size}, one of {fitting}; "
            f"not {shape!r}"
        )
    return factors[0], factors[1]
