"""Showing a fit while it runs: a live bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

from minidl.strategy import Job, StepDone
from minidl.train.history import EpochRecord


class Progress(Protocol):
    """Is told what a fit has done."""

    def stage(self, text: str) -> None:
        """Something that takes time has begun."""
        ...

    def note(self, text: str) -> None:
        """Something worth keeping on the screen."""
        ...

    def step(self, done: StepDone) -> None:
        """A step is complete."""
        ...

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is complete."""
        ...


class Silent:
    """Shows nothing."""

    def stage(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def step(self, done: StepDone) -> None: ...

    def epoch(self, record: EpochRecord) -> None: ...


def wanted(progress: bool | None) -> bool:
    """Whether to show progress: as asked, or else if somebody is there to see it.

    ``MINIDL_PROGRESS=0`` says that nobody is, where that cannot be known: in a notebook that
    runs by itself.
    """
    if progress is not None:
        return progress
    if os.environ.get("MINIDL_PROGRESS") == "0":
        return False
    return sys.stderr.isatty() or "ipykernel" in sys.modules


@contextmanager
def showing(job: Job, name: str, *, shown: bool) -> Iterator[Progress]:
    """Show a fit's progress within the block."""
    if not shown:
        yield Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    # In a notebook, a bar that moves needs ipywidgets; without, rich would warn instead.
    live = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
    bars = Bars(
        TextColumn("[bold]{task.fields[strategy]:<9}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not live,
    )
    with bars:
        yield _Shown(bars, job, name)


class _Shown:
    def __init__(self, bars: object, job: Job, name: str) -> None:
        from rich.progress import Progress as Bars

        assert isinstance(bars, Bars)
        self.bars, self.job, self.name = bars, job, name
        self.task = bars.add_task("starting", total=job.steps, strategy=name)
        self.accuracy = ""

    def stage(self, text: str) -> None:
        self.bars.update(self.task, description=text)

    def note(self, text: str) -> None:
        self.bars.console.print(f"{self.name:<9} {text}", style="dim", highlight=False)

    def step(self, done: StepDone) -> None:
        last = self.job.epochs.stop
        self.bars.update(
            self.task,
            advance=1,
            description=f"epoch {done.epoch + 1}/{last}  "
            f"{_losses(done.sums.means())}{self.accuracy}",
        )

    def epoch(self, record: EpochRecord) -> None:
        figures = record.validation or record.train
        if "accuracy" in figures:
            self.accuracy = f"  accuracy {figures['accuracy']:.2%}"
        self.bars.console.print(
            f"{self.name:<9} epoch {record.epoch + 1}/{self.job.epochs.stop}  "
            f"{_losses(record.train)}{self.accuracy}  "
            f"{record.samples_per_second:,.0f} samples/s",
            highlight=False,
        )


def _losses(figures: Mapping[str, float]) -> str:
    """The losses among some figures, in words; of a task that has none, all figures."""
    chosen = [name for name in figures if "loss" in name] or list(figures)
    return "  ".join(f"{name} {figures[name]:.4f}" for name in chosen)
