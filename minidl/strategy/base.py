"""A strategy: who computes what in one fit, and over which runtime they talk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minidl.errors import InputError
from minidl.runtime.base import MakeProgram, Outcome, Runtime
from minidl.strategy.job import Event, Job


@dataclass(frozen=True)
class Layout:
    """A job cut into one program for each rank.

    Parameters
    ----------
    programs
        ``programs[rank]`` makes the rank's program, on the rank.
    names
        What the ranks are called.
    channels
        The (sender, receiver) pairs that talk.
    """

    programs: Sequence[MakeProgram]
    names: Sequence[str]
    channels: Sequence[tuple[int, int]] = ()


class Strategy(ABC):
    """The base of all strategies.

    A strategy turns a `Job` into a `Layout`; its runtime carries the layout out.
    Whatever the strategy, ``fit`` leaves the trained weights with the caller.
    """

    runtime: Runtime

    @property
    @abstractmethod
    def name(self) -> str:
        """What the strategy is called on the command line."""

    @property
    @abstractmethod
    def formula(self) -> str:
        """What a rank sends in each step, as text: N is the model's size, P counts the ranks."""

    @abstractmethod
    def layout(self, job: Job) -> Layout:
        """One program for each rank."""

    @abstractmethod
    def check(self, job: Job) -> None:
        """Raise `InputError` if this strategy cannot do the job."""

    @abstractmethod
    def bytes_sent(self, job: Job) -> Mapping[str, tuple[float, ...]]:
        """By operation, the bytes that each rank sends in this job's training, by formula."""

    def run(self, job: Job, state: np.ndarray, listen: Callable[[int, Event], int]) -> Outcome:
        """Do the job.

        Parameters
        ----------
        job
            What to do. The caller binds the model's parameters anew afterwards.
        state
            Two copies of the training state, shape (2, rows, `job.length`): row 0
            holds the parameters, further rows the optimizer's slots. Slot 0 is the
            initial state; at the end of every epoch the ranks write the slot that
            their `Committed` event names. The caller's array is kept up to date
            even if the run fails.
        listen
            Called in this process with (rank, event); says how many epochs are now
            whole. The state at the end of the last of these is never written over.

        Raises
        ------
        WorkerError
            If a rank failed; the state then is the one last committed.
        """
        layout = self.layout(job)
        own = {"state": state, "whole": np.zeros(1, np.int64)}
        with self.runtime.share(own | job.arrays()) as shared:

            def heard(rank: int, event: Event) -> None:
                shared["whole"][0] = listen(rank, event)

            try:
                return self.runtime.launch(
                    layout.programs,
                    shared=shared,
                    channels=layout.channels,
                    listen=heard,
                    names=layout.names,
                )
            finally:
                np.copyto(state, shared["state"])


def default_runtime() -> Runtime:
    """Real worker processes; imported here, so that `import minidl` need not wait for it."""
    from minidl.runtime.processes import Processes

    return Processes()


def require_workers(workers: int, job: Job) -> None:
    """Refuse a batch that cannot give each worker a sample."""
    if job.batch_size < workers:
        raise InputError(
            f"a batch of {job.batch_size} cannot be shared by {workers} workers: "
            f"batch_size must be at least {workers}"
        )


def positive(what: str, value: int) -> None:
    """Refuse anything but a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{what} must be a whole number of at least 1, not {value!r}")
