"""``minidl bench scaling``: one network on one process and on several, to the same accuracy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minidl import data, models, plans, strategy
from minidl.cli.places import require_picture
from minidl.cli.recipes.optimizers import optimizer
from minidl.errors import InputError, unknown_name
from minidl.nn import CrossEntropy
from minidl.runtime.machine import Machine
from minidl.train import Trainer
from minidl.train.benchmark import measure_scaling
from minidl.train.scaling import Measured, Mode, Scaling, Spread, crowded

if TYPE_CHECKING:
    from rich.table import Table

MODES: dict[str, tuple[Mode, ...]] = {
    "strong": ("strong",),
    "weak": ("weak",),
    "both": ("strong", "weak"),
}

Shown = Callable[[int, int, str], None]
"""Is told how many of how many fits are done, and what comes next."""


@dataclass(frozen=True)
class Options:
    """What ``minidl bench scaling`` was given; see its ``--help``."""

    dataset: str
    model: str
    strategy: str
    algorithm: str | None
    workers: str
    mode: str
    batch_size: int
    target: float
    epochs: int
    repeats: int
    optimizer: str
    lr: float | None
    threads: int
    link: str | None
    overlap: bool
    seed: int
    plot: Path | None
    force: bool
    as_json: bool


def scaling(options: Options) -> None:
    """Measure, print, draw; see ``minidl bench scaling --help``."""
    from minidl.runtime import Processes

    train, test = data.make(options.dataset)
    counts, here = _counts(options.workers), Machine.here()
    _check(options, counts)
    runtime = Processes(threads=options.threads, link=_link(options.link))

    def trainer(turn: int) -> Trainer:
        rule = optimizer(options.optimizer, options.lr)
        return Trainer(models.make(options.model), CrossEntropy(), rule, seed=options.seed + turn)

    def of_workers(count: int) -> strategy.Strategy:
        if options.strategy == "server":
            return strategy.ParameterServer(count, runtime=runtime)
        algorithm = options.algorithm or "ring"
        return strategy.AllReduce(count, algorithm, overlap=options.overlap, runtime=runtime)

    trainer(0)  # a wrong name is refused now
    with _progress(options.as_json) as (shown, say):
        for count in counts:
            say(crowded(count, count + (options.strategy == "server"), here))
        found = measure_scaling(
            trainer,
            of_workers,
            train,
            test,
            workers=counts,
            modes=MODES[options.mode],
            batch_size=options.batch_size,
            target=options.target,
            epochs=options.epochs,
            repeats=options.repeats,
            serial=strategy.Serial(runtime=runtime),
            shown=shown,
        )
    if options.plot is not None:
        from minidl.report.scaling import draw_scaling

        draw_scaling(found.rows, options.plot)
    if options.as_json:
        settings = {"settings": asdict(options)}
        print(json.dumps(settings | found.to_json(), indent=2, default=str))
    else:
        _print(found, options)


def _check(options: Options, counts: list[int]) -> None:
    """Refuse, before anything is measured, what could not be done afterwards."""
    if options.strategy not in (known := ("ring", "server")):
        raise unknown_name("strategy", options.strategy, known)
    if options.mode not in MODES:
        raise unknown_name("mode", options.mode, MODES)
    if options.strategy != "ring" and (options.algorithm is not None or options.overlap):
        raise InputError("--algorithm and --overlap are for all-reduces: leave --strategy out")
    if options.algorithm is not None:
        for count in counts:
            plans.all_reduce(count, options.algorithm)
    require_picture(options.plot, force=options.force)


def _counts(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"--workers takes numbers with commas between them, not {text}") from None


def _link(text: str | None) -> plans.Link | None:
    if text is None:
        return None
    try:
        latency, bandwidth = map(float, text.split(","))
    except ValueError:
        raise InputError(
            f"--link takes seconds and bytes a second with a comma between them, not {text}"
        ) from None
    return plans.Link(latency, bandwidth)


@contextmanager
def _progress(quiet: bool) -> Iterator[tuple[Shown, Callable[[str], None]]]:
    """A bar on a terminal, a line for each fit elsewhere; and what prints a warning beside it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, quiet=quiet)
    with Progress(
        BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}"),
        TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal,
    ) as bars:  # fmt: skip
        task = bars.add_task("starting")

        def shown(done: int, whole: int, what: str) -> None:
            bars.update(task, completed=done, total=whole, description=what)
            if not console.is_terminal:
                console.print(f"{done + 1}/{whole} {what}", highlight=False, style="dim")

        def say(warning: str) -> None:
            if warning:
                console.print(f"[yellow]warning:[/yellow] {warning}", highlight=False)

        yield shown, say


def _print(found: Scaling, options: Options) -> None:
    from rich.console import Console

    console = Console()
    link = f"; emulated link: {options.link}" if options.link else ""
    console.print(
        f"\n[bold]{options.model} on {options.dataset}, {len(found.rows[0].fits)} rounds[/bold]\n"
        f"{found.machine}; each process on {options.threads} of its threads{link}\n",
        highlight=False,
    )
    console.print(_table(found.rows))
    console.print(
        f"\nAll trained until {found.target:.1%} of the {found.test:,} test samples were right "
        f"(standard error {found.standard_error:.1%}), or for {found.epochs} epochs. Medians over "
        "the rounds, and below them the least and the most; each round has a seed of its own. "
        "Strong: the global batch stays; weak: each worker's does. The learning rate always stays. "
        "Speedup: over the serial run of the same round. Efficiency: speedup / P. Overhead: what "
        "a step takes beyond perfect scaling. Moving data: the share of a worker's step in send, "
        "receive and reduce. Seconds: training until the target, evaluation not counted. A first "
        "epoch, in which workers load their kernels, counts as a median one.",
        style="dim",
        highlight=False,
    )
    for warning in found.warnings:
        console.print(f"[yellow]warning:[/yellow] {warning}", highlight=False)
    if options.plot is not None:
        console.print(f"saved {options.plot}", highlight=False, markup=False)


def _table(rows: tuple[Measured, ...]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 0, 0, 1), header_style="bold")
    table.add_column("", overflow="fold")
    for heading in ("P", "batch", "samples\n/s", "speedup", "effi-\nciency", "step ms\noverhead",
                    "moving\ndata,\nwaiting", "epochs", "seconds"):  # fmt: skip
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        moved = sum(row.shares.get(kind, 0.0) for kind in ("send", "receive", "reduce"))
        shares = f"{moved:.0%}\n{row.shares.get('wait', 0.0):.0%}" if row.shares else "–"
        step = f"{1e3 * row.step_seconds.median:.2f}\n{1e3 * row.overhead_seconds.median:+.2f}"
        missed = f"not reached\nin {len(row.fits) - row.reached} of {len(row.fits)}"
        table.add_row(
            row.strategy if row.mode == "one" else f"{row.strategy}, {row.mode}",
            str(row.workers), str(row.batch_size), _show(row.throughput, ",.0f"),
            _show(row.speedup, ".2f"), _show(row.efficiency, ".0%"), step, shares,
            _show(row.epochs, "g") if row.epochs else missed,
            _show(row.seconds, ".2f") if row.seconds else missed,
        )  # fmt: skip
    return table


def _show(spread: Spread, style: str) -> str:
    """The median, and below it from where to where, which a narrow terminal may break in two."""
    return f"{spread.median:{style}}\n{spread.least:{style}} – {spread.most:{style}}"
