"""Pictures of plans: pipeline schedules in time, and collectives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minidl.errors import InputError
from minidl.plans import Forward, Plan, formulas
from minidl.plans.rendezvous import Seconds, Work, count_passes, execute
from minidl.report.collectives import draw_collective
from minidl.report.motion import animate_collective
from minidl.report.style import SPAN_COLOURS, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["animate_collective", "draw_collective", "draw_schedule"]

FORWARD, BACKWARD, IDLE = (SPAN_COLOURS[kind] for kind in ("forward", "backward", "wait"))
INK = "#222222"


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
