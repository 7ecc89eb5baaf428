"""Plans as text: a grid with a column for each rank and a row for each step."""

from __future__ import annotations

from collections.abc import Collection

from minidl.checks import checked
from minidl.plans.instructions import Plan
from minidl.reprs import printable

LEGEND = "(2→1: item 2 goes to rank 1; 2←1: it comes from rank 1; 2+←1: it is added; »here«)"
"""How to read a grid, in one line."""
WIDTH = 76
"""Characters of a line in an error; a terminal of 80 columns, less the frame of a report."""


@checked
def grid(plan: Plan, marks: Collection[tuple[int, int]] = (), width: int | None = None) -> str:
    """The plan as text: one column a rank, one row a step.

    ``2→1`` sends item 2 to rank 1, ``2←1`` receives it from rank 1 and ``2+←1`` adds
    it to what is held; ``4-7→1`` is a block of chunks; ``F3`` and ``B3`` are the passes
    of micro-batch 3.

    Parameters
    ----------
    plan
        What to write out.
    marks
        The (rank, step) places to mark, as ``»2→1«``; a step one past a rank's last
        stands for its end.
    width
        How many characters a line may have. Of a plan that does not fit, the ranks near the
        marks are shown; None shows all.
    """
    marked = set(marks)
    rows = [["step", *(f"rank {rank}" for rank in range(plan.size))]]
    cells = plan.cells()
    if any(step == len(cells) for _, step in marked):
        cells.append([""] * plan.size)
    for step, row in enumerate(cells):
        shown = (
            f"»{cell or 'end'}«" if (rank, step) in marked else cell
            for rank, cell in enumerate(row)
        )
        rows.append([str(step), *shown])
    return table(rows) if width is None else fitted(rows, {rank for rank, _ in marked}, width)


def fitted(rows: list[list[str]], focus: Collection[int], width: int = WIDTH) -> str:
    """A table of which only so many columns are kept as fit, those near the ones that matter.

    Parameters
    ----------
    rows
        Cells; the first column, which says what the rows are, is always kept.
    focus
        The columns that matter, counted without the first one; if there are none, the first.
    width
        How many characters a line may have.
    """
    full = table(rows)
    if max(map(len, full.splitlines())) <= width:
        return full
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    wanted = sorted(focus) or [0]
    near = sorted(range(len(widths) - 1), key=lambda n: min(abs(n - each) for each in wanted))
    kept, room = near[:1], width - widths[0] - 2 - widths[near[0] + 1]
    for column in near[1:]:
        room -= 2 + widths[column + 1]
        if room < 0:
            break
        kept.append(column)
    left_out = f"({len(widths) - 1 - len(kept)} of {len(widths) - 1} columns left out)"
    places = [0, *(column + 1 for column in sorted(kept))]
    return table([[row[place] for place in places] for row in rows]) + f"\n{left_out}"


def table(rows: list[list[str]]) -> str:
    """Rows of cells as text, in aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return printable("\n".join(lines))
