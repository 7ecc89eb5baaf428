"""Figures that show themselves in a notebook, whatever Matplotlib has been told there."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A figure that a notebook draws as the last line of a cell.

    IPython draws any other figure only after ``%matplotlib inline``, or after an import of
    ``matplotlib.pyplot``. After these it uses their settings for this one, too.
    """

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()
