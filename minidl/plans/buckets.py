"""Which gradients are exchanged together, and in which order: buckets.

A backward pass goes through a network from its end, so the last layers' gradients are
complete first and can be on their way while earlier layers are still computed. One
exchange for each parameter would cost many latencies, and one for all would hide none of
its time; buckets are between the two. Li et al., "PyTorch Distributed", arXiv 2006.15704.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minidl.errors import InputError


@dataclass(frozen=True)
class Bucket:
    """Neighbouring parameters whose gradients are exchanged together.

    Parameters
    ----------
    names
        Of the parameters.
    place
        Where they lie in the vector of all gradients.
    """

    names: frozenset[str]
    place: slice


def buckets(places: Mapping[str, slice], least: float) -> tuple[Bucket, ...]:
    """Cut a vector of gradients into buckets, in the order in which they are exchanged.

    Parameters
    ----------
    places
        Where each parameter lies, in the order of definition, one after the other without gaps.
    least
        A bucket is full with so many numbers; infinity puts all into one. Only the last
        bucket, that of the first layers, may hold less.

    Raises
    ------
    InputError
        If `least` is not above 0.
    """
    if not least > 0:
        raise InputError(f"a bucket holds more than 0 numbers, not {least!r}")
    cut: list[Bucket] = []
    names: list[str] = []
    stop = 0
    for name, place in reversed(list(places.items())):
        if not names:
            stop = place.stop
        names.append(name)
        if stop - place.start >= least:
            cut.append(Bucket(frozenset(names), slice(place.start, stop)))
            names = []
    if names:
        cut.append(Bucket(frozenset(names), slice(places[names[-1]].start, stop)))
    return tuple(cut)
