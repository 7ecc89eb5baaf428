"""Which gradients are exchanged together, and in which order: buckets.

A backward pass goes through a network from its end, so the last layers' gradients are
complete first and can be on their way while earlier layers are still computed. One
exchange for each parameter would cost many latencies, and one for all would hide none of
its time; buckets are between the two. Li et al., "PyTorch Distributed", arXiv 2006.15704.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from minidl.checks import checked
from minidl.errors import InputError, PlanError
from minidl.reprs import brief

Names = Sequence[Sequence[str]]
"""The parameters of each bucket, in the order in which buckets are exchanged."""


@checked
def buckets(sizes: Mapping[str, int], least: float) -> Names:
    """Put parameters into buckets, from the last one to the first.

    Parameters
    ----------
    sizes
        How many numbers each parameter has, in the order of definition.
    least
        A bucket is full with so many numbers; infinity puts all into one. Only the last
        bucket, that of the first layers, may hold less.

    Raises
    ------
    InputError
        If `least` is not above 0.
    """
    if not least > 0:
        raise InputError(f"least: a bucket holds more than 0 numbers, not {least!r}")
    found: list[list[str]] = []
    room = 0.0
    for name, size in reversed(list(sizes.items())):
        if room <= 0:
            found.append([])
            room = least
        found[-1].append(name)
        room -= size
    return found


class Launches:
    """When buckets are launched: each as soon as it is filled and all before it are launched.

    So every rank launches them in the same order, even if gradients become complete in
    another order on each. Else one would wait for a bucket that another one has not begun.

    Parameters
    ----------
    buckets
        The parameters of each bucket.
    """

    __repr__ = brief

    def __init__(self, buckets: Names) -> None:
        self._missing = [set(names) for names in buckets]
        self._next = 0

    def filled(self, name: str) -> Sequence[int]:
        """The numbers of the buckets to launch now that this parameter's gradient is complete."""
        for names in self._missing:
            names.discard(name)
        first = self._next
        while self._next < len(self._missing) and not self._missing[self._next]:
            self._next += 1
        return range(first, self._next)


class Launching(Protocol):
    """What `Launches` does, for one backward pass."""

    def filled(self, name: str) -> Sequence[int]:
        """Which buckets to launch now."""
        ...


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

    names: tuple[str, ...]
    place: slice

    __repr__ = brief


@dataclass(frozen=True)
class Bucketing:
    """How gradients are put into buckets, and when these are launched.

    Parameters
    ----------
    cut
        As `buckets`.
    launches
        As `Launches`; called for each backward pass. Buckets out of order end the run.
    """

    cut: Callable[[Mapping[str, int], float], Names] = buckets
    launches: Callable[[Names], Launching] = Launches

    __repr__ = brief

    def buckets(self, places: Mapping[str, slice], least: float) -> tuple[Bucket, ...]:
        """Cut a vector of gradients.

        Parameters
        ----------
        places
            Where each parameter lies, one after the other without gaps.
        least
            As for `buckets`.

        Raises
        ------
        PlanError
            If a parameter is not in exactly one bucket, or a bucket's are not neighbours.
        """
        sizes = {name: place.stop - place.start for name, place in places.items()}
        cut = [tuple(names) for names in self.cut(sizes, least)]
        if Counter(name for names in cut for name in names) != Counter([*places]):
            raise PlanError(f"each of {list(places)} belongs into exactly one bucket, not {cut}")
        found = []
        for names in filter(None, cut):
            here = sorted((places[name] for name in names), key=lambda p: (p.start, p.stop))
            if any(one.stop != other.start for one, other in pairwise(here)):
                raise PlanError(f"a bucket's parameters must be neighbours, not {list(names)}")
            found.append(Bucket(tuple(names), slice(here[0].start, here[-1].stop)))
        return tuple(found)
