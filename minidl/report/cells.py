"""Cells of a collective's picture: what each rank holds of each chunk after a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minidl.plans import Collective
from minidl.plans.check import follow, heard
from minidl.plans.check.collective import NOTHING, Holdings
from minidl.plans.rendezvous import Message, count_messages, execute
from minidl.report.style import SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, VERMILLION = SERIES[:2]
INK = "#222222"
EMPTY = "#D8D8D8"
HEIGHT = 0.88
"""How high a chunk's cell is drawn, of 1."""


def messages_of(plan: Collective) -> tuple[list[Message], int]:
    """A plan's messages, on a clock on which each takes 1, and when the last one ends."""
    messages = [e for e in execute(plan, count_messages) if isinstance(e, Message)]
    return messages, int(max((message.stop for message in messages), default=0))


def title(plan: Collective, steps: int) -> str:
    """What the picture shows."""
    ranks = "rank" if plan.size == 1 else "ranks"
    return f"{plan.name}: {plan.size} {ranks}, {steps} {'step' if steps == 1 else 'steps'}"


def state(
    plan: Collective, messages: Sequence[Message], step: int, news: bool
) -> tuple[Holdings, Sequence[frozenset[int]]]:
    """What each rank holds in each column after so many steps, and what would be all of it."""
    passed = [message for message in messages if message.stop <= step]
    if not news:
        return follow(plan, passed), plan.sources
    ranks = range(plan.size)
    known = heard(plan, passed)
    holdings = [[Counter([r if r in known[rank] else NOTHING]) for r in ranks] for rank in ranks]
    return holdings, [frozenset([rank]) for rank in ranks]


def panel(
    axes: Axes, plan: Collective, messages: Sequence[Message], step: int, news: bool = False
) -> None:
    """All ranks' cells after so many steps; those that the last step wrote have a border."""
    from matplotlib.patches import Rectangle

    holdings, sources = state(plan, messages, step, news)
    now = [message for message in messages if message.stop == step]
    written = {(m.receiver, chunk) for m in now for chunk in chunks_of(plan, m)}
    if news and step:
        before, _ = state(plan, messages, step - 1, news)
        written = {
            (rank, other)
            for rank in range(plan.size)
            for other in range(plan.size)
            if before[rank][other] != holdings[rank][other]
        }
    width = cell_width(plan)
    for rank, row in enumerate(holdings):
        for column, held in enumerate(row):
            fresh = (rank, column) in written
            face, edge, ink = colours(held, sources[column])
            axes.add_patch(
                Rectangle(
                    (column - width / 2, rank - HEIGHT / 2),
                    width,
                    HEIGHT,
                    facecolor=face,
                    edgecolor=INK if fresh else edge,
                    linewidth=1.3 if fresh else 0.6,
                )
            )
            words = sum_of(held, sources[column])
            axes.text(column, rank, words, ha="center", va="center", fontsize=7.5, color=ink)
    columns = len(sources)
    axes.set_xlim(-0.5, columns - 0.3)
    axes.set_ylim(plan.size - 0.45, -0.55)
    axes.set_xticks(range(columns))
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)


def chunks_of(plan: Collective, message: Message) -> range:
    """The chunks that a message carries."""
    item = message.send.item
    assert isinstance(item, int)
    return plan.chunks_of(item)


def cell_width(plan: Collective) -> float:
    """How wide a cell is, of 1; the arrows run in the gap beside it."""
    return 0.68 if plan.chunks > 2 else 0.55


def sum_of(held: Counter[int], sources: frozenset[int]) -> str:
    """Which ranks' parts are in a sum, short enough for a cell."""
    if held[NOTHING]:
        return "" if held.total() == 1 else "?"
    if held == Counter(sources) and len(sources) > 1:
        return "Σ"
    if held.total() <= 3 and max(held) < 5 and len(sources) <= 5:
        words = "+".join(map(str, sorted(held.elements())))
        return words if len(words) <= 3 else f"{words[:3]}\n{words[3:]}"
    return f"{len(held)}/{len(sources)}" if len(sources) > 1 else str(*held)


def colours(
    held: Counter[int], sources: frozenset[int]
) -> tuple[tuple[float, float, float] | str, str, str]:
    """A cell's colour, its border's, and its text's."""
    if held[NOTHING]:
        return "white", EMPTY, INK
    share = min(1.0, held.total() / len(sources))
    return shade(share), "white", "white" if share > 0.6 else INK


def shade(share: float) -> tuple[float, float, float]:
    """From nearly white to the palette's blue."""
    from matplotlib.colors import to_rgb

    return tuple(1 - (1 - value) * (0.06 + 0.94 * share) for value in to_rgb(BLUE))  # type: ignore[return-value]
