"""Cutting a row of weights into runs of neighbours, the heaviest as light as possible."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from minidl.checks import checked, whole


@checked
def balance(work: Sequence[int], parts: int) -> tuple[slice, ...]:
    """The places, one after the other, where each of `parts` runs of neighbours lies.

    ``best[k][n]`` is the least possible weight of the heaviest of `k` runs that hold the
    first `n` weights.

    Parameters
    ----------
    work
        What each place weighs, at least 0.
    parts
        From 1 to the number of places, and no run is empty; 1 if there is no place.

    Raises
    ------
    InputError
        If `parts` is out of range.
    """
    whole("balance: parts of work", parts, most=max(1, len(work)))
    work = [int(weight) for weight in work]  # of NumPy's numbers the sums could overflow
    count = len(work)
    sums = [0, *accumulate(work)]
    best = [[float("inf")] * (count + 1) for _ in range(parts + 1)]
    last_cut = [[0] * (count + 1) for _ in range(parts + 1)]
    best[0][0] = 0
    for k in range(1, parts + 1):
        for n in range(k, count + 1):
            for cut in range(k - 1, n):
                heaviest = max(best[k - 1][cut], sums[n] - sums[cut])
                if heaviest < best[k][n]:
                    best[k][n], last_cut[k][n] = heaviest, cut
    cuts = [count]
    for k in range(parts, 0, -1):
        cuts.append(last_cut[k][cuts[-1]])
    return tuple(slice(a, b) for a, b in pairwise(cuts[::-1]))
