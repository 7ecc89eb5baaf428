"""Pictures of parameter servers: work in vain, the age of gradients, and error against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.errors import InputError
from minidl.report import timeline
from minidl.report.style import SERIES, SPAN_COLOURS, new_figure, save
from minidl.sim import ServerRun
from minidl.sim.server import APPLIED, CANCELLED, UNFINISHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FATES: Mapping[int, tuple[str, dict[str, Any]]] = {
    APPLIED: (
        "applied",
        {"facecolor": SPAN_COLOURS["forward"], "edgecolor": SPAN_COLOURS["backward"]},
    ),
    CANCELLED: ("cancelled", {"facecolor": "white", **timeline.CANCELLED}),
    UNFINISHED: ("not used yet", {"facecolor": "white", "edgecolor": "#888888"}),
}
"""What a mini-batch's bar looks like, by what became of it."""


def draw_server_runs(
    runs: Mapping[str, ServerRun], path: str | Path | None = None, *, until: float | None = None
) -> Figure:
    """Draw every mini-batch of each learner as a bar, and every update as a vertical line.

    Work that was cancelled is hatched; where there is no bar, the learner waits. The number
    in a bar is the version of the weights it was computed from, where there is room.

    Parameters
    ----------
    runs
        What to draw below each other, by the name to draw it under.
    path
        Where to save the picture, if anywhere.
    until
        The last second to draw; that of the run which ends first if None.

    Raises
    ------
    InputError
        If there is no run, or `until` is not above 0.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if not runs:
        raise InputError("there is nothing to draw: no run is given")
    end = min(float(run.times[-1]) for run in runs.values()) if until is None else until
    if not end > 0:
        raise InputError(f"a timeline lasts longer than {end} s")
    rows = [run.learners for run in runs.values()]
    figure = new_figure(10, 0.9 + sum(0.3 * count + 0.6 for count in rows))
    panels = figure.subplots(
        len(runs), 1, squeeze=False, sharex=True, height_ratios=[count + 0.5 for count in rows]
    )
    for axes, (name, run) in zip(panels[:, 0], runs.items(), strict=True):
        _draw_run(axes, run, end)
        axes.set_title(name, loc="left", fontsize=10)
    panels[-1, 0].set_xlabel("seconds")
    handles: list[Patch | Line2D] = [Patch(**look, label=label) for label, look in FATES.values()]
    handles.append(Line2D([], [], color=SPAN_COLOURS["update"], label="update"))
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=8)
    return save(figure, path)


def _draw_run(axes: Axes, run: ServerRun, end: float) -> None:
    work = run.work[run.work["start"] < end]
    for fate, (_, look) in FATES.items():
        bars = work[work["fate"] == fate]
        axes.barh(
            bars["learner"], bars["stop"] - bars["start"], 0.7, bars["start"], linewidth=0.6, **look
        )
    for bar in work[(work["stop"] - work["start"] > end / 40) & (work["start"] < 0.97 * end)]:
        axes.text(
            bar["start"] + end / 300, bar["learner"], str(bar["version"]),
            va="center", fontsize=7, clip_on=True,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.7},
        )  # fmt: skip
    axes.vlines(
        run.times[run.times <= end], -0.5, run.learners - 0.5, SPAN_COLOURS["update"], linewidth=1
    )
    made = int((run.times <= end).sum())
    seconds = np.minimum(work["stop"], end) - work["start"]
    wasted = seconds[work["fate"] == CANCELLED].sum() / seconds.sum()
    axes.text(
        1.005, 0.5, f"{made} updates\n{wasted:.0%} cancelled", va="center", fontsize=8,
        transform=axes.transAxes,
    )  # fmt: skip
    axes.set_yticks(range(run.learners), [f"learner {i}" for i in range(run.learners)], fontsize=8)
    axes.set(xlim=(0, end), ylim=(run.learners - 0.5, -0.5))


def draw_staleness(
    seen: Mapping[str, Sequence[int]],
    path: str | Path | None = None,
    *,
    theory: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Draw how often each staleness was seen, and over it how probable it is in theory.

    Parameters
    ----------
    seen
        By the name to draw it under, the staleness of every applied gradient, of a
        simulated run or of a real one. The greatest, a thousandth of all, are not drawn.
    path
        Where to save the picture, if anywhere.
    theory
        By the same names, the probability of each staleness from 0 on
        (`minidl.sim.formulas.staleness_law`); may miss some.

    Raises
    ------
    InputError
        If there is no run, or one without a gradient.
    """
    if not seen or not all(len(staleness) for staleness in seen.values()):
        raise InputError("there is nothing to draw: no gradient was applied")
    figure = new_figure(3.6 * len(seen), 3.0)
    panels = figure.subplots(1, len(seen), squeeze=False, sharey=True)[0]
    for axes, (name, values) in zip(panels, seen.items(), strict=True):
        staleness = np.asarray(values)
        shares = np.bincount(staleness) / len(staleness)
        axes.bar(range(len(shares)), shares, color=SPAN_COLOURS["forward"], label="seen")
        if theory and name in theory:
            law = theory[name]
            axes.plot(range(len(law)), law, "o-", color=SERIES[1], markersize=3, label="theory")
        axes.axvline(staleness.mean(), color="#888888", linestyle=":", label="mean")
        axes.set_title(f"{name}: mean {staleness.mean():.2f}", fontsize=10)
        axes.set_xlabel("updates missed")
        axes.set_xlim(-0.7, np.quantile(staleness, 0.999) + 0.7)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=7)
    panels[0].set_ylabel("share of gradients")
    return save(figure, path)


Curve = tuple[Sequence[float], Sequence[float]]
"""Seconds at which updates were made, and the error at each."""


def draw_trade_off(
    runs: Mapping[str, Mapping[str, Curve]], path: str | Path | None = None, *, points: int = 30
) -> Figure:
    """Draw error against run time under several rules, on one clock or on several.

    Parameters
    ----------
    runs
        By clock (a panel each, side by side), and within it by rule, the times and errors
        of all updates, such as a history's ``series("time")`` and ``losses``.
    path
        Where to save the picture, if anywhere.
    points
        Of each curve, up to where the first one ends; each is a mean over the time between.

    Raises
    ------
    InputError
        If there is no curve, or one is empty or has not as many times as errors.
    """
    curves = [curve for panel in runs.values() for curve in panel.values()]
    if not curves or not all(len(times) == len(errors) > 0 for times, errors in curves):
        raise InputError("each curve has as many times as errors, and at least one")
    edges = np.linspace(0, min(float(times[-1]) for times, _ in curves), points + 1)
    figure = new_figure(1 + 4.5 * len(runs), 4)
    panels = figure.subplots(1, len(runs), squeeze=False, sharex=True, sharey=True)[0]
    colours: dict[str, str] = {}
    for axes, (clock, panel) in zip(panels, runs.items(), strict=True):
        for name, (times, errors) in panel.items():
            new = name not in colours
            colour = colours.setdefault(name, SERIES[len(colours) % len(SERIES)])
            window = np.searchsorted(edges, times)  # from 1 on: a window has its right edge
            means = [
                part.mean() if len(part := np.asarray(errors)[window == each]) else np.nan
                for each in range(1, points + 1)
            ]
            middles = (edges[:-1] + edges[1:]) / 2
            axes.semilogy(middles, means, color=colour, label=name if new else None)
        axes.set(title=clock, xlabel="seconds", xlim=(0, edges[-1]))
    panels[0].set_ylabel("error")
    figure.legend(loc="outside right upper", frameon=False)
    return save(figure, path)
