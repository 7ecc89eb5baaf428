"""One fit under way: a strategy does the job, callbacks decide how to go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minidl.checks import path as path_of
from minidl.errors import NonFiniteError, warn
from minidl.runtime import Outcome
from minidl.strategy import Job, Strategy, Verdict
from minidl.strategy.warm_up import warm_up
from minidl.train.callback_states import States, give_back, keyed, states_of
from minidl.train.callbacks import Callback
from minidl.train.collector import Collector
from minidl.train.history import EpochRecord
from minidl.train.learnt import Learnt
from minidl.train.progress import Progress
from minidl.train.run import Run


@dataclass(frozen=True)
class _Settled:
    """What callbacks have done for good; one value, as Ctrl-C may come between any two statements.

    Parameters
    ----------
    epoch
        How many epochs of the fit there were.
    waiting
        The keys of the callbacks that have not seen the last of these.
    states
        What each callback remembered when it had last seen one.
    asked
        The verdict, the state to restore and why to stop, as in `Run`.
    """

    epoch: int
    waiting: Sequence[str]
    states: States
    asked: tuple[Verdict, np.ndarray | None, str]


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
    unseen
        The keys of the callbacks that have not seen the earlier fit's last epoch.
    last
        The record of that epoch, if there is one.

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
        unseen: Sequence[str] = (),
        last: EpochRecord | None = None,
    ) -> None:
        self.learnt, self._job, self._strategy = learnt, job, strategy
        self._callbacks, self._shown, self._state = keyed(callbacks), shown, learnt.state()
        self._save, self._to_save, self._last = save, list[Path](), last
        self.collector = Collector(job, strategy.name, shown, self._state, self._decide)
        self.run = Run(
            [],
            self._state,
            Verdict(False, job.rate),
            shown.note,
            lambda path: self._to_save.append(path_of("Run.save: path", path)),
            learnt.bound,
        )
        self._settled = _Settled(0, unseen, states, (self.run.verdict, None, ""))
        self.outcome: Outcome | None = None

    def carry_out(self) -> None:
        """Train, until the job is done or a callback ends it."""
        for callback in self._callbacks.values():
            callback.begin()
        give_back(self._settled.states, self._callbacks)
        self._prepare()
        self._shown.stage("training")
        with self.learnt.lent():
            self._show_unseen()
            if not self.run.stopped:
                self._train()
            with self._saving():
                for callback in self._callbacks.values():
                    callback.end(self.run)
        if has_not_learnt(self.collector) and (late := staleness_advice(self.collector)):
            warn(f"the training loss has not fallen. {late}")
        if self.run.stopped:
            self._shown.note(f"stopped: {self.run.stopped}")

    def _train(self) -> None:
        job = replace(self._job, rate=self.run.rate)
        try:
            self.outcome = self._strategy.run(job, self._state, self.collector)
        except NonFiniteError as error:
            if late := staleness_advice(self.collector):
                raise NonFiniteError(f"{error} {late}") from error
            raise

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
        self._show([*self._callbacks])
        return self.run.verdict

    def _show_unseen(self) -> None:
        """Show the earlier fit's last epoch to those callbacks that have not seen it."""
        keys = [key for key in self._callbacks if key in self._settled.waiting]
        if keys and self._last is not None:
            self.run.epochs = [self._last]
            self._show(keys)

    def _show(self, keys: Sequence[str]) -> None:
        """Show the last epoch to these callbacks, which have not seen it.

        If one of them stops the fit, it has seen the epoch for good when all have: otherwise a
        fit that is interrupted here would have stopped, but without its end.
        """
        run, epoch = self.run, self.collector.kept[0]
        new: dict[str, dict[str, Any]] = {}
        with self._saving():
            try:
                for place, key in enumerate(keys, start=1):
                    self._callbacks[key].epoch(run)
                    new |= {key: {}} | states_of({key: self._callbacks[key]})
                    if place == len(keys) or not run.stopped:
                        asked = run.verdict, run.restored, run.stopped
                        states = {**self._settled.states, **new}
                        self._settled = _Settled(epoch, keys[place:], states, asked)
            except BaseException:
                run.verdict, run.restored, run.stopped = self._settled.asked
                raise
        self.learnt.require_unchanged()

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

        Nothing if one of them has stopped training there. What those remember that have not seen
        that epoch is from before it. If there has been no epoch, what was remembered before.
        """
        if self.run.stopped:
            return {}
        before = self._settled.states
        if not self.collector.kept[0]:
            return {key: dict(state) for key, state in before.items() if state}
        unseen = self.unseen()
        seen = {key: each for key, each in self._callbacks.items() if key not in unseen}
        return states_of(seen) | {key: dict(before[key]) for key in unseen if before.get(key)}

    def unseen(self) -> tuple[str, ...]:
        """The keys of the callbacks that have not seen the last epoch yet."""
        if self.run.stopped:
            return ()
        known = self._settled.epoch == self.collector.kept[0]
        return tuple(self._settled.waiting if known else self._callbacks)


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
