"""What every runtime offers: shared arrays, and a run of one program on each rank."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from minidl.plans import Link
from minidl.reprs import brief
from minidl.runtime.requests import RankContext, RankProgram
from minidl.runtime.trace import Trace

MakeProgram = Callable[[RankContext], RankProgram]
"""Called once on each rank, there, to make the program that the rank then runs."""


@dataclass(frozen=True)
class Traffic:
    """What one rank has sent for one operation: payload bytes, without headers, and messages."""

    bytes: int = 0
    messages: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a run leaves.

    Parameters
    ----------
    results
        What each rank's program returned.
    traffic
        ``traffic[rank][operation]``: what the rank sent.
    trace
        What each rank did, and when.
    """

    results: tuple[Any, ...]
    traffic: tuple[Mapping[str, Traffic], ...]
    trace: Trace

    __repr__ = brief


@runtime_checkable
class Runtime(Protocol):
    """Something that runs one program on each of several ranks."""

    @property
    def link(self) -> Link | None:
        """What messages pass, if a network is emulated."""
        ...

    def share(
        self, arrays: Mapping[str, np.ndarray]
    ) -> AbstractContextManager[Mapping[str, np.ndarray]]:
        """Copies of these arrays that the caller and all ranks of a launch see and may write."""
        ...

    def launch(
        self,
        programs: Sequence[MakeProgram],
        *,
        shared: Mapping[str, np.ndarray],
        channels: Sequence[tuple[int, int]],
        listen: Callable[[int, Any], None],
        names: Sequence[str] | None = None,
        expendable: Collection[int] = (),
    ) -> Outcome:
        """Run ``programs[rank]`` on each rank until all have returned.

        Parameters
        ----------
        programs
            One for each rank; each is copied to where it runs.
        shared
            What `share` gave.
        channels
            The (sender, receiver) pairs that may exchange messages.
        listen
            Called in the caller's process with (rank, event) for every `Report`, and with a `Loss`
            for every expendable rank that is lost before it has returned.
        names
            What the ranks are called in errors and pictures; ``"rank 0"`` and so on if None.
        expendable
            Ranks without which the run goes on, where they can get lost: those who want to
            hear of them are told so by `Lost`, what is sent to them vanishes, and they
            leave no result, traffic or spans.

        Raises
        ------
        WorkerError
            If a rank raised, died or stopped answering. All others have then ended.
        """
        ...
