"""One fit under way: a strategy does the job, callbacks decide how to go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minidl.checks import path as path_of
from minidl.errors import NonFiniteError, warn
from minidl.runtime import Outcome
from minidl.strategy import Job, Strategy, Verdict
from minidl.strategy.warm_up import warm_up
from minidl.train.callback_states import States, give_back, states_of
from minidl.train.callbacks import Callback
from minidl.train.collector import Collector
from minidl.train.learnt import Learnt
from minidl.train.progress import Progress
from minidl.train.run import Run


class Fit:
    """What a strategy, the callbacks and the display of progress have to do with each other.

    Parameters
    ----------
    job
        What to do.
    strategy
        Who does it.
    learnt
        Where training starts; it is not changed.
    callbacks
        Called after every epoch, in this order.
    shown
        Is told how far the fit has come.
    save
        Saves a checkpoint of this fit, for callbacks that want one.
    states
        What callbacks of an earlier fit remember; see `Callback.state_dict`.

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
        states: States,
    ) -> None:
        self.learnt, self._job, self._strategy = learnt, job, strategy
        self._callbacks, self._shown, self._state = callbacks, shown, learnt.state()
        self._states, self._save, self._to_save = states, save, list[Path]()
        self._seen = 0
        self.collector = Collector(job, strategy.name, shown, self._state, self._decide)
        self.run = Run(
            [],
            self._state,
            Verdict(False, job.rate),
            shown.note,
            lambda path: self._to_save.append(path_of("Run.save: path", path)),
            learnt.bound,
        )
        self.outcome: Outcome | None = None

    def carry_out(self) -> None:
        """Train, until the job is done or a callback ends it."""
        for callback in self._callbacks:
            callback.begin()
        give_back(self._states, self._callbacks)
        self._prepare()
        self._shown.stage("training")
        with self.learnt.lent():
            try:
                self.outcome = self._strategy.run(self._job, self._state, self.collector)
            except NonFiniteError as error:
                if late := staleness_advice(self.collector):
                    raise NonFiniteError(f"{error} {late}") from error
                raise
            with self._saving():
                for callback in self._callbacks:
                    callback.end(self.run)
        if has_not_learnt(self.collector) and (late := staleness_advice(self.collector)):
            warn(f"the training loss has not fallen. {late}")
        if self.run.stopped:
            self._shown.note(f"stopped: {self.run.stopped}")

    def _prepare(self) -> None:
        """Compile kernels, if the strategy computes with them, where somebody sees how long."""
        if self._strategy.device != "cpu":
            return
        self._shown.stage("compiling or loading kernels")
        began = time.perf_counter()
        with self.learnt.lent():
            warm_up(self._job, self._state)
        if (took := time.perf_counter() - began) > 1:
            self._shown.note(f"kernels ready after {took:.1f} s; what was compiled is kept on disk")

    def _decide(self, collector: Collector) -> Verdict:
        self.run.epochs, self.run.state = collector.records, collector.kept[1]
        with self._saving():
            for callback in self._callbacks:
                callback.epoch(self.run)
            self._seen = collector.kept[0]
        self.learnt.require_unchanged()
        return self.run.verdict

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Save after the block what callbacks want saved within it, even if one of them raises."""
        try:
            yield
        finally:
            while self._to_save:
                self._save(self._to_save.pop(0), self)

    def states(self) -> dict[str, dict[str, Any]]:
        """What callbacks remember for a fit that goes on from the last epoch's state.

        Nothing if one of them has stopped training there, or not all of them have seen it. If
        there has been no epoch, what was remembered before.
        """
        if not self.collector.kept[0]:
            return {key: dict(state) for key, state in self._states.items()}
        if self.run.stopped or self._seen != self.collector.kept[0]:
            return {}
        return states_of(self._callbacks)


def has_not_learnt(collector: Collector) -> bool:
    """Whether an epoch's loss rose far above that of the first batch, and the last is no better."""
    if not collector.records:
        return False
    batch = collector.histories[0].steps[: math.ceil(collector.job.pace)]  # the steps that it took
    first = np.mean([step.get("loss", math.nan) for step in batch])
    epochs = [record.train.get("loss", math.nan) for record in collector.records]
    return bool(max(epochs) > 1.5 * first and epochs[-1] > 0.98 * first)


def staleness_advice(collector: Collector) -> str:
    """What to do about gradients that came late in a fit; empty if none did.

    Stale gradients allow only a smaller learning rate, and the more they are, the smaller
    (Dutta et al. 2018, "Slow and stale gradients can win the race").
    """
    missed = collector.staleness()
    if not any(missed):
        return ""
    return (
        f"Gradients came late: each had missed {np.mean(missed):.1f} updates on average, "
        f"{max(missed)} at most, and late gradients need a lower learning rate. Lower it, wrap "
        "the optimizer in StalenessAware, or take a rule that waits for more learners."
    )
