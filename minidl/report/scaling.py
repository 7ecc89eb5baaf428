"""Pictures of scaling: speedup, what a step's time goes into, and time to accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from minidl.errors import InputError
from minidl.report.style import SERIES, SPAN_COLOURS, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Spread(Protocol):
    """What is drawn of a measurement: ``minidl.train.scaling.Spread``."""

    @property
    def median(self) -> float:
        """Of all runs."""
        ...

    @property
    def least(self) -> float:
        """Of all runs."""
        ...

    @property
    def most(self) -> float:
        """Of all runs."""
        ...


class Measured(Protocol):
    """What is drawn of so many workers: ``minidl.train.scaling.Measured``."""

    @property
    def mode(self) -> str:
        """``"serial"``, ``"strong"`` or ``"weak"``."""
        ...

    @property
    def strategy(self) -> str:
        """The strategy's name."""
        ...

    @property
    def workers(self) -> int:
        """How many workers there were."""
        ...

    @property
    def speedup(self) -> Spread:
        """The serial run's time over this one's."""
        ...

    @property
    def seconds(self) -> Spread | None:
        """Until the target was reached; None if it was not in every run."""
        ...

    @property
    def shares(self) -> Mapping[str, float]:
        """Shares of a worker's step, by kind of work."""
        ...


def draw_scaling(rows: Sequence[Measured], path: str | Path | None = None) -> Figure:
    """Draw speedups over the number of workers, shares of a step, and seconds to the target.

    Points and bars are medians; lines at them reach from the least to the most.

    Parameters
    ----------
    rows
        What to draw, the serial run first: ``minidl.train.scaling.Scaling.rows``.
    path
        Where to save the picture, if anywhere.

    Raises
    ------
    InputError
        If there is no row.
    """
    if not rows:
        raise InputError("there is nothing to draw: no rows")
    figure = new_figure(13, 2.2 + 0.3 * len(rows))
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1.4, 1])
    names = [_name(row) for row in rows]
    _draw_speedups(left, rows)
    draw_shares(middle, dict(zip(names, (row.shares for row in rows), strict=True)))
    middle.set_title("what a worker's step goes into")
    right.set(title="training until the target", xlabel="seconds")
    for place, row in enumerate(rows):
        if row.seconds is None:
            right.text(0, place, " not reached in every run", va="center", fontsize=8)
            continue
        right.barh(place, row.seconds.median, xerr=_error(row.seconds), color=SERIES[0], height=0.7)
    right.set_yticks(range(len(rows)), names)
    right.set_ylim(len(rows) - 0.4, -0.6)
    right.grid(axis="x", alpha=0.3)
    return save(figure, path)


def draw_shares(axes: Axes, shares: Mapping[str, Mapping[str, float]]) -> None:
    """Draw a bar of coloured pieces for each name, and a legend below the figure.

    What is left to 1 stays empty: time in no span.

    Parameters
    ----------
    axes
        Where to draw.
    shares
        By name, the share of each kind of span: ``minidl.train.scaling.step_shares``.
    """
    for kind in (kind for kind in SPAN_COLOURS if any(each.get(kind) for each in shares.values())):
        kinds = list(SPAN_COLOURS)
        before = kinds[: kinds.index(kind)]
        axes.barh(
            range(len(shares)),
            [each.get(kind, 0.0) for each in shares.values()],
            left=[sum(each.get(other, 0.0) for other in before) for each in shares.values()],
            height=0.7, color=SPAN_COLOURS[kind], edgecolor="#888888", linewidth=0.4, label=kind,
        )  # fmt: skip
    axes.set_yticks(range(len(shares)), list(shares))
    axes.set(xlim=(0, 1), ylim=(len(shares) - 0.4, -0.6), xlabel="share of a step")
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)


def _draw_speedups(axes: Axes, rows: Sequence[Measured]) -> None:
    most = max(row.workers for row in rows)
    axes.plot([1, most], [1, most], ":", color="0.5", label="P times")
    alone = [row for row in rows if row.mode == "one"]
    modes = [mode for mode in ("strong", "weak") if any(row.mode == mode for row in rows)]
    for colour, mode in zip(SERIES, modes, strict=False):
        chosen = alone[-1:] + [row for row in rows if row.mode == mode]
        axes.errorbar(
            [row.workers for row in chosen],
            [row.speedup.median for row in chosen],
            [[_error(row.speedup)[side][0] for row in chosen] for side in (0, 1)],
            color=colour, marker="o", capsize=3, label=mode,
        )  # fmt: skip
    axes.set(title="speedup over the serial run", xlabel="workers P", ylim=(0, None))
    axes.set_xticks(sorted({row.workers for row in rows}))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def _error(spread: Spread) -> list[list[float]]:
    return [[spread.median - spread.least], [spread.most - spread.median]]


def _name(row: Measured) -> str:
    scaling = "" if row.mode == "one" else f"{row.mode}, "
    return (
        row.strategy if row.strategy == "serial" else f"{row.strategy}, {scaling}P = {row.workers}"
    )
