"""A strategy: who computes what in one fit, and over which runtime they talk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from minidl.checks import MANY, whole
from minidl.errors import InputError
from minidl.reprs import brief
from minidl.runtime.base import MakeProgram, Outcome, Runtime
from minidl.sim import Law
from minidl.strategy.job import Event, Job, Verdict


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
    arrays
        What the ranks share beside the state and the data, by name.
    expendable
        Ranks without which the others go on.
    """

    programs: Sequence[MakeProgram]
    names: Sequence[str]
    channels: Sequence[tuple[int, int]] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    expendable: Collection[int] = ()

    __repr__ = brief


class Strategy(ABC):
    """The base of all strategies.

    A strategy turns a `Job` into a `Layout`; its runtime carries the layout out.
    Whatever the strategy, ``fit`` leaves the trained weights with the caller.
    """

    runtime: Runtime
    device: str = "cpu"

    __repr__ = brief

    @property
    @abstractmethod
    def name(self) -> str:
        """What the strategy is called on the command line."""

    @property
    @abstractmethod
    def formula(self) -> str:
        """What a rank sends in each step, as text. N is the model's size, P counts the ranks."""

    def paced(self, job: Job) -> Job:
        """The job, with as many updates an epoch as this strategy makes."""
        return job

    def in_virtual_time(self) -> Strategy:
        """The same with simulated clocks, in this process.

        Raises
        ------
        InputError
            If the strategy has no such form.
        """
        raise InputError(f"the strategy {self.name!r} does not run in virtual time")

    @abstractmethod
    def layout(self, job: Job) -> Layout:
        """One program for each rank."""

    @abstractmethod
    def check(self, job: Job) -> None:
        """Raise `InputError` if this strategy cannot do the job."""

    @abstractmethod
    def bytes_sent(self, job: Job) -> Mapping[str, tuple[float, ...]]:
        """By operation, the bytes that each rank sends in this job's training, by formula."""

    def run(self, job: Job, state: np.ndarray, listener: Listener) -> Outcome:
        """Do the job.

        Parameters
        ----------
        job
            What to do. The caller binds the model's parameters anew afterwards.
        state
            Where training starts, shape (rows, `job.length`): row 0 holds the
            parameters, further rows the optimizer's slots.
        listener
            Is told in this process what the ranks report, and given the state at the
            end of every epoch.

        Raises
        ------
        WorkerError
            If a rank failed.
        """
        layout = self.layout(job)
        own = {"state": state.copy(), "verdict": np.array([0.0, job.rate])}
        with self.runtime.share(own | job.arrays() | dict(layout.arrays)) as shared:

            def hear(rank: int, event: Event) -> None:
                whole = listener.hear(rank, event)
                if whole:
                    shared["verdict"][...] = listener.keep(whole, shared["state"].copy())

            return self.runtime.launch(
                layout.programs,
                shared=shared,
                channels=layout.channels,
                listen=hear,
                names=layout.names,
                expendable=layout.expendable,
            )


class Listener(Protocol):
    """Somebody who wants to know how a job goes on."""

    def hear(self, rank: int, event: Event) -> int:
        """Take in what a rank reports; how many epochs are thereby whole, 0 if that is no news."""
        ...

    def keep(self, epochs: int, state: np.ndarray) -> Verdict:
        """Take the state at the end of so many epochs, for which all ranks wait; how to go on."""
        ...


def default_runtime() -> Runtime:
    """Real worker processes; imported here, so that `import minidl` need not wait for it."""
    from minidl.runtime.processes import Processes

    return Processes()


def require_workers(workers: int, job: Job, straggler: Law | None = None) -> None:
    """Refuse data that cannot give each worker a sample, and a law that gives it no time."""
    if job.smallest_batch < workers:
        raise InputError(
            f"a batch of {job.smallest_batch} cannot be shared by {workers} workers: "
            f"batch_size must be at least {workers}"
        )
    if len(job.train) < workers:
        raise InputError(
            f"a data set of {len(job.train)} cannot be shared by {workers} workers: "
            "it needs a sample for each"
        )
    if straggler is not None:
        if not isinstance(straggler, Law):
            raise InputError(f"straggler must be a Law of minidl.sim, not {straggler!r}")
        straggler.check(job.seed, workers)


def require_runtime(runtime: Runtime) -> None:
    """Refuse what is no runtime."""
    if isinstance(runtime, type) or not isinstance(runtime, Runtime):
        raise InputError(
            f"runtime must be a Runtime of minidl.runtime, such as Processes(), not {runtime!r}"
        )


def positive(what: str, value: int) -> None:
    """Refuse anything but a whole number of at least 1."""
    whole(what, value, most=MANY)
