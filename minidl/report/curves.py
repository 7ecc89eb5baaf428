"""Curves of losses, metrics and learning rates, of one run or of several beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from minidl.errors import InputError
from minidl.report.style import SERIES, new_figure, save

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure


class Record(Protocol):
    """What is drawn of an epoch: the means of ``minidl.train.EpochRecord``."""

    @property
    def epoch(self) -> int:
        """Its number, from 0."""
        ...

    @property
    def train(self) -> Mapping[str, float]:
        """Means over the training samples, by name."""
        ...

    @property
    def steps(self) -> int:
        """Updates made."""
        ...

    @property
    def validation(self) -> Mapping[str, float] | None:
        """Means over the validation samples, by name; None without such data."""
        ...


class Run(Protocol):
    """What is drawn of a run: ``minidl.train.History`` is one."""

    @property
    def epochs(self) -> Sequence[Record]:
        """One record for each epoch."""
        ...

    def series(self, name: str) -> Sequence[float]:
        """One figure of each step, NaN where a step has none."""
        ...


def draw_history(runs: Mapping[str, Run], path: str | Path | None = None) -> Figure:
    """Draw each run's losses, and its metrics if it has any.

    Parameters
    ----------
    runs
        What to draw, by the name to draw it under.
    path
        Where to save the picture, if anywhere.

    Raises
    ------
    InputError
        If a run has no epoch.
    """
    for name, run in runs.items():
        if not run.epochs:
            raise InputError(f"there is nothing to draw of {name or 'this run'}: no epoch is done")
    metrics = sorted(
        {name for run in runs.values() for record in run.epochs for name in record.train}
    )
    metrics.sort(key=lambda name: not name.endswith("loss"))
    figure = new_figure(5.2 * len(metrics), 3.8 if len(runs) == 1 else 4.4)
    for axes, metric in zip(
        figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True
    ):
        for number, (name, run) in enumerate(runs.items()):
            colour = SERIES[number % len(SERIES)]
            # Runs that agree hide each other: draw the first ones broad and the last ones thin.
            width = 1.5 + 2.0 * (len(runs) - 1 - number)
            label = f"{name} " if name else ""
            ends = [record.epoch + 1 for record in run.epochs]
            if metric.endswith("loss"):
                where = np.concatenate(
                    [r.epoch + np.arange(1, r.steps + 1) / r.steps for r in run.epochs]
                )
                axes.plot(
                    where, run.series(metric), color=colour, alpha=0.25, linewidth=width / 2,
                    label=f"{label}single steps",
                )  # fmt: skip
            training = [record.train.get(metric, np.nan) for record in run.epochs]
            axes.plot(ends, training, "--", color=colour, linewidth=width, label=f"{label}training")
            tested = [(record.validation or {}).get(metric, np.nan) for record in run.epochs]
            if not np.isnan(tested).all():
                axes.plot(
                    ends, tested, "-o", color=colour, linewidth=width, markersize=3 + width,
                    label=f"{label}validation",
                )  # fmt: skip
        axes.set_xlabel("epochs")
        axes.set_ylabel(metric)
        axes.set_title(metric)
        if metric == "loss":
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(runs) == 1:
            axes.legend(fontsize=7)
    if len(runs) > 1:  # among so many lines there is no room for their names
        lines, names = figure.axes[0].get_legend_handles_labels()
        columns = min(len(runs), 2 * len(metrics))  # of one run each, if they all fit
        figure.legend(lines, names, loc="outside lower center", ncols=columns, fontsize=7)
    return save(figure, path)


def draw_learning_rates(
    schedules: Mapping[str, Callable[[int], float]], steps: int, path: str | Path | None = None
) -> Figure:
    """Draw the learning rate of each step.

    Parameters
    ----------
    schedules
        What to draw, by the name to draw it under: ``minidl.optim`` has schedules.
    steps
        How many steps to draw, from step 0 on.
    path
        Where to save the picture, if anywhere.

    Raises
    ------
    InputError
        If there is no schedule or no step.
    """
    if not schedules or steps < 1:
        raise InputError(f"there is nothing to draw: {len(schedules)} schedules, {steps} steps")
    figure = new_figure(5.2, 3.8)
    axes = figure.subplots()
    for number, (name, schedule) in enumerate(schedules.items()):
        rates = [schedule(step) for step in range(steps)]
        colour = SERIES[number % len(SERIES)]
        axes.step(range(steps), rates, where="post", color=colour, label=name)
    axes.set_xlabel("steps")
    axes.set_ylabel("learning rate")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return save(figure, path)
