"""All-reduce by recursive halving and doubling: few steps and few bytes, with any rank count.

Rabenseifner, "Optimization of collective reduction operations", ICCS 2004; Thakur,
Rabenseifner and Gropp, Int. J. High Perform. Comput. Appl. 19 (2005), section 4.5.
"""

from __future__ import annotations

from minidl.plans import costs
from minidl.plans.collectives.rounds import (
    Rounds,
    Transfer,
    backwards,
    from_rounds,
    require_size,
)
from minidl.plans.instructions import Collective


def halving_doubling_all_reduce(size: int) -> Collective:
    """Sum by swapping halves, quarters, eighths of the vector with ever nearer partners.

    Of Q = 2^k ranks, those that differ in the highest bit of their number swap halves
    and add; those that differ in the next bit swap halves of what is left, until each
    holds the sum of one of Q chunks. Gathering is the same backwards. If P is no power
    of two, Q is the one below, and P - Q ranks give their vector to a neighbour first
    and get the sum from it last.

    Parameters
    ----------
    size
        The number of ranks P, at least 1.

    Returns
    -------
    Collective
        2k steps, and 2 more if P is no power of two.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 1.
    """
    size = require_size(size)
    power = 1 << (size.bit_length() - 1)
    extra = size - power
    # Of the first 2(P - Q) ranks the even ones step aside.
    active = [*range(1, 2 * extra, 2), *range(2 * extra, size)]
    aside = [[Transfer(2 * i + 1, 2 * i, range(power)) for i in range(extra)]] if extra else []
    doubling: Rounds = []
    distance = 1
    while distance < power:
        doubling.append(
            [Transfer(active[i], active[i ^ distance], _block(i, distance)) for i in range(power)]
        )
        distance *= 2
    spread = doubling + aside
    rounds = backwards(spread, reduce=True) + spread
    return from_rounds(
        "halving-doubling all-reduce", size, power, rounds, costs.halving_doubling(size)
    )


def _block(place: int, length: int) -> range:
    """The `length` chunks, from a multiple of it on, that `place` lies in."""
    start = place // length * length
    return range(start, start + length)
