"""Films of collectives: chunks on their way from rank to rank."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minidl import files
from minidl.errors import InputError
from minidl.plans import Collective
from minidl.plans.rendezvous import Message
from minidl.report.cells import (
    HEIGHT,
    INK,
    VERMILLION,
    cell_width,
    chunks_of,
    colours,
    messages_of,
    panel,
    state,
    sum_of,
    title,
)
from minidl.report.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle
    from matplotlib.text import Text

MOVES = 6
"""In how many moves a chunk gets from rank to rank."""


def animate_collective(plan: Collective, path: str | Path, *, step_seconds: float = 1.0) -> None:
    """Save a film of a collective: chunks on their way from rank to rank.

    Parameters
    ----------
    plan
        Any collective plan that ends.
    path
        Where to save it; ends in ``.gif``.
    step_seconds
        How long a step is shown, in seconds.

    Raises
    ------
    InputError
        If `path` is no name for a GIF, or `step_seconds` is not above 0.
    PlanError
        If the plan does not end.
    """
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise InputError(f"{path} is no name for a film; it has to end in .gif")
    if not step_seconds > 0:
        raise InputError(f"a step has to be shown for more than 0 seconds, not {step_seconds!r}")
    messages, steps = messages_of(plan)
    figure = new_figure(max(plan.chunks * 0.6 + 1.2, 4.5), plan.size * 0.5 + 1.3)
    figure.suptitle(title(plan, steps), fontsize=11, fontweight="bold")
    axes = figure.subplots()
    images, durations = [], []

    def shoot(seconds: float) -> None:
        picture = io.BytesIO()
        figure.savefig(picture, dpi=90)
        images.append(Image.open(picture).convert("RGB").quantize(64))
        durations.append(int(1000 * seconds))

    for step in range(steps + 1):
        axes.clear()
        panel(axes, plan, messages, step)
        axes.set_title("start" if step == 0 else f"after step {step - 1}", fontsize=10)
        axes.set_yticks(range(plan.size), [f"rank {r}" for r in range(plan.size)])
        axes.set_xlabel("chunk", fontsize=9)
        shoot((2 if step == steps else 0.4) * step_seconds)
        moving = list(_movers(axes, plan, messages, step))
        for move in range(1, MOVES if moving else 0):
            axes.set_title(f"step {step}", fontsize=10)
            for patch, words, start, stop in moving:
                y = start + (stop - start) * move / MOVES
                patch.set_y(y - HEIGHT / 2)
                words.set_y(y)
            shoot(0.6 * step_seconds / (MOVES - 1))
    film = {"save_all": True, "append_images": images[1:], "duration": durations, "loop": 0}
    files.replace(path, lambda file: images[0].save(file, "GIF", **film))


def _movers(
    axes: Axes, plan: Collective, messages: Sequence[Message], step: int
) -> Iterator[tuple[Rectangle, Text, int, int]]:
    """A cell for each chunk that goes in this step, and its way."""
    from matplotlib.patches import Rectangle

    holdings, sources = state(plan, messages, step, news=False)
    width = cell_width(plan)
    for m in messages:
        if m.start != step:
            continue
        for chunk in chunks_of(plan, m):
            held = holdings[m.sender][chunk]
            face, _, ink = colours(held, sources[chunk])
            edge = VERMILLION if m.receive.reduce else INK
            x = chunk + 0.12
            corner = (x - width / 2, m.sender - HEIGHT / 2)
            patch = Rectangle(
                corner, width, HEIGHT, facecolor=face, edgecolor=edge, linewidth=1.8, zorder=3
            )
            axes.add_patch(patch)
            words = axes.text(
                x, m.sender, sum_of(held, sources[chunk]), ha="center", va="center", fontsize=7,
                color=ink, zorder=4,
            )  # fmt: skip
            yield patch, words, m.sender, m.receiver
