"""What may happen between two epochs: stop, save, slow down, write down."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from minidl.checks import checked, fits, is_number, whole
from minidl.errors import InputError
from minidl.reprs import brief
from minidl.train.run import Run


class Callback:
    """The base of all callbacks; define what you need of the methods.

    They are called in the process that called `fit`, whatever the strategy, while the
    workers wait. So a callback may keep what it likes on itself, open files, and use all
    that `Run` offers, but not the trainer, whose weights come with the fit's end. What it
    raises ends the fit.

    >>> class Patience(Callback):
    ...     def epoch(self, run):
    ...         if run.figure("training loss") < 0.1:
    ...             run.stop("good enough")

    What it must remember for a further fit to go on as if there had been one fit, it says in
    `state_dict`. The trainer keeps that after every fit and in checkpoints, and hands it to
    `load_state_dict` when the next fit has a callback of the same class: the first of a class
    gets the state of the first, the second that of the second. All begin anew after a fit that
    a callback stopped, or whose weights a callback replaced (see `Run.restore`): such a fit is
    not continued.

    An epoch counts as done even if Ctrl-C or an error of a callback ends the fit while callbacks
    look at it. What the interrupted callback had asked of the run is undone then, and it and
    those after it have not seen that epoch: the next fit, which may begin from a checkpoint,
    shows it to them before it trains on. If one of the callbacks before them had stopped the
    fit, that one has not seen the epoch either.
    """

    __repr__ = brief

    def begin(self) -> None:
        """A fit begins: forget what was of another one."""

    def state_dict(self) -> Mapping[str, Any]:
        """What this callback remembers of the epochs so far, by name; nothing by default.

        Returns
        -------
        Mapping
            NumPy arrays of numbers, and what JSON has: None, booleans, finite numbers, texts,
            and lists and dicts of them.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave; called after `begin`, and not if that was empty.

        Parameters
        ----------
        state
            As it was given, but tuples are lists by now.
        """

    def epoch(self, run: Run) -> None:
        """An epoch has ended."""

    def end(self, run: Run) -> None:
        """The fit has come to its end, by itself or because a callback stopped it."""


class Watch(Callback):
    """A callback that looks whether a figure still gets better.

    Parameters
    ----------
    figure
        Which one; see `Run.figure`.
    patience
        How many epochs in a row may bring nothing better.
    least
        By how much an epoch must beat the best one before.
    mode
        Whether less is better or more; by default more is, for an accuracy.

    Raises
    ------
    InputError
        If one of these is out of range.
    """

    def __init__(
        self,
        figure: str = "validation loss",
        patience: int = 3,
        least: float = 0.0,
        mode: Literal["least", "most"] | None = None,
    ) -> None:
        name = type(self).__name__
        self.figure = figure
        self.patience = whole(f"{name}: patience", patience)
        if not (is_number(least) and least >= 0):
            raise InputError(f"{name}: least must be a finite number of at least 0, not {least}")
        if mode not in (None, "least", "most"):
            raise InputError(f"{name}: mode is 'least', 'most' or None, not {mode!r}")
        self.least = least
        self.sign = -1 if (mode or ("most" if "accuracy" in figure else "least")) == "least" else 1
        self.begin()

    def begin(self) -> None:
        self.best = -math.inf
        self.waited = 0

    def epoch(self, run: Run) -> None:
        value = self.sign * run.figure(self.figure)
        if value > self.best + self.least:
            self.best, self.waited = value, 0
            self.better(run)
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.waited = 0
            self.worse(run)

    def state_dict(self) -> Mapping[str, Any]:
        best = repr(float(self.best))  # text, as JSON has no infinity
        return {"figure": self.figure, "sign": self.sign, "best": best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue, if the figure watched and its mode are still the same; else begin anew."""
        if (state["figure"], state["sign"]) == (self.figure, self.sign):
            self._continue(state)

    def _continue(self, state: Mapping[str, Any]) -> None:
        self.best, self.waited = float(state["best"]), int(state["waited"])

    def better(self, run: Run) -> None:
        """This epoch is the best so far."""

    def worse(self, run: Run) -> None:
        """Patience has come to its end."""


@checked
class EarlyStopping(Watch):
    """Stop when a figure has not got better for some epochs, and go back to the best one.

    Parameters
    ----------
    figure
        Which one to look at; see `Run.figure`.
    patience
        How many epochs in a row may bring nothing better, at least 1.
    least
        By how much an epoch must beat the best one before, at least 0.
    mode
        Whether less is better or more; by default more is, for an accuracy.
    restore_best
        Whether a fit that this callback stops leaves the weights (and the optimizer's
        state) of the best epoch. Any other fit leaves those of its last epoch, so that a
        further fit can go on from there.
    """

    def __init__(
        self,
        figure: str = "validation loss",
        patience: int = 3,
        least: float = 0.0,
        mode: Literal["least", "most"] | None = None,
        *,
        restore_best: bool = True,
    ) -> None:
        super().__init__(figure, patience, least, mode)
        self.restore_best = restore_best

    def begin(self) -> None:
        super().begin()
        self._state: np.ndarray | None = None
        self.best_epoch = -1
        self._stopped = False

    def state_dict(self) -> Mapping[str, Any]:
        weights = {"weights": self._state} if self.restore_best and self._state is not None else {}
        return {**super().state_dict(), "best_epoch": self.best_epoch, **weights}

    def _continue(self, state: Mapping[str, Any]) -> None:
        super()._continue(state)
        self.best_epoch, self._state = int(state["best_epoch"]), state.get("weights")

    def better(self, run: Run) -> None:
        self._state, self.best_epoch = run.state.copy(), run.last.epoch

    def worse(self, run: Run) -> None:
        self._stopped = True
        run.stop(f"{self.figure} has not got better for {self.patience} epochs")

    def end(self, run: Run) -> None:
        if self._stopped and self.restore_best and self._state is not None:
            run.restore(self._state)
            run.note(f"weights of epoch {self.best_epoch + 1} restored")


@checked
class ReduceOnPlateau(Watch):
    """Multiply the learning rate when a figure has not got better for some epochs.

    Parameters
    ----------
    figure
        Which one to look at; see `Run.figure`.
    patience
        How many epochs in a row may bring nothing better, at least 1.
    least
        By how much an epoch must beat the best one before, at least 0.
    mode
        Whether less is better or more; by default more is, for an accuracy.
    factor
        What the rate is multiplied with, between 0 and 1.
    smallest
        The product of all factors is not made smaller than this.
    """

    def __init__(
        self,
        figure: str = "validation loss",
        patience: int = 3,
        least: float = 0.0,
        mode: Literal["least", "most"] | None = None,
        *,
        factor: float = 0.1,
        smallest: float = 1e-4,
    ) -> None:
        super().__init__(figure, patience, least, mode)
        for what, value in (("factor", factor), ("smallest", smallest)):
            if not 0 < value < 1:
                raise InputError(f"ReduceOnPlateau: {what} must be between 0 and 1, not {value}")
        self.factor, self.smallest = factor, smallest

    def worse(self, run: Run) -> None:
        factor = max(self.factor, self.smallest / run.rate)
        if factor < 1:
            run.slow(factor)
            run.note(f"learning rate times {run.rate:g}: {self.figure} has not got better")


class Checkpoints(Callback):
    """Save a checkpoint after every so many epochs, and after the last one.

    Parameters
    ----------
    path
        Of the files; ``{epoch}`` in it becomes the number of epochs done. Without that,
        one file is replaced again and again.
    every
        Epochs between two of them.
    """

    def __init__(self, path: str | Path, every: int = 1) -> None:
        self.path, self.every = str(path), whole("Checkpoints: every", every)

    def epoch(self, run: Run) -> None:
        if (run.last.epoch + 1) % self.every == 0:
            self._save(run)

    def end(self, run: Run) -> None:
        if (run.last.epoch + 1) % self.every:
            self._save(run)

    def _save(self, run: Run) -> None:
        run.save(self.path.replace("{epoch}", str(run.last.epoch + 1)))


class Call(Callback):
    """A function of the `Run`, called after every epoch."""

    def __init__(self, function: Callable[[Run], Any]) -> None:
        self.function = function

    def epoch(self, run: Run) -> None:
        self.function(run)


Callbacks = Sequence[Callback | Callable[[Run], Any]] | Callback | Callable[[Run], Any] | None
"""What `fit` takes as callbacks."""


def as_callbacks(given: Callbacks) -> list[Callback]:
    """A list of callbacks; one alone needs none, and None is none.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if given is None:
        return []
    if isinstance(given, Callback) or callable(given):
        return [as_callback(given)]
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise InputError(f"callbacks must be a list of callbacks, not {given!r}")
    return [as_callback(each) for each in given]


def as_callback(given: Callback | Callable[[Run], Any]) -> Callback:
    """A callback, or what makes one of a function.

    Raises
    ------
    InputError
        If it is neither.
    """
    if isinstance(given, Callback):
        return given
    if isinstance(given, type) or not fits(given, Callable[[Run], Any]):
        raise InputError(
            f"callbacks: a callback is a Callback or a function of the run, not {given!r}"
        )
    return Call(given)
