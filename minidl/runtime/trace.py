"""Who did what, and when: spans of time on each rank.

Real and simulated runs write the same format, so one picture draws both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl import files
from minidl.reprs import brief

KINDS = (
    "load", "forward", "backward", "send", "receive", "wait", "reduce", "update", "evaluate",
    "sleep", "cancelled",
)  # fmt: skip
BESIDE = ", exchanges"
"""Follows a rank's name where the spans are those beside its program."""
SPAN = np.dtype([("start", "f8"), ("stop", "f8"), ("kind", "u1"), ("step", "i4"), ("label", "i4")])
"""One span; seconds on the machine's monotonic clock, an index into `KINDS`, the training
step, and a micro-batch or a peer's rank (-1 where neither applies)."""


class Recorder:
    """One rank's spans, in an array reserved beforehand; the oldest are dropped when it is full.

    Parameters
    ----------
    capacity
        How many spans are kept.
    clock
        Returns seconds; every rank of a run reads the same one.
    """

    __repr__ = brief

    def __init__(
        self, capacity: int = 1 << 16, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._spans = np.zeros(capacity, SPAN)
        self._count = 0
        self.clock = clock
        self.step = 0

    def add(self, kind: str, start: float, stop: float, label: int = -1) -> None:
        """Record one span of the current step."""
        place = self._count % len(self._spans)
        self._spans[place] = (start, stop, KINDS.index(kind), self.step, label)
        self._count += 1

    @contextmanager
    def span(self, kind: str, label: int = -1) -> Iterator[None]:
        """Record the time spent inside the `with` block."""
        start = self.clock()
        yield
        self.add(kind, start, self.clock(), label)

    def cancel(self, start: float) -> None:
        """Record that all since `start` came to nothing: its spans, and the time up to now."""
        for number in range(self._count - 1, max(-1, self._count - 1 - len(self._spans)), -1):
            span = self._spans[number % len(self._spans)]
            if span["start"] < start:
                break
            span["kind"] = KINDS.index("cancelled")
        newest = self._spans[(self._count - 1) % len(self._spans)]
        self.add("cancelled", max(start, float(newest["stop"])), self.clock())

    def spans(self) -> np.ndarray:
        """The spans kept, oldest first, as an array of dtype `SPAN`."""
        if self._count <= len(self._spans):
            return self._spans[: self._count].copy()
        return np.roll(self._spans, -(self._count % len(self._spans)))


@dataclass(frozen=True)
class Trace:
    """The spans of all ranks of a run.

    Parameters
    ----------
    ranks
        ``ranks[rank]`` is an array of dtype `SPAN`.
    names
        What each rank is called in pictures, e.g. ``"server"`` or ``"stage 1"``.
    """

    ranks: tuple[np.ndarray, ...]
    names: tuple[str, ...]

    def __repr__(self) -> str:
        spans = sum(map(len, self.ranks))
        return f"Trace({len(self.ranks)} ranks, {spans:,} spans)"

    @classmethod
    def woven(
        cls, ranks: Sequence[np.ndarray], beside: Sequence[np.ndarray], names: Sequence[str]
    ) -> Trace:
        """Below each rank that exchanged something beside its program a row with these spans."""
        rows = [
            row
            for own, exchanged, name in zip(ranks, beside, names, strict=True)
            for row in ((own, name), (exchanged, f"{name}{BESIDE}"))
            if row[0] is own or len(exchanged)
        ]
        return cls(tuple(spans for spans, _ in rows), tuple(name for _, name in rows))

    @property
    def start(self) -> float:
        """When the first span began, in seconds of the run's clock."""
        return min((float(spans["start"].min()) for spans in self.ranks if len(spans)), default=0.0)

    def steps(self, first: int, last: int) -> Trace:
        """The part of the trace that belongs to steps `first` to `last`, both included."""
        return Trace(
            tuple(s[(s["step"] >= first) & (s["step"] <= last)] for s in self.ranks), self.names
        )

    def between(self, first: float, last: float) -> Trace:
        """What lies, at least in part, between two moments, in seconds since the first span."""
        start, stop = self.start + first, self.start + last
        return Trace(
            tuple(s[(s["start"] < stop) & (s["stop"] > start)] for s in self.ranks), self.names
        )

    def save_chrome(self, path: str | Path) -> None:
        """Write the Chrome trace format, which Perfetto and chrome://tracing open."""
        zero = self.start
        events: list[dict[str, object]] = [
            {"ph": "M", "pid": 0, "tid": rank, "name": "thread_name", "args": {"name": name}}
            for rank, name in enumerate(self.names)
        ]
        for rank, spans in enumerate(self.ranks):
            events.extend(
                {
                    "ph": "X",
                    "pid": 0,
                    "tid": rank,
                    "name": KINDS[span["kind"]],
                    "ts": (float(span["start"]) - zero) * 1e6,
                    "dur": (float(span["stop"]) - float(span["start"])) * 1e6,
                    "args": {"step": int(span["step"]), "label": int(span["label"])},
                }
                for span in spans
            )
        written = json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})
        files.replace(path, written.encode())
