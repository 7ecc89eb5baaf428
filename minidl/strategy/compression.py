"""All-reduce with less to send: rounded to float16, or the largest entries and no others.

What top-k leaves out is kept and tried again (error feedback): Stich, Cordonnier and Jaggi,
"Sparsified SGD with memory", 2018; Lin et al., "Deep gradient compression", 2018.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from minidl.checks import is_number
from minidl.errors import InputError, NonFiniteError
from minidl.plans import Collective, Receive, Send, all_gather, costs
from minidl.reprs import brief
from minidl.runtime.requests import Exchange, Incoming, Outgoing, Requests, collective


class Compression(ABC):
    """How gradients are made smaller for their way; a setting, the same on all ranks."""

    __repr__ = brief

    @abstractmethod
    def start(self, places: Mapping[str, slice], dtype: np.dtype) -> Compressor:
        """What one rank needs for one fit: all that was kept back before is forgotten.

        Parameters
        ----------
        places
            Where the gradient of each parameter lies in the vector of all.
        dtype
            Of that vector.
        """

    @abstractmethod
    def channels(self, plan: Collective) -> set[tuple[int, int]]:
        """The (sender, receiver) pairs that gradients travel over."""

    @abstractmethod
    def sent(self, cost: costs.Cost, length: int, itemsize: int) -> tuple[float, ...]:
        """The bytes that each rank sends for one slice of the gradient, by formula.

        Parameters
        ----------
        cost
            Of the plan for gradients that are not compressed.
        length
            Numbers in the slice.
        itemsize
            Bytes of each number before it is compressed.
        """

    @abstractmethod
    def words(self, each: str) -> str:
        """What a rank sends, as text, where without compression it is `each`."""


class Compressor(ABC):
    """One rank's side of a compressed all-reduce, for one fit."""

    __repr__ = brief

    def __init__(self, places: Mapping[str, slice]) -> None:
        self._places = places

    @abstractmethod
    def all_reduce(
        self, plan: Collective, rank: int, vector: np.ndarray, operation: str, first: int = 0
    ) -> Requests:
        """Leave in a slice of the gradient its sum over all ranks, nearly; bit for bit the same.

        Parameters
        ----------
        plan
            The all-reduce for what is not compressed.
        rank
            Which of the plan's ranks this one is.
        vector
            The slice, changed in place into the sum.
        operation
            What its messages belong to.
        first
            Where the slice begins in the vector of all gradients.

        Raises
        ------
        NonFiniteError
            If a value is NaN, infinite, or too large for the messages.
        """

    def _require_finite(
        self, message: np.ndarray, value: np.ndarray, first: int, advice: str
    ) -> None:
        """Refuse a message with a NaN or an infinity in it, made of what `value` holds."""
        finite = np.isfinite(message)
        if not finite.all():
            wrong = int(np.argmin(finite))
            place = first + wrong
            name = next(n for n, p in self._places.items() if p.start <= place < p.stop)
            raise NonFiniteError(
                f"a partial sum of the gradient of {name} is {value[wrong]:g}, {advice}"
            )


@dataclass(frozen=True)
class Float16(Compression):
    """Every message in float16, every sum in the gradient's own precision.

    A rank that sends rounds what it holds, too, and in the end every rank does, which changes
    nothing for those that received it. So all end with the same numbers of float16, whatever
    the algorithm. On its way into the sum over P ranks a value is rounded P times at most: each
    time by at most a share u = 2⁻¹¹ of it, or, below 6e-5, by at most 2⁻²⁵.
    """

    def start(self, places: Mapping[str, slice], dtype: np.dtype) -> Compressor:
        return _Rounding(places)

    def channels(self, plan: Collective) -> set[tuple[int, int]]:
        return {*plan.channels()}

    def sent(self, cost: costs.Cost, length: int, itemsize: int) -> tuple[float, ...]:
        return cost.sent(length * np.dtype(np.float16).itemsize)

    def words(self, each: str) -> str:
        return f"{each} in float16"


class _Rounding(Compressor):
    """A plan carried out with messages of float16."""

    def all_reduce(
        self, plan: Collective, rank: int, vector: np.ndarray, operation: str, first: int = 0
    ) -> Requests:
        cuts = plan.slices(vector.size)
        for step in plan.programs[rank]:
            outgoing: list[Outgoing] = []
            incoming: list[tuple[Incoming, np.ndarray, bool]] = []
            for instruction in step:
                match instruction:
                    case Send(peer, int(chunk)):
                        message = self._rounded(vector[cuts[chunk]], first + cuts[chunk].start)
                        vector[cuts[chunk]] = single(message)  # or it would know more than peers
                        outgoing.append(Outgoing(peer, message, operation))
                    case Receive(peer, int(chunk), reduce):
                        part = vector[cuts[chunk]]
                        space = np.empty(part.shape, np.float16)
                        incoming.append((Incoming(peer, space, operation), part, reduce))
            yield Exchange((*outgoing, *(wish for wish, _, _ in incoming)))
            for wish, part, reduce in incoming:
                if reduce:
                    part += single(wish.array)
                else:
                    part[...] = single(wish.array)
        vector[...] = single(self._rounded(vector, first))

    def _rounded(self, part: np.ndarray, first: int) -> np.ndarray:
        """A part of the gradient in float16."""
        with np.errstate(over="ignore"):
            message = half(part)
        largest = np.finfo(np.float16).max
        advice = (
            f"which does not fit float16 (at most {largest:g}): scale the loss down, "
            "or train without compression=Float16()"
        )
        self._require_finite(message, part, first, advice)
        return message


def half(numbers: np.ndarray) -> np.ndarray:
    """The same as ``numbers.astype(np.float16)``, up to twenty times as fast.

    That takes up to 0.2 µs for each number below 2⁻¹⁴, as most gradients are, if it is rounded.
    Here such are rounded beforehand, to the multiples of 2⁻²⁴ that float16 has there.
    """
    # From it to its double, numbers of this type lie 2⁻²⁴ apart: a sum with it is rounded so.
    coarse = numbers.dtype.type(1.5 * 2.0 ** (np.finfo(numbers.dtype).nmant - 24))
    rounded = np.copysign((numbers + coarse) - coarse, numbers)
    return np.where(np.abs(numbers) < 2.0**-14, rounded, numbers).astype(np.float16)


SINGLES = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
"""All numbers of float16, by their bits."""


def single(halves: np.ndarray) -> np.ndarray:
    """The same as ``halves.astype(np.float32)``, which is up to eight times slower below 2⁻¹⁴."""
    return SINGLES[halves.view(np.uint16)]


@dataclass(frozen=True)
class TopK(Compression):
    """The k largest entries of every rank's gradient, by magnitude; the rest waits.

    What a rank does not send it keeps, and adds it to its next gradient (error feedback), so
    that nothing is ever lost, only late. A fit begins with nothing kept, and what is kept at
    its end is forgotten. Places and values go around a ring by all-gather, and all ranks add
    them up in the same order. Of equal entries those that come first are taken.

    Parameters
    ----------
    share
        Which share of the entries is sent, above 0 and up to 1; at least one is.
    feedback
        False forgets what is not sent; only to see what that does.

    Raises
    ------
    InputError
        If `share` is out of range.
    """

    share: float = 0.01
    feedback: bool = True

    def __post_init__(self) -> None:
        if not is_number(self.share) or not 0 < self.share <= 1:
            raise InputError(f"TopK: share must be above 0 and at most 1, not {self.share!r}")

    def count(self, length: int) -> int:
        """How many of so many entries are sent."""
        return min(length, max(1, round(self.share * length)))

    def start(self, places: Mapping[str, slice], dtype: np.dtype) -> Compressor:
        return _Largest(self, places, dtype)

    def channels(self, plan: Collective) -> set[tuple[int, int]]:
        return {*all_gather(plan.size).channels()}

    def sent(self, cost: costs.Cost, length: int, itemsize: int) -> tuple[float, ...]:
        size = len(cost.shares)
        entry = np.dtype(np.uint32).itemsize + itemsize
        return costs.half_ring(size).sent(size * self.count(length) * entry)

    def words(self, each: str) -> str:
        return f"(P−1)k places and values, k = {self.share:g}N,"


class _Largest(Compressor):
    """Picks what to send, and remembers what was not."""

    def __init__(self, settings: TopK, places: Mapping[str, slice], dtype: np.dtype) -> None:
        super().__init__(places)
        self.settings = settings
        self.entry = np.dtype([("place", np.uint32), ("value", dtype)])
        self.residual = np.zeros(max((p.stop for p in places.values()), default=0), dtype)

    def all_reduce(
        self, plan: Collective, rank: int, vector: np.ndarray, operation: str, first: int = 0
    ) -> Requests:
        kept = self.residual[first : first + vector.size]
        kept += vector
        advice = "of which no largest entries can be sent; a lower learning rate often helps"
        self._require_finite(kept, kept, first, advice)
        count = self.settings.count(vector.size)
        entries = np.empty(plan.size * count, self.entry)
        mine = entries[rank * count : (rank + 1) * count]
        mine["place"] = largest(kept, count)
        mine["value"] = kept[mine["place"]]
        kept[mine["place"] if self.settings.feedback else ...] = 0
        yield from collective(all_gather(plan.size), rank, entries, operation)
        vector[...] = 0
        for each in entries.reshape(plan.size, count):
            vector[each["place"]] += each["value"]


def largest(vector: np.ndarray, count: int) -> np.ndarray:
    """The places of the `count` largest entries by magnitude, the first of equal ones."""
    size = np.abs(vector)
    least = np.partition(size, -count)[-count] if count else np.inf
    above, equal = np.flatnonzero(size > least), np.flatnonzero(size == least)
    return np.sort(np.concatenate((above, equal[: count - above.size])))
