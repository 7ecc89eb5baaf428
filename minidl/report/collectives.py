"""Pictures of collectives: who holds what after each step, and what has just been sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.plans import Collective
from minidl.plans.rendezvous import Message
from minidl.report.cells import (
    EMPTY,
    INK,
    VERMILLION,
    cell_width,
    chunks_of,
    messages_of,
    panel,
    shade,
    title,
)
from minidl.report.style import new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_collective(
    plan: Collective, path: str | Path | None = None, *, news: bool = False
) -> Figure:
    """Draw who holds which part of the sum after each step, and what has just been sent.

    Parameters
    ----------
    plan
        Any collective plan that ends; it need not be right.
    path
        Where to save the picture, if anywhere.
    news
        Draw, in place of what the chunks hold, whom each rank has heard of: a barrier's
        purpose. Then there is a column for each rank.

    Returns
    -------
    Figure
        One panel a step: a row for each rank, a column for each chunk, darker the more
        ranks' contributions are in it.

    Raises
    ------
    PlanError
        If the plan does not end.
    """
    messages, steps = messages_of(plan)
    columns_of_chunks = plan.size if news else plan.chunks
    cell = 0.42 if plan.size > 4 else 0.52
    panel_width = max(columns_of_chunks * cell * 1.15, 1.1) + 0.25
    columns = min(steps + 1, max(3, int(10 / panel_width)))
    # As few columns as give the same number of rows, so that no row is nearly empty.
    rows = math.ceil((steps + 1) / columns)
    columns = math.ceil((steps + 1) / rows)
    width = max(columns * panel_width + 0.8, 6.5)
    figure = new_figure(width, rows * (plan.size * cell * 0.8 + 0.6) + 0.9)
    figure.suptitle(title(plan, steps), fontsize=12, fontweight="bold")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in panels[steps + 1 :]:
        unused.set_axis_off()
    for step in range(steps + 1):
        axes = panels[step]
        panel(axes, plan, messages, step, news)
        _arrows(axes, plan, [message for message in messages if message.stop == step])
        # Steps count from 0, as in the programs.
        axes.set_title("start" if step == 0 else f"after step {step - 1}", fontsize=10)
        if step % columns == 0:
            axes.set_yticks(range(plan.size), [f"rank {r}" for r in range(plan.size)])
        if step + columns > steps:
            axes.set_xlabel("has heard of rank" if news else "chunk", fontsize=9)
    _legend(figure, plan, messages, news)
    return save(figure, path)


def _arrows(axes: Axes, plan: Collective, now: Sequence[Message]) -> None:
    """Arrows between ranks, in the gap beside one of the chunks they carry.

    Those of one sender in one gap lie on each other, as a line with several heads; those
    of others keep apart.
    """
    gaps: dict[int, dict[tuple[int, bool], list[Message]]] = {}
    for message in now:
        key = (message.sender, message.receiver > message.sender)
        # A block's arrow may run beside any of its chunks: where there are fewest.
        gap = min(chunks_of(plan, message), key=lambda c: len(gaps.get(c, {}).keys() - {key}))
        gaps.setdefault(gap, {}).setdefault(key, []).append(message)
    width = cell_width(plan)
    for gap, lines in gaps.items():
        lanes: list[list[range]] = []
        placed = []
        for (sender, _), messages in lines.items():
            ends = [sender, *(message.receiver for message in messages)]
            line = range(min(ends), max(ends))
            free = (n for n, lane in enumerate(lanes) if not any(_overlap(line, x) for x in lane))
            lane = next(free, len(lanes))
            lanes += [[]] * (lane == len(lanes))
            lanes[lane] = [*lanes[lane], line]
            placed += [(lane, message) for message in messages]
        for lane, message in placed:
            x = gap + width / 2 + (1 - width) * (lane + 1) / (len(lanes) + 1)
            axes.annotate(
                "",
                (x, message.receiver),
                (x, message.sender),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": VERMILLION if message.receive.reduce else INK,
                    "linewidth": 1.5 if len(lanes) < 3 else 1.0,
                    "mutation_scale": 10 if len(lanes) < 3 else 7,
                    "shrinkA": 0,
                    "shrinkB": 0,
                },
                annotation_clip=False,
            )


def _legend(figure: Figure, plan: Collective, messages: Sequence[Message], news: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    most = 1 if news else max(map(len, plan.sources))
    handles: list[Patch | Line2D] = []
    if most > 1:
        handles.append(Patch(facecolor=shade(1 / most), label="one rank's part"))
        handles.append(Patch(facecolor=shade(1), label="sum of all (Σ)"))
    else:
        label = "has heard" if news else "has it (from this rank)"
        handles.append(Patch(facecolor=shade(1), label=label))
        handles.append(Patch(facecolor="white", edgecolor=EMPTY, label="has not"))
    if any(message.receive.reduce for message in messages):
        handles.append(Line2D([], [], color=VERMILLION, marker=">", label="sent and added"))
    if not all(message.receive.reduce for message in messages):
        label = "told" if news else "sent and stored"
        handles.append(Line2D([], [], color=INK, marker=">", label=label))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8.5, frameon=False
    )


def _overlap(a: range, b: range) -> bool:
    return a.start < b.stop and b.start < a.stop
