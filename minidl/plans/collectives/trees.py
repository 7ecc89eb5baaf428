"""Collectives over trees: few steps, whatever is sent; with pieces and two trees, few bytes too.

Binomial tree: Thakur, Rabenseifner and Gropp, Int. J. High Perform. Comput. Appl. 19
(2005). Two trees: Sanders, Speck and Traeff, "Two-tree algorithms for full bandwidth
broadcast, reduction and scan", Parallel Computing 35 (2009).
"""

from __future__ import annotations

from collections.abc import Sequence

from minidl.plans import costs
from minidl.plans.collectives.rounds import (
    Rounds,
    Transfer,
    backwards,
    chunk,
    from_rounds,
    require_count,
    require_root,
    require_size,
    side_by_side,
)
from minidl.plans.instructions import Collective

Parents = Sequence[int | None]
"""Each rank's parent in a tree; the root has none."""


def broadcast(size: int, root: int = 0) -> Collective:
    """The root's vector to all, over a binomial tree: in each step all who have it pass it on.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.
    root
        Whose vector it is.

    Returns
    -------
    Collective
        As many steps as there are doublings of 1 up to P, rounded up.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1, or there is no rank `root`.
    """
    size, root = require_root(size, root)
    rounds = _double(size, root)
    return from_rounds("broadcast", size, 1, rounds, costs.broadcast(size, root), [[root]])


def reduce(size: int, root: int = 0) -> Collective:
    """The sum to the root, over a binomial tree: a broadcast backwards.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.
    root
        Who ends with the sum.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1, or there is no rank `root`.
    """
    size, root = require_root(size, root)
    rounds = backwards(_double(size, root), reduce=True)
    cost = costs.reduce(size, root)
    return from_rounds("reduce", size, 1, rounds, cost, targets=[[root]])


def tree_all_reduce(size: int, pieces: int = 1) -> Collective:
    """Sum up a binary tree and back down: rank r's children are 2r + 1 and 2r + 2.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.
    pieces
        Into how many pieces the vector is cut; while one goes down a level, the next
        one is on the level above.

    Returns
    -------
    Collective
        About 4 log P steps, and 4 more for each further piece; a rank within the tree
        sends the vector three times, to its parent and its children.

    Raises
    ------
    InputError
        If `size` or `pieces` is not a whole number of at least 1.
    """
    size = require_size(size)
    require_count("the number of pieces must be a whole number of", pieces)
    parents = [None, *((rank - 1) // 2 for rank in range(1, size))]
    down = _pass_down(parents, range(pieces), [None] * size)
    rounds = backwards(down, reduce=True) + down
    return from_rounds("tree all-reduce", size, pieces, rounds, costs.tree(size, pieces))


def double_tree_all_reduce(size: int, pieces: int = 1) -> Collective:
    """Sum up two binary trees and back down, half the vector over each.

    A rank inside one tree is a leaf of the other, so that all links are used. Edges
    are coloured so that a rank's two parents, and its two children, are reached over
    different colours; one colour's messages go in even rounds and the other's in odd
    ones. Then no rank ever sends or receives two things at once.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.
    pieces
        Into how many pieces each half is cut, to fill the trees on all levels.

    Returns
    -------
    Collective
        At most 4 steps a level, and 4 more for each further piece; no rank sends the
        vector more than twice.

    Raises
    ------
    InputError
        If `size` or `pieces` is not a whole number of at least 1.
    """
    size = require_size(size)
    require_count("the number of pieces must be a whole number of", pieces)
    trees = two_trees(size)
    halves = range(pieces), range(pieces, 2 * pieces)
    down = side_by_side(*map(_pass_down, trees, halves, _two_colours(trees)))
    rounds = backwards(down, reduce=True) + down
    return from_rounds(
        "double tree all-reduce", size, 2 * pieces, rounds, costs.double_tree(size, pieces)
    )


def two_trees(size: int) -> tuple[Parents, Parents]:
    """Each rank's parent in two binary trees; a rank with children in one has none in the other.

    In the first tree an odd number of ranks stands left of everyone who has children;
    the second is its mirror image, or, for an odd number of ranks, the first one
    moved on by a rank (Sanders et al., section 3).

    Parameters
    ----------
    size
        The number of ranks, at least 1.
    """
    first = [_parent_in_order(rank + 1, size) for rank in range(size)]
    if size % 2 == 0:
        second = [None if p is None else size - 1 - p for p in first[::-1]]
    else:
        moved = [None if p is None else (p + 1) % size for p in first]
        second = moved[-1:] + moved[:-1]
    return first, second


def _parent_in_order(number: int, size: int) -> int | None:
    """The parent's rank of the `number`-th in order, counted from 1: its lowest bit is its level.

    Were the tree full, the parent would be the neighbour on the next level; where
    that one is missing, it is the one above it.
    """
    bit = number & -number
    while bit <= size:
        parent = (number ^ bit) | (bit << 1)
        if parent <= size:
            return parent - 1
        number, bit = parent, bit << 1
    return None


def _two_colours(trees: Sequence[Parents]) -> list[list[int | None]]:
    """A colour, 0 or 1, for each rank's edge to its parent in each tree.

    Every edge has to differ from at most two others: its lower rank's other parent
    edge and its upper rank's other child edge. Following these from edge to edge
    alternates the colours; a circle of them has even length.
    """
    colours: list[list[int | None]] = [[None] * len(tree) for tree in trees]
    edges = [(t, r) for t, tree in enumerate(trees) for r, p in enumerate(tree) if p is not None]
    for edge in edges:
        pending = [(edge, 0)]
        while pending:
            (t, rank), colour = pending.pop()
            if colours[t][rank] is not None:
                continue
            colours[t][rank] = colour
            differ = [(1 - t, rank)]
            differ += [(t, r) for r, p in enumerate(trees[t]) if p == trees[t][rank] and r != rank]
            pending += [(other, 1 - colour) for other in differ if other in edges]
    return colours


def _pass_down(parents: Parents, pieces: range, colours: Sequence[int | None]) -> Rounds:
    """Pieces from the root to all, each edge carrying one a round, a sender one at a time.

    The edge to a rank with a colour is only used in rounds of that parity.
    """
    children: dict[int | None, list[int]] = {}
    for rank, parent in enumerate(parents):
        children.setdefault(parent, []).append(rank)
    rounds: Rounds = []
    (root,) = children[None]
    pending = [(root, dict.fromkeys(pieces, -1))]
    while pending:
        rank, arrived = pending.pop()
        below = children.get(rank, [])
        last = -1
        reached: dict[int, dict[int, int]] = {child: {} for child in below}
        for piece in pieces:
            ready = max(last, arrived[piece]) + 1
            # Of two colours the one whose turn it is goes first.
            for child in sorted(below, key=lambda c: (colours[c] or 0) ^ (ready % 2)):
                turn = max(last, arrived[piece]) + 1
                colour = colours[child]
                last = turn if colour is None else turn + (turn - colour) % 2
                reached[child][piece] = last
                rounds += [[] for _ in range(last + 1 - len(rounds))]
                rounds[last].append(Transfer(rank, child, chunk(piece)))
        pending += list(reached.items())
    return rounds


def _double(size: int, root: int) -> Rounds:
    """A binomial tree's rounds: who has the vector passes it on, all at the same time."""
    return [
        [
            Transfer((root + r) % size, (root + r + (1 << step)) % size, chunk(0))
            for r in range(min(1 << step, size - (1 << step)))
        ]
        for step in range((size - 1).bit_length())
    ]
