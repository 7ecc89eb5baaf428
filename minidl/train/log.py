"""Writing down a fit's figures in a text file, as they come."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minidl import files
from minidl.checks import checked
from minidl.errors import InputError
from minidl.train.callbacks import Callback
from minidl.train.run import Run, figures_of


@checked
class Log(Callback):
    """Write a line for every epoch, at once, so that nothing is lost if the run is.

    Parameters
    ----------
    path
        ``.csv`` for a table, ``.jsonl`` for a JSON object a line. Lines are added to
        what is there, and to the table columns, if an epoch has figures that others had not.

    Raises
    ------
    InputError
        If the path ends otherwise.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.suffix not in (".csv", ".jsonl"):
            raise InputError(f"Log: path must end in .csv or .jsonl, not {path}")

    def epoch(self, run: Run) -> None:
        last = run.last
        row = {
            "epoch": last.epoch + 1,
            **figures_of(last),
            "rate": run.rate,
            "seconds": last.seconds,
            "samples per second": last.samples_per_second,
            "strategy": last.strategy,
        }
        if self.path.suffix == ".csv":
            self._add_to_table(row)
            return
        files.append(self.path, json.dumps(row))

    def _add_to_table(self, row: dict[str, Any]) -> None:
        """Append a row; only if it has figures that the table has not, write the table anew."""
        columns = self._columns()
        if columns and not set(row) - set(columns):
            files.append(self.path, _csv(columns, row))
            return
        rows = []
        if columns:
            with open(self.path, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        columns = list(dict.fromkeys([*columns, *row]))
        lines = [_csv(columns, dict(zip(columns, columns, strict=True)))]
        lines += [_csv(columns, each) for each in (*rows, row)]
        files.replace(self.path, "".join(line + "\n" for line in lines).encode())

    def _columns(self) -> list[str]:
        """Those of the table, from its first line; none if there is no table."""
        if not self.path.exists():
            return []
        with open(self.path, newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])


def _csv(columns: list[str], row: Mapping[str, Any]) -> str:
    """A line of a table; what the row has beyond the columns is left out."""
    text = io.StringIO()
    csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="").writerow(row)
    return text.getvalue()
