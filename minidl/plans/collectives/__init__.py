"""Collectives as plans: who sends what to whom until all have what they are to have."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from minidl.errors import InputError
from minidl.plans.collectives.direct import (
    all_to_all,
    barrier,
    full_all_reduce,
    gather,
    scatter,
    send_receive,
    server_reduce,
)
from minidl.plans.collectives.halving import halving_doubling_all_reduce
from minidl.plans.collectives.rings import (
    all_gather,
    hierarchical_all_reduce,
    reduce_scatter,
    ring_all_reduce,
    torus_all_reduce,
)
from minidl.plans.collectives.trees import (
    broadcast,
    double_tree_all_reduce,
    reduce,
    tree_all_reduce,
)
from minidl.plans.instructions import Collective

ALL_REDUCES: dict[str, Callable[..., Collective]] = {
    "ring": ring_all_reduce,
    "server": server_reduce,
    "full": full_all_reduce,
    "tree": tree_all_reduce,
    "double-tree": double_tree_all_reduce,
    "halving-doubling": halving_doubling_all_reduce,
    "torus": torus_all_reduce,
    "hierarchical": hierarchical_all_reduce,
}
"""Every all-reduce by name, each a function of the number of ranks, and of options by keyword."""

COLLECTIVES: dict[str, Callable[..., Collective]] = {
    "broadcast": broadcast,
    "reduce": reduce,
    "reduce-scatter": reduce_scatter,
    "all-gather": all_gather,
    "scatter": scatter,
    "gather": gather,
    "all-to-all": all_to_all,
    "barrier": barrier,
    "send/receive": send_receive,
}
"""Every other collective by name, each a function of the number of ranks, and of options."""


def all_reduce(size: int, algorithm: str = "ring", **options: Any) -> Collective:
    """An all-reduce by the name of its algorithm.

    Parameters
    ----------
    size
        The number of ranks, at least 1.
    algorithm
        One of `ALL_REDUCES`.
    options
        What the algorithm takes besides: ``shape`` for ``"torus"``, ``groups`` for
        ``"hierarchical"``, ``pieces`` for ``"tree"`` and ``"double-tree"``.

    Raises
    ------
    InputError
        If there is no such algorithm, or it has no such option, or an option or the
        size is impossible.
    """
    if not isinstance(algorithm, str) or algorithm not in ALL_REDUCES:
        known = ", ".join(map(repr, ALL_REDUCES))
        raise InputError(f"algorithm: there is no all-reduce {algorithm!r}; there are {known}")
    make = ALL_REDUCES[algorithm]
    takes = list(signature(make).parameters)[1:]
    for option in options:
        if option not in takes:
            raise InputError(
                f"all-reduce {algorithm!r} has no option {option!r}; "
                f"its options are: {', '.join(takes) or 'none'}"
            )
    return make(size, **options)


__all__ = [
    "ALL_REDUCES",
    "COLLECTIVES",
    "all_gather",
    "all_reduce",
    "all_to_all",
    "barrier",
    "broadcast",
    "double_tree_all_reduce",
    "full_all_reduce",
    "gather",
    "halving_doubling_all_reduce",
    "hierarchical_all_reduce",
    "reduce",
    "reduce_scatter",
    "ring_all_reduce",
    "scatter",
    "send_receive",
    "server_reduce",
    "torus_all_reduce",
    "tree_all_reduce",
]
