"""What all pictures share: figures that need no display, colours, saving."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minidl import files
from minidl.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which readers with any colour vision can tell apart.
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
SPAN_COLOURS = {
    "load": "#F0E442",
    "forward": "#56B4E9",
    "backward": "#0072B2",
    "send": "#E69F00",
    "receive": "#D55E00",
    "wait": "#EEEEEE",
    "reduce": "#CC79A7",
    "update": "#009E73",
    "evaluate": "#999999",
    "sleep": "#B7DBC9",
    "cancelled": "#FFFFFF",
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that belongs to no window and shows itself in a notebook."""
    from minidl.report.notebook import NotebookFigure

    return NotebookFigure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: str | Path | None) -> Figure:
    """Save the figure if `path` is given; its folder is made.

    Raises
    ------
    InputError
        If the path's ending is no kind of picture.
    """
    if path is not None:
        path = Path(path)
        kinds = figure.canvas.get_supported_filetypes()
        if path.suffix and path.suffix[1:].lower() not in kinds:
            raise InputError(
                f"{path} is no name for a picture; it may end in {', '.join(sorted(kinds))}"
            )
        if not path.suffix:
            path = path.with_name(f"{path.name}.{figure.canvas.get_default_filetype()}")
        kind = path.suffix[1:].lower()
        files.replace(path, lambda file: figure.savefig(file, format=kind, dpi=150))
    return figure
