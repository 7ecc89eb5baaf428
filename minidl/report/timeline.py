"""Timelines: what each rank did, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.errors import InputError
from minidl.report.style import SERIES, SPAN_COLOURS, new_figure, save
from minidl.runtime.trace import BESIDE, KINDS, Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BUSY = ("load", "forward", "backward", "reduce", "update", "evaluate", "sleep", "cancelled")
"""What counts as work, also the sleep that stands for it, and what is cancelled later."""
CANCELLED = {"edgecolor": SERIES[1], "hatch": "////"}
"""What marks work that comes to nothing, in every timeline."""


ON_ITS_WAY = "#f3d9b1"
"""Of waits in a row of exchanges beside a program, which waits for nothing then."""


def draw_timeline(
    trace: Trace,
    path: str | Path | None = None,
    *,
    steps: tuple[int, int] | None = None,
    seconds: tuple[float, float] | None = None,
) -> Figure:
    """Draw a row of coloured spans for each rank; cancelled work is hatched.

    Parameters
    ----------
    trace
        What to draw.
    path
        Where to save the picture, if anywhere.
    steps
        First and last training step to draw; the last three if None.
    seconds
        What to draw instead, from and to so many seconds after the first span. It suits
        learners that are at different steps: each counts its own mini-batches.

    Raises
    ------
    InputError
        If the trace holds nothing of these steps or seconds.
    """
    return draw_timelines({"": trace}, path, steps=steps, seconds=seconds)


def draw_timelines(
    traces: Mapping[str, Trace],
    path: str | Path | None = None,
    *,
    steps: tuple[int, int] | None = None,
    seconds: tuple[float, float] | None = None,
) -> Figure:
    """As `draw_timeline`, for several runs under each other, by name, on one axis of time."""
    from matplotlib.patches import Patch

    rows = [len(trace.ranks) for trace in traces.values()]
    figure = new_figure(10, 0.9 + sum(0.45 * count + 0.75 for count in rows))
    panels = figure.subplots(len(traces), 1, squeeze=False, height_ratios=[n + 0.5 for n in rows])
    seen: set[str] = set()
    longest = 0.0
    for axes, (name, trace) in zip(panels[:, 0], traces.items(), strict=True):
        if seconds is None:
            first, last = _last_steps(trace, 3) if steps is None else steps
            part, what = trace.steps(first, last), f"steps {first} to {last}"
        else:
            part, what = trace.between(*seconds), f"seconds {seconds[0]} to {seconds[1]}"
        if not any(len(spans) for spans in part.ranks):
            raise InputError(f"the trace holds nothing of {what}")
        zero = part.start if seconds is None else trace.start + seconds[0]
        seen |= _draw_trace(axes, part, zero)
        longest = max(longest, *(float(s["stop"].max()) - zero for s in part.ranks if len(s)))
        if name:
            axes.set_title(name, loc="left", fontsize=10)
    width = 1.02 * longest if seconds is None else seconds[1] - seconds[0]
    for axes in panels[:, 0]:
        axes.set_xlim(0, 1e3 * width)  # one for all: what looks longer took longer
    panels[-1, 0].set_xlabel("milliseconds")
    handles = [
        Patch(facecolor=SPAN_COLOURS[kind], label=kind, **_edge(kind, "#888888"))
        for kind in KINDS
        if kind in seen
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(KINDS), fontsize=8)
    return save(figure, path)


def _last_steps(trace: Trace, count: int) -> tuple[int, int]:
    last = max((int(spans["step"].max()) for spans in trace.ranks if len(spans)), default=0)
    # The evaluation that ends an epoch would dwarf a step: leave the last step out.
    return max(0, last - count), max(0, last - 1)


def _edge(kind: str, plain: str) -> dict[str, Any]:
    return CANCELLED if kind == "cancelled" else {"edgecolor": plain}


def _draw_trace(axes: Axes, part: Trace, zero: float) -> set[str]:
    drawn: set[str] = set()
    for row, (spans, name) in enumerate(zip(part.ranks, part.names, strict=True)):
        beside = name.endswith(BESIDE)
        for index, kind in enumerate(KINDS):
            mine = spans[spans["kind"] == index]
            if not len(mine):
                continue
            drawn.add(kind)
            starts = (mine["start"] - zero) * 1e3
            lengths = (mine["stop"] - mine["start"]) * 1e3
            axes.broken_barh(
                list(zip(starts, lengths, strict=True)),
                (row - 0.4, 0.8),
                facecolor=ON_ITS_WAY if beside and kind == "wait" else SPAN_COLOURS[kind],
                linewidth=0.4,
                **_edge(kind, "#888888" if kind in ("forward", "backward") else "none"),
            )
        if beside:
            continue
        axes.text(
            1.005, row, f"{busy_share(part, row):.0%} busy", va="center", fontsize=8,
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    axes.set_yticks(range(len(part.names)), part.names)
    axes.set_ylim(len(part.names) - 0.4, -0.6)
    return drawn


def hidden_share(trace: Trace) -> float:
    """The share of exchanges beside the programs for which no program waited: 1 hides them all.

    Parameters
    ----------
    trace
        Of a run with overlap; NaN if nothing was exchanged beside a program.
    """
    rows = dict(zip(trace.names, trace.ranks, strict=True))
    whole = exposed = 0.0
    for name, beside in rows.items():
        own = rows.get(name.removesuffix(BESIDE))
        if own is None or not name.endswith(BESIDE):
            continue
        waits = own[own["kind"] == KINDS.index("wait")]
        starts = np.maximum(waits["start"][:, None], beside["start"])
        stops = np.minimum(waits["stop"][:, None], beside["stop"])
        exposed += float(np.maximum(stops - starts, 0).sum())
        whole += float((beside["stop"] - beside["start"]).sum())
    return 1 - exposed / whole if whole else math.nan


def busy_share(trace: Trace, rank: int) -> float:
    """The share of a trace's whole time in which a rank computes (neither waits nor moves data)."""
    stops = [float(spans["stop"].max()) for spans in trace.ranks if len(spans)]
    whole = max(stops, default=0.0) - trace.start
    spans = trace.ranks[rank]
    working = np.isin(spans["kind"], [KINDS.index(kind) for kind in BUSY])
    busy = float((spans["stop"] - spans["start"])[working].sum())
    return busy / whole if whole else 0.0
