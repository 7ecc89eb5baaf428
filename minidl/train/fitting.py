"""One fit under way: a strategy does the job, callbacks decide how to go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from minidl.data import Batch
from minidl.runtime import Outcome, RankContext
from minidl.strategy import Job, Strategy, Verdict
from minidl.strategy.replica import Replica
from minidl.train.callbacks import Callback
from minidl.train.collector import Collector
from minidl.train.learnt import Learnt
from minidl.train.progress import Progress
from minidl.train.run import Run


class Fit:
    """What a strategy, the callbacks and the display of progress have to do with each other.

    Parameters
    ----------
    job, strategy
        What to do, and who does it.
    learnt
        Where training starts; it is not changed.
    callbacks
        Called after every epoch, in this order.
    shown
        Is told how far the fit has come.
    save
        Saves a checkpoint of this fit, for callbacks that want one.

    Attributes
    ----------
    collector
        Has what is complete.
    run
        What callbacks see, and where they say how to go on.
    outcome
        What the strategy's runtime left; None before the end.
    """

    def __init__(
        self,
        job: Job,
        strategy: Strategy,
        learnt: Learnt,
        callbacks: Sequence[Callback],
        shown: Progress,
        save: Callable[[Path, Fit], None],
    ) -> None:
        self.learnt, self._job, self._strategy = learnt, job, strategy
        self._callbacks, self._shown, self._state = callbacks, shown, learnt.state()
        self.collector = Collector(job, strategy.name, shown, self._state, self._decide)
        self.run = Run(
            [],
            self._state,
            Verdict(False, job.rate),
            shown.note,
            lambda path: save(Path(path), self),
            learnt.bound,
        )
        self.outcome: Outcome | None = None

    def carry_out(self) -> None:
        """Train, until the job is done or a callback ends it."""
        for callback in self._callbacks:
            callback.begin()
        self._prepare()
        self._shown.stage("training")
        with self.learnt.lent():
            self.outcome = self._strategy.run(self._job, self._state, self.collector)
            for callback in self._callbacks:
                callback.end(self.run)
        if self.run.stopped:
            self._shown.note(f"stopped: {self.run.stopped}")

    def _prepare(self) -> None:
        """Compile kernels, if the strategy computes with them, where somebody sees how long."""
        if self._strategy.device != "cpu":
            return
        self._shown.stage("preparing kernels (compiled at their first use, then kept on disk)")
        began = time.perf_counter()
        with self.learnt.lent():
            _warm_up(self._job, self._state)
        if (took := time.perf_counter() - began) > 1:
            self._shown.note(f"kernels compiled and loaded in {took:.1f} s; they are kept on disk")

    def _decide(self, collector: Collector) -> Verdict:
        self.run.epochs, self.run.state = collector.records, collector.kept[1]
        for callback in self._callbacks:
            callback.epoch(self.run)
        return self.run.verdict


def _warm_up(job: Job, state: np.ndarray) -> None:
    """Run a step's phases on two samples, on a copy, so that all kernels are compiled and on disk.

    Otherwise every worker would compile them at the same time.
    """
    replica = Replica(job, RankContext(0, 1, {"state": state, "verdict": np.array([0.0, 1.0])}))
    x, y = job.train.batch(slice(0, 2), job.dtype)
    for phase in job.task.phases(job.task.period - 1):
        replica.gradients(phase, Batch(x, y, 0, len(x)), step=0)
        replica.update(phase)
