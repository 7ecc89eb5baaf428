"""A fit under way, as callbacks see it between two epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl.checks import is_number
from minidl.errors import InputError, unknown_name
from minidl.nn import Layer
from minidl.reprs import brief
from minidl.strategy import Verdict
from minidl.train.history import EpochRecord


@dataclass(eq=False)
class Run:
    """What a callback may look at and do while all workers wait at the end of an epoch.

    Parameters
    ----------
    epochs
        The records of this fit's epochs so far; only that of an earlier fit's last epoch if that
        is shown first to a callback that has not seen it.
    state
        Weights in row 0, optimizer slots in further rows, as after the last epoch.
    verdict
        How training is to go on.
    note
        Prints a line among the progress, where that is shown.
    save
        Saves a checkpoint of the epoch that has just ended, when all callbacks have seen it, so
        that it holds what they remember; see `Trainer.save`.
    bind
        Gives the model these values within a block.
    restored
        The state that a callback wants back at the fit's end; None for the last one.
    stopped
        Why a callback ends the fit; empty if none does.
    """

    epochs: Sequence[EpochRecord]
    state: np.ndarray
    verdict: Verdict
    note: Callable[[str], None]
    save: Callable[[str | Path], None]
    bind: Callable[[np.ndarray], AbstractContextManager[Layer]]
    restored: np.ndarray | None = None
    stopped: str = ""

    __repr__ = brief

    @property
    def last(self) -> EpochRecord:
        """The epoch that has just ended."""
        return self.epochs[-1]

    def figure(self, name: str) -> float:
        """A figure of the last epoch.

        Parameters
        ----------
        name
            ``"validation loss"``, ``"validation accuracy"``, ``"training loss"``, ...

        Raises
        ------
        InputError
            If the epoch has none of that name; the message lists those it has.
        """
        figures = figures_of(self.last)
        if name not in figures:
            raise unknown_name("figure", name, figures)
        return figures[name]

    @property
    def rate(self) -> float:
        """What learning rates are multiplied with."""
        return self.verdict.rate

    def slow(self, factor: float) -> None:
        """Multiply all learning rates by `factor` from the next step on, in later fits too.

        Raises
        ------
        InputError
            If they would not stay above 0 and finite.
        """
        rate = float(self.rate * factor) if is_number(factor) else math.nan
        if not 0 < rate < math.inf:
            raise InputError(
                f"learning rates can be multiplied by a factor above 0, not {factor!r}; "
                f"they must stay above 0 and finite, and are multiplied by {self.rate:g} already"
            )
        self.verdict = Verdict(self.verdict.stop, rate)

    def stop(self, why: str) -> None:
        """End the fit after this epoch."""
        self.stopped = why
        self.verdict = Verdict(True, self.verdict.rate)

    def restore(self, state: np.ndarray) -> None:
        """Leave the trainer, after the fit, with another epoch's `state` than the last one's.

        Epochs and steps done, and how many of these mixed precision has skipped, are still
        counted to the end of the fit.

        Raises
        ------
        InputError
            If it is not an array of this model's and this optimizer's state.
        """
        if not isinstance(state, np.ndarray) or (state.shape, state.dtype) != (
            self.state.shape,
            self.state.dtype,
        ):
            given = getattr(state, "shape", type(state).__name__)
            raise InputError(
                f"restore: state must be a copy of the run's, of shape {self.state.shape} and type "
                f"{self.state.dtype}, not {given}"
            )
        self.restored = state

    def model(self) -> AbstractContextManager[Layer]:
        """Within the block, the model with the weights of this epoch, to evaluate or to sample."""
        return self.bind(self.state[0].copy())


def figures_of(record: EpochRecord) -> Mapping[str, float]:
    """All figures of an epoch under one name each."""
    training = {f"training {name}": value for name, value in record.train.items()}
    tested = {f"validation {n}": value for n, value in (record.validation or {}).items()}
    return training | tested
