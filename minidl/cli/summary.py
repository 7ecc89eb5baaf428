"""``minidl summary``: what a network's layers cost and see, or all networks beside each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minidl import models
from minidl.analysis import Field, Row, Summary, summary
from minidl.cli.places import require_picture
from minidl.errors import InputError
from minidl.nn import Shape

if TYPE_CHECKING:
    from rich.table import Table

SEEN = ("field", "jump", "centre")
"""The columns that tell what a layer sees; they go first where there is little room."""


def run(
    model: str,
    shape: str | None,
    batch: int,
    classes: int | None,
    *,
    plot: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Count and show one network or all; see ``minidl summary --help``."""
    require_picture(plot, force=force)
    if model == "all":
        counted = count_all(shape, batch, classes)
        if plot is not None:
            from minidl.report.costs import draw_networks

            draw_networks(counted, plot)
        if as_json:
            print(json.dumps({name: each.totals() for name, each in counted.items()}, indent=2))
        else:
            show_all(counted)
            _say_saved(plot)
        return
    one = count(model, shape, batch, classes)
    if plot is not None:
        one.plot(plot)
    if as_json:
        print(one.to_json())
    else:
        show(model, one)
        _say_saved(plot)


def _say_saved(plot: Path | None) -> None:
    if plot is not None:
        from rich.console import Console

        Console().print(f"saved {plot}", highlight=False, markup=False, soft_wrap=True)


def count(model: str, shape: str | None, batch: int, classes: int | None) -> Summary:
    """Count the network of this name; see ``minidl summary --help``."""
    settings = {} if classes is None else {"classes": classes}
    made = models.make(model, **settings)
    return summary(made, models.usual_input(model) if shape is None else parse_shape(shape), batch)


def count_all(shape: str | None, batch: int, classes: int | None) -> dict[str, Summary]:
    """Count every network, each with the input and the outputs that it is drawn for.

    Raises
    ------
    InputError
        If an input or a number of outputs is given.
    """
    if shape is not None or classes is not None:
        raise InputError(
            "--input and --classes are for one network; all are counted as they are drawn"
        )
    return {model: count(model, None, batch, None) for model in models.known()}


def parse_shape(text: str) -> Shape:
    """The sizes in ``"224x224x3"``.

    Raises
    ------
    InputError
        If these are no whole numbers of at least one.
    """
    sizes = text.replace("×", "x").split("x")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise InputError(
            f"--input must be sizes of at least 1 with x between them, such as 224x224x3, "
            f"not {text!r}"
        )
    return tuple(map(int, sizes))


def show(model: str, counted: Summary) -> None:
    """Print the table, its totals, and what the columns mean."""
    from rich.console import Console

    console = Console()
    # What does not fit a narrow terminal is left out as a whole: a name cut in pieces helps nobody.
    unlimited = console.options.update(width=1000)
    for left_out in (SEEN[:0], SEEN[1:], SEEN):
        table = _table(counted, left_out)
        if console.measure(table, options=unlimited).maximum <= console.width:
            break
    samples = "1 sample" if counted.batch == 1 else f"{counted.batch} samples"
    console.print(f"\n[bold]{model}[/bold] for {samples} of {_times(counted.input_shape)}\n",
                  highlight=False)  # fmt: skip
    console.print(table)
    console.print(
        "\nmultiply-adds: of one forward pass, products with weights only; MB: the layer's output "
        f"in {counted.dtype}.\nfield: pixels of the input that a position depends on; jump: from "
        "one position's field to the next; centre: of the first position's field, from the "
        "middle of pixel 0.",
        style="dim",
        highlight=False,
    )
    if left_out:
        console.print(
            f"{', '.join(left_out)}: left out, for the terminal is {console.width} columns wide.",
            style="dim",
            highlight=False,
        )


def _table(counted: Summary, left_out: Sequence[str]) -> Table:
    """The layers and the total, without some of the columns of `SEEN`."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 0, 0, 1), header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("type", no_wrap=True)
    seen = [name for name in SEEN if name not in left_out]
    for heading in ("output", "parameters", "multiply-\nadds", "MB", *seen):
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    for row in counted.rows:
        table.add_row(
            row.name,
            row.kind,
            _times(row.shape),
            f"{row.parameters:,}" if row.parameters else "",
            _short(row.multiply_adds),
            f"{row.activation_bytes / 1e6:.3f}",
            *_seen(row)[: len(seen)],
        )
    table.add_section()
    table.add_row(
        "[bold]total[/bold]",
        "",
        _times(counted.output_shape),
        f"{counted.parameters:,}",
        _short(counted.multiply_adds),
        f"{counted.activation_bytes / 1e6:.3f}",
    )
    return table


def show_all(counted: Mapping[str, Summary]) -> None:
    """Print each network's totals."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 0, 0, 1), header_style="bold")
    table.add_column("network", no_wrap=True)
    for heading in ("input", "parameters", "multiply-\nadds", "outputs,\nMB"):
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    for name, each in counted.items():
        table.add_row(
            name,
            _times(each.input_shape),
            f"{each.parameters:,}",
            _short(each.multiply_adds),
            f"{each.activation_bytes / 1e6:.3f}",
        )
    Console().print(table)


def _seen(row: Row) -> tuple[str, str, str]:
    """Field, jump and centre, each once if the same down and across."""
    if row.fields is None:
        return "", "", ""
    field, jump, centre = (
        _either([getattr(axis, name) for axis in row.fields]) for name in vars(Field())
    )
    return field, jump, centre


def _either(both: list[float]) -> str:
    down, across = (f"{value:.6g}" for value in both)
    return down if down == across else f"{down}×{across}"


def _times(shape: Shape) -> str:
    return "×".join(map(str, shape))


def _short(count: int) -> str:
    """In thousands, millions or billions, to three digits."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return str(count) if count else ""
