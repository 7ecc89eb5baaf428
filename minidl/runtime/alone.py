"""The runtime of a single rank: the caller's own process, with nothing copied."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl.errors import InputError, PlanError
from minidl.reprs import brief
from minidl.runtime.base import MakeProgram, Outcome
from minidl.runtime.requests import RankContext, Report
from minidl.runtime.trace import Trace


class Alone:
    """Runs one program where it is called; its exceptions pass through untouched."""

    link = None

    __repr__ = brief

    @contextmanager
    def share(self, arrays: Mapping[str, np.ndarray]) -> Iterator[Mapping[str, np.ndarray]]:
        """The arrays themselves."""
        yield dict(arrays)

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
        """Run the program until it returns; see `Runtime.launch`; it cannot get lost.

        Raises
        ------
        InputError
            If there is more than one program.
        PlanError
            If the program wants to talk to another rank.
        """
        if len(programs) != 1:
            raise InputError(f"this runtime has one rank, and got {len(programs)} programs")
        context = RankContext(0, 1, shared)
        running = programs[0](context)
        try:
            while True:
                request = next(running)
                if not isinstance(request, Report):
                    raise PlanError(f"a rank alone cannot do {request}")
                listen(0, request.event)
        except StopIteration as stop:
            name = tuple(names or ("rank 0",))
            return Outcome((stop.value,), ({},), Trace((context.trace.spans(),), name))
        finally:
            running.close()
