"""``minidl summary``: what a network's layers cost and see."""

from __future__ import annotations

from minidl import models
from minidl.analysis import Field, Row, Summary, summary
from minidl.errors import InputError
from minidl.nn import Shape


def count(model: str, shape: str, batch: int, classes: int | None) -> Summary:
    """Count the network of this name; see ``minidl summary --help``."""
    settings = {} if classes is None else {"classes": classes}
    return summary(models.make(model, **settings), parse_shape(shape), batch)


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
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 0, 0, 1), header_style="bold")
    table.add_column("layer", overflow="fold")
    table.add_column("type", no_wrap=True)
    for heading in ("output", "parameters", "multiply-\nadds", "MB", "field", "jump", "centre"):
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    for row in counted.rows:
        table.add_row(
            row.name,
            row.kind,
            _times(row.shape),
            f"{row.parameters:,}" if row.parameters else "",
            _short(row.multiply_adds),
            f"{row.activation_bytes / 1e6:.3f}",
            *_seen(row),
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
    samples = "1 sample" if counted.batch == 1 else f"{counted.batch} samples"
    console = Console()
    console.print(f"\n[bold]{model}[/bold] for {samples} of {_times(counted.input_shape)}\n",
                  highlight=False)  # fmt: skip
    console.print(table)
    console.print(
        "\nmultiply-adds: of one forward pass, products with weights only; MB: the layer's output "
        f"in {counted.dtype}.\nfield: pixels of the input that a position depends on; jump: from "
        "one position's field to the next;\ncentre: of the first position's field, from the "
        "middle of pixel 0.",
        style="dim",
        highlight=False,
    )


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
