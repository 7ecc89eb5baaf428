"""What each collective costs by formula: steps, messages, and what every rank sends.

P is the number of ranks and N the size of the vector. Each function is written from
the algorithm's description and knows nothing of the plan; the tests count the
plans' messages and find the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from minidl.reprs import brief


@dataclass(frozen=True)
class Cost:
    """A collective's cost by formula.

    Parameters
    ----------
    steps
        Rounds from start to end when every message takes one.
    messages
        How many messages all ranks send together.
    shares
        What each rank sends, in vectors.
    words
        The formulas of steps, of messages, and of what the busiest rank sends.
    at_most
        Whether `steps` is a bound; all else is exact.
    """

    steps: int
    messages: int
    shares: tuple[Fraction, ...]
    words: tuple[str, str, str]
    at_most: bool = False

    __repr__ = brief

    def sent(self, length: float) -> tuple[float, ...]:
        """What each rank sends of a vector of `length`, in the unit of `length`.

        Exact where the number of chunks divides the vector.
        """
        return tuple(float(share * Fraction(length)) for share in self.shares)


def ring(size: int) -> Cost:
    """Ring all-reduce, Patarasuk and Yuan (2009)."""
    steps = 2 * (size - 1)
    words = ("2(P−1)", "2P(P−1)", "2N(P−1)/P")
    return Cost(steps, size * steps, (Fraction(steps, size),) * size, words)


def half_ring(size: int) -> Cost:
    """Reduce-scatter or all-gather over a ring, either half of the all-reduce."""
    steps = size - 1
    words = ("P−1", "P(P−1)", "N(P−1)/P")
    return Cost(steps, size * steps, (Fraction(steps, size),) * size, words)


def server(size: int) -> Cost:
    """Central reduce: P - 1 vectors come one by one, all answers go at once."""
    shares = (Fraction(size - 1), *[Fraction(1)] * (size - 1))
    words = ("P", "2(P−1)", "N(P−1)")
    return Cost(size if size > 1 else 0, 2 * (size - 1), shares, words)


def full(size: int) -> Cost:
    """All-reduce over a fully connected network: P - 1 summands one by one, one answer."""
    share = Fraction(2 * (size - 1), size)
    words = ("P", "2P(P−1)", "2N(P−1)/P")
    return Cost(size if size > 1 else 0, 2 * size * (size - 1), (share,) * size, words)


def tree(size: int, pieces: int = 1) -> Cost:
    """All-reduce up and down the tree in which 2r + 1 and 2r + 2 are below rank r.

    The vector reaches rank v - 1 with a step for each level, and one more for each
    second child on the way: these are the digits and the ones of v in binary, less
    the leading one for both. Up takes as long as down.
    """
    one = max(v.bit_length() - 1 + v.bit_count() - 1 for v in range(1, size + 1))
    further = min(size - 1, 2) * (pieces - 1)
    children = [len(range(2 * r + 1, min(2 * r + 3, size))) for r in range(size)]
    shares = tuple(Fraction(below + (r > 0)) for r, below in enumerate(children))
    words = ("≤ 4⌊lg P⌋ + 4(n−1)", "2n(P−1)", "≤ 3N")
    return Cost(2 * (one + further), 2 * pieces * (size - 1), shares, words)


def double_tree(size: int, pieces: int = 1) -> Cost:
    """All-reduce up and down two trees, half the vector over each; Sanders et al. (2009).

    In the first tree the v-th rank, counted from 1, has children if v is even: one on
    its left, and one on its right unless it is the last. A level takes at most two steps.
    """
    root = 1 << (size.bit_length() - 1)

    def sends(v: int) -> int:
        below = 0 if v % 2 else 1 + (v < size)
        return below + (v != root)

    def in_second(v: int) -> int:
        return size + 1 - v if size % 2 == 0 else (v - 2) % size + 1

    shares = tuple(Fraction(sends(v) + sends(in_second(v)), 2) for v in range(1, size + 1))
    levels = size.bit_length() - 1
    steps = 4 * levels + 4 * (pieces - 1) if size > 1 else 0
    words = ("≤ 4⌊lg P⌋ + 4(n−1)", "4n(P−1)", "≤ 2N")
    return Cost(steps, 4 * pieces * (size - 1), shares, words, at_most=True)


def halving_doubling(size: int) -> Cost:
    """All-reduce by halving and doubling; Q is the largest power of two up to P."""
    k = size.bit_length() - 1
    extra = size - (1 << k)
    most = 2 * (1 - Fraction(1, 1 << k))
    shares = [Fraction(1) if r % 2 == 0 else most + 1 for r in range(2 * extra)]
    shares += [most] * (size - 2 * extra)
    words = ("2 lg Q + 2 (P > Q)", "2Q lg Q + 2(P−Q)", "2N(Q−1)/Q + N (P > Q)")
    steps = 2 * k + (2 if extra else 0)
    return Cost(steps, 2 * k * (1 << k) + 2 * extra, tuple(shares), words)


def torus(x: int, y: int) -> Cost:
    """All-reduce over a torus of X rows and Y columns."""
    size, steps = x * y, 2 * (x - 1) + 2 * (y - 1)
    words = ("2(X−1) + 2(Y−1)", "P(2(X−1) + 2(Y−1))", "2N(P−1)/P")
    return Cost(steps, size * steps, (Fraction(2 * (size - 1), size),) * size, words)


def hierarchical(groups: Sequence[int]) -> Cost:
    """All-reduce in groups of these sizes, the largest of k ranks; Jia et al. (2018)."""
    g, k = len(groups), max(groups)
    shares: list[Fraction] = []
    for n in groups:
        half = Fraction(n - 1, n)
        between = 2 * Fraction(g - 1, g)
        inner = [2 * half + Fraction(1, n)] * (n - 2)
        last = [half + Fraction(1, n)] * (n > 1)
        shares += [3 * half + between, *inner, *last]
    inside = sum((2 * n + 1) * (n - 1) for n in groups)
    words = ("4(k−1) + 2(G−1)", "Σ (2k+1)(k−1) + 2G(G−1)", "3N(k−1)/k + 2N(G−1)/G")
    steps = 4 * (k - 1) + 2 * (g - 1)
    return Cost(steps, inside + 2 * g * (g - 1), tuple(shares), words)


def broadcast(size: int, root: int) -> Cost:
    """Broadcast over a binomial tree: who is v ranks after the root passes on to v + 2^j > 2v."""
    shares = [Fraction(0)] * size
    for v in range(size):
        passes = (size - v - 1).bit_length() - v.bit_length()
        shares[(root + v) % size] = Fraction(max(0, passes))
    words = ("⌈lg P⌉", "P−1", "N⌈lg P⌉")
    return Cost((size - 1).bit_length(), size - 1, tuple(shares), words)


def reduce(size: int, root: int) -> Cost:
    """Reduce over a binomial tree: all but the root send once."""
    return Cost(
        (size - 1).bit_length(),
        size - 1,
        tuple(Fraction(rank != root) for rank in range(size)),
        ("⌈lg P⌉", "P−1", "N"),
    )


def scatter(size: int, root: int) -> Cost:
    """Scatter: the root sends each other rank its chunk."""
    share = Fraction(size - 1, size)
    shares = tuple(share if rank == root else Fraction(0) for rank in range(size))
    return Cost(size - 1, size - 1, shares, ("P−1", "P−1", "N(P−1)/P"))


def gather(size: int, root: int) -> Cost:
    """Gather: each rank but the root sends it one chunk."""
    shares = tuple(Fraction(rank != root, size) for rank in range(size))
    return Cost(size - 1, size - 1, shares, ("P−1", "P−1", "N/P"))


def all_to_all(size: int) -> Cost:
    """All-to-all by pairs; N is the whole matrix, of which a rank has a row of N/P."""
    share = Fraction(size - 1, size * size)
    words = ("P−1", "P(P−1)", "N(P−1)/P²")
    return Cost(size - 1, size * (size - 1), (share,) * size, words)


def barrier(size: int) -> Cost:
    """Barrier by dissemination; N, the size of all ranks' tokens, may be nothing."""
    steps = (size - 1).bit_length()
    words = ("⌈lg P⌉", "P⌈lg P⌉", "(N/P)⌈lg P⌉")
    return Cost(steps, size * steps, (Fraction(steps, size),) * size, words)


def send_receive(size: int, source: int) -> Cost:
    """One message."""
    shares = tuple(Fraction(rank == source) for rank in range(size))
    return Cost(1, 1, shares, ("1", "1", "N"))
