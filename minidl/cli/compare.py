"""``minidl compare``: the same training under every strategy, side by side.

Weights are compared where it means something: after 20 steps in float64. A whole
run in float32 drifts apart by rounding alone, which is shown, not judged.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from minidl import data, models, optim
from minidl.cli.places import fresh, require_place
from minidl.data import Dataset
from minidl.nn import CrossEntropy
from minidl.plans import Collective, ring_all_reduce
from minidl.strategy import ParameterServer, Pipeline, RingAllReduce, Serial, Strategy
from minidl.train import History, Trainer

CHECKED_STEPS = 20
ROUNDING = 1e-9
"""The largest weight difference after `CHECKED_STEPS` float64 steps that is called rounding:
some 1e-16 arises in each operation, and training multiplies it by a few thousand."""


@dataclass(frozen=True)
class Row:
    """One strategy's result.

    Parameters
    ----------
    strategy
        Its name.
    accuracy
        Share of the test data that is right, 0 to 1, after training in float32.
    loss
        Mean over the test data, after training in float32.
    difference
        Largest difference of a weight from serial's, after `CHECKED_STEPS` steps in float64.
    drift
        The same at the end of the float32 runs.
    seconds
        Of training and evaluating.
    preparation
        Seconds before that: compiling or loading kernels, starting workers.
    samples_per_second
        While training.
    ranks
        What the ranks are called.
    bytes_measured
        What each rank sent in training, as counted.
    bytes_expected
        What each rank should have sent, by `formula`.
    formula
        What each rank sends in a step.
    """

    strategy: str
    accuracy: float
    loss: float
    difference: float
    drift: float
    seconds: float
    preparation: float
    samples_per_second: float
    ranks: tuple[str, ...]
    bytes_measured: tuple[int, ...]
    bytes_expected: tuple[float, ...]
    formula: str

    @property
    def agrees(self) -> bool:
        """Whether the weights are the serial run's, but for rounding."""
        return self.difference <= ROUNDING


@dataclass(frozen=True)
class Comparison:
    """All strategies' results, and where the pictures are."""

    dataset: str
    workers: int
    epochs: int
    rows: tuple[Row, ...]
    pictures: tuple[str, ...]
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether every strategy agrees with the serial run."""
        return all(row.agrees for row in self.rows)

    def to_json(self) -> str:
        """Everything, for scripts."""
        rows = [asdict(row) | {"agrees": row.agrees} for row in self.rows]
        return json.dumps(asdict(self) | {"rows": rows, "agrees": self.agrees}, indent=2)


def compare(
    dataset: str,
    workers: int,
    epochs: int,
    batch_size: int,
    *,
    plan: Path | None,
    seed: int,
    out: Path | None,
    force: bool,
    quiet: bool,
) -> Comparison:
    """Train under every strategy; see ``minidl compare --help``."""
    began = time.perf_counter()
    maker: Callable[[int], Collective] = ring_all_reduce
    if plan is not None:
        from minidl.course import load_plan_maker

        maker = load_plan_maker(plan)
        maker(workers)  # a wrong plan is refused before anything starts
    train, test = data.make(dataset)
    strategies: list[Strategy] = [
        Serial(),
        ParameterServer(workers),
        RingAllReduce(workers, plan=maker),
        Pipeline(workers),
    ]
    out = fresh(Path("compared")) if out is None else out
    for name in ("curves.png", "timeline.png"):
        require_place(out / name, force=force)
    sent = {  # a strategy that would be refused is refused now
        strategy.name: _trainer(seed, "float32").expected_bytes(train, epochs, batch_size, strategy)
        for strategy in strategies
    }
    part = _checked_part(train, batch_size)
    say = _announcer(quiet)
    say(f"{CHECKED_STEPS} steps in float64, after which weights are compared")
    exact: dict[str, dict[str, np.ndarray]] = {}
    for strategy in strategies:
        checked = _trainer(seed, "float64")
        checked.fit(part, epochs=1, batch_size=batch_size, strategy=strategy, progress=not quiet)
        exact[strategy.name] = checked.weights()
    say(f"{epochs} epochs in float32")
    rows: list[Row] = []
    histories: dict[str, History] = {}
    weights: dict[str, dict[str, np.ndarray]] = {}
    for strategy in strategies:
        trainer = _trainer(seed, "float32")
        histories[strategy.name] = history = trainer.fit(
            train,
            epochs=epochs,
            batch_size=batch_size,
            validation=test,
            strategy=strategy,
            progress=not quiet,
        )
        weights[strategy.name] = trainer.weights()
        expected = sent[strategy.name]
        figures = history.last().validation or {}
        rows.append(
            Row(
                strategy.name,
                figures["accuracy"],
                figures["loss"],
                _difference(exact["serial"], exact[strategy.name]),
                _difference(weights["serial"], weights[strategy.name]),
                history.seconds,
                history.preparation,
                float(np.median([record.samples_per_second for record in history.epochs])),
                () if history.trace is None else history.trace.names,
                history.bytes_sent(list(expected)),
                tuple(map(sum, zip(*expected.values(), strict=True))) or (0.0,),
                strategy.formula,
            )
        )
    pictures = _draw(histories, out)
    return Comparison(dataset, workers, epochs, tuple(rows), pictures, time.perf_counter() - began)


def _announcer(quiet: bool) -> Callable[[str], None]:
    from rich.console import Console

    console = Console(stderr=True, quiet=quiet)
    return lambda text: console.print(text, style="bold", highlight=False)


def _trainer(seed: int, dtype: str) -> Trainer:
    optimizer = optim.Adam(lr=1e-3)
    return Trainer(models.digits_cnn(), CrossEntropy(), optimizer, seed=seed, dtype=dtype)


def _checked_part(train: Dataset, batch_size: int) -> Dataset:
    """Data for `CHECKED_STEPS` steps, of which the last has a batch that divides by little."""
    wanted = (CHECKED_STEPS - 1) * batch_size + max(1, batch_size // 2 - 1)
    return train.take(slice(0, min(len(train), wanted)))


def _difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    # np.max, for Python's max may overlook a NaN.
    return float(np.max([np.abs(one[name] - other[name]).max() for name in one]))


def _draw(histories: dict[str, History], out: Path) -> tuple[str, ...]:
    from minidl.report.curves import draw_history
    from minidl.report.timeline import draw_timelines

    curves, timeline = out / "curves.png", out / "timeline.png"
    draw_history(histories, curves)
    traces = {name: h.trace for name, h in histories.items() if h.trace is not None}
    draw_timelines(traces, timeline)
    return str(curves), str(timeline)


def show(comparison: Comparison) -> None:
    """Print the table, what its columns mean, and where the pictures are."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 0, 0, 1), header_style="bold")
    table.add_column("strategy", no_wrap=True)
    for heading in (
        "test\naccuracy",
        "|Δw|\nexact",
        "|Δw|\nfloat32",
        "start\ns",
        "train\ns",
        "samples\n/s",
        "MB sent\ncounted",
        "\nformula",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in comparison.rows:
        verdict = "[green]✓[/green]" if row.agrees else "[bold red]✗[/bold red]"
        table.add_row(
            row.strategy,
            f"{row.accuracy:.2%}",
            f"{row.difference:.1e} {verdict}",
            f"{row.drift:.1e}",
            f"{row.preparation:.1f}",
            f"{row.seconds:.1f}",
            f"{row.samples_per_second:,.0f}",
            "",
            "",
        )
        for name, measured, expected in _by_kind(row):
            table.add_row(
                f"[dim] {name}[/dim]", *[""] * 6, f"{measured / 1e6:.2f}", f"{expected / 1e6:.2f}"
            )
    console = Console()
    console.print(
        f"\n[bold]{comparison.dataset}[/bold], {comparison.epochs} epochs, "
        f"{comparison.workers} workers or stages\n",
        highlight=False,
    )
    console.print(table)
    notes = [
        f"|Δw| exact: largest difference of a weight from serial after {CHECKED_STEPS} steps",
        f"  in float64; up to {ROUNDING:.0e} is rounding.",
        "|Δw| float32: the same after the whole run in float32; rounding has grown.",
        "start: compiling or loading kernels, starting workers. train: all after that.",
        "MB sent: by each rank in the whole run. Formula for a step, N the model's size:",
        *(f"  {row.strategy}: {row.formula}" for row in comparison.rows if row.formula),
    ]
    console.print("\n" + "\n".join(notes), style="dim", highlight=False)
    for picture in comparison.pictures:
        console.print(f"saved {picture}", highlight=False)
    console.print(f"{comparison.seconds:.1f} s in all", highlight=False)


def _by_kind(row: Row) -> list[tuple[str, float, float]]:
    """What each rank sent and should have sent; neighbours that sent the same are one line."""
    found: list[tuple[str, float, float]] = []
    ranks = zip(row.ranks, row.bytes_measured, row.bytes_expected, strict=True)
    for (kind, measured, _), same in groupby(
        ranks, key=lambda rank: (rank[0].split()[0], round(rank[1], -4), round(rank[2], -4))
    ):
        members = list(same)
        name = members[0][0] if len(members) == 1 else f"{len(members)} {kind}s, each"
        if measured or members[0][2]:
            found.append((name, measured, members[0][2]))
    return found
