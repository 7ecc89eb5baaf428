"""Pictures of plans: a collective step by step, and a pipeline schedule in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.errors import InputError
from minidl.plans import Collective, Forward, Plan, formulas
from minidl.plans.check import follow
from minidl.plans.rendezvous import Message, Seconds, Work, count_messages, count_passes, execute
from minidl.report.style import SERIES, SPAN_COLOURS, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION = SERIES[:2]
FORWARD, BACKWARD, IDLE = (SPAN_COLOURS[kind] for kind in ("forward", "backward", "wait"))
INK = "#222222"
CELL = 0.68
"""How wide a chunk's cell is drawn; the arrows run in the gap beside it."""


def draw_collective(plan: Collective, path: str | Path | None = None) -> Figure:
    """Draw who holds which part of the sum after each step, and what has just been sent.

    Parameters
    ----------
    plan
        Any collective plan that ends; it need not be right.
    path
        Where to save the picture, if anywhere.

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
    messages = [e for e in execute(plan, count_messages) if isinstance(e, Message)]
    rounds = int(max((message.stop for message in messages), default=0))
    cell = 0.42 if plan.size > 4 else 0.52
    panel_width = max(plan.chunks * cell * 1.15, 1.1) + 0.25
    columns = min(rounds + 1, max(4, int(10 / panel_width)))
    # As few columns as give the same number of rows, so that no row is nearly empty.
    rows = math.ceil((rounds + 1) / columns)
    columns = math.ceil((rounds + 1) / rows)
    width = max(columns * panel_width + 0.8, 6.5)
    figure = new_figure(width, rows * (plan.size * cell * 0.8 + 0.6) + 0.9)
    figure.suptitle(
        f"{plan.name}: {plan.size} {_plural('rank', plan.size)}, {rounds} steps",
        fontsize=12,
        fontweight="bold",
    )
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[rounds + 1 :]:
        panel.set_axis_off()
    for step in range(rounds + 1):
        passed = [message for message in messages if message.stop <= step]
        now = [message for message in passed if message.stop == step]
        _panel(panels[step], plan, passed, now)
        # Steps count from 0, as in the programs.
        title = "start" if step == 0 else f"after step {step - 1}"
        panels[step].set_title(title, fontsize=10)
        if step % columns == 0:
            panels[step].set_yticks(range(plan.size), [f"rank {r}" for r in range(plan.size)])
        if step + columns > rounds:
            panels[step].set_xlabel("chunk", fontsize=9)
    _collective_legend(figure, plan)
    return save(figure, path)


def _panel(axes: Axes, plan: Collective, passed: Sequence[Message], now: Sequence[Message]) -> None:
    from matplotlib.patches import Rectangle

    holdings = follow(plan, passed)
    arrived = {(message.receiver, message.receive.item) for message in now}
    for rank in range(plan.size):
        for chunk in range(plan.chunks):
            held = holdings[rank][chunk]
            share = len(held) / plan.size
            fresh = (rank, chunk) in arrived
            axes.add_patch(
                Rectangle(
                    (chunk - CELL / 2, rank - 0.44),
                    CELL,
                    0.88,
                    facecolor=_shade(share),
                    edgecolor=INK if fresh else "white",
                    linewidth=1.3 if fresh else 0.6,
                )
            )
            words = _sum(list(held.elements()), plan.size)
            ink = "white" if share > 0.6 else INK
            axes.text(chunk, rank, words, ha="center", va="center", fontsize=7.5, color=ink)
    for message in now:
        item = message.send.item
        assert isinstance(item, int)
        axes.annotate(
            "",
            (item + 0.5, message.receiver),
            (item + 0.5, message.sender),
            arrowprops={
                "arrowstyle": "-|>",
                "color": VERMILLION if message.receive.reduce else INK,
                "linewidth": 1.5,
                "mutation_scale": 10,
                "shrinkA": 0,
                "shrinkB": 0,
            },
            annotation_clip=False,
        )
    axes.set_xlim(-0.5, plan.chunks - 0.3)
    axes.set_ylim(plan.size - 0.45, -0.55)
    axes.set_xticks(range(plan.chunks))
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)


def _collective_legend(figure: Figure, plan: Collective) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure.legend(
        handles=[
            Patch(facecolor=_shade(1 / plan.size), label="one rank's part"),
            Patch(facecolor=_shade(1), label="sum of all (Σ)"),
            Line2D([], [], color=VERMILLION, marker=">", label="sent and added"),
            Line2D([], [], color=INK, marker=">", label="sent and stored"),
        ],
        loc="outside lower center",
        ncols=4,
        fontsize=8.5,
        frameon=False,
    )


def _sum(ranks: list[int], size: int) -> str:
    """Which ranks' parts are in a sum, short enough for a cell."""
    if sorted(ranks) == list(range(size)) and size > 1:
        return "Σ"
    if len(ranks) <= 3 and size <= 5:
        return "+".join(map(str, sorted(ranks)))
    return f"{len(set(ranks))}/{size}"


def _shade(share: float) -> tuple[float, float, float]:
    """From nearly white to the palette's blue."""
    from matplotlib.colors import to_rgb

    return tuple(1 - (1 - value) * (0.06 + 0.94 * share) for value in to_rgb(BLUE))  # type: ignore[return-value]


def draw_schedule(
    plan: Plan, path: str | Path | None = None, seconds: Seconds = count_passes
) -> Figure:
    """Draw when each stage runs which micro-batch, and its waiting in between.

    Parameters
    ----------
    plan
        A pipeline schedule.
    path
        Where to save the picture, if anywhere.
    seconds
        How long each rank takes for each instruction; by default every pass takes one
        unit and messages take no time.

    Returns
    -------
    Figure
        One row a stage; under the title stands the bubble as measured in the picture,
        and the formula's where there is one for the schedule and passes are equally long.

    Raises
    ------
    PlanError
        If the plan does not end.
    InputError
        If nothing in the plan takes any time.
    """
    from matplotlib.patches import Patch, Rectangle
    from matplotlib.ticker import MaxNLocator

    work = [event for event in execute(plan, seconds) if isinstance(event, Work)]
    end = max((event.stop for event in work), default=0.0)
    if not end:
        raise InputError(f"{plan.name}: there is nothing to draw, no pass takes any time")
    figure = new_figure(max(6.0, min(12.0, 2.2 + 0.42 * end)), 1.5 + 0.45 * plan.size)
    axes = figure.subplots()
    for stage in range(plan.size):
        axes.add_patch(
            Rectangle(
                (0, stage - 0.42), end, 0.84, facecolor=IDLE, edgecolor="#C4C4C4", hatch="///"
            )
        )
    for event in work:
        forward = isinstance(event.instruction, Forward)
        axes.add_patch(
            Rectangle(
                (event.start, event.rank - 0.42),
                event.stop - event.start,
                0.84,
                facecolor=FORWARD if forward else BACKWARD,
                edgecolor="white",
                linewidth=1.2,
            )
        )
        axes.text(
            (event.start + event.stop) / 2,
            event.rank,
            str(event.instruction.micro_batch),
            ha="center",
            va="center",
            fontsize=9,
            color=INK if forward else "white",
        )
    axes.set_xlim(0, end)
    axes.set_ylim(plan.size - 0.45, -0.55)
    axes.set_yticks(range(plan.size), [f"stage {stage}" for stage in range(plan.size)])
    axes.set_xlabel("time" if seconds is not count_passes else "time, in passes of one micro-batch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    batches = len({event.instruction.micro_batch for event in work})
    figure.suptitle(
        f"{plan.name}: {plan.size} {_plural('stage', plan.size)}, "
        f"{batches} {_plural('micro-batch', batches)}",
        fontsize=12,
        fontweight="bold",
    )
    idle = 1 - sum(event.stop - event.start for event in work) / (end * plan.size)
    axes.set_title(_bubble(plan, batches, idle, seconds is count_passes), fontsize=9.5)
    figure.legend(
        handles=[
            Patch(facecolor=FORWARD, label="forward"),
            Patch(facecolor=BACKWARD, label="backward"),
            Patch(facecolor=IDLE, edgecolor="#C4C4C4", hatch="///", label="waiting (bubble)"),
        ],
        loc="outside lower center",
        ncols=3,
        fontsize=8.5,
        frameon=False,
    )
    return save(figure, path)


def _bubble(plan: Plan, batches: int, idle: float, equal: bool) -> str:
    measured = f"bubble in this picture {idle:.1%}"
    if not equal:
        return measured
    match plan.name:
        case "gpipe":
            formula, value = "(p−1)/(m+p−1)", formulas.gpipe_bubble(plan.size, batches)
        case "sequential":
            formula, value = "(p−1)/p", formulas.sequential_bubble(plan.size)
        case _:
            return measured
    return f"{measured}; by formula {formula} = {value:.1%}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}es" if word.endswith("ch") else f"{word}s"
