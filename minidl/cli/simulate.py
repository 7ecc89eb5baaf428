"""``minidl simulate``: what theory says of servers and collectives beside what is measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.errors import InputError, unknown_name
from minidl.plans import (
    ALL_REDUCES,
    Async,
    FullySync,
    KAsync,
    KBatchAsync,
    KBatchSync,
    KSync,
    Rule,
    Softsync,
    bytes_sent,
    check_collective,
    predicted_seconds,
)
from minidl.sim import Constant, Exponential, Law, ShiftedExponential, simulate_server
from minidl.sim.formulas import mean_staleness, order_statistic, seconds_per_update, wasted_share
from minidl.sim.measure import standard_error
from minidl.sim.server import CANCELLED

if TYPE_CHECKING:
    from rich.table import Table

SPREAD = 5
"""How many standard errors a mean may be off. More happens once in a million times."""
MOST_RANKS = 256
"""Proving all plans for so many takes about half a minute; for twice as many, eight times that."""


@dataclass(frozen=True)
class Beside:
    """A figure by formula, if one is known, and as it was measured.

    Parameters
    ----------
    formula
        What the theory says.
    measured
        What the simulation found.
    at_most
        Whether the formula is only known to be a bound from above.
    error
        The standard error of what was measured; None where it is exact or unknown.
    """

    formula: float | None
    measured: float
    at_most: bool = False
    error: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the two agree, within `SPREAD` standard errors where there is one."""
        if self.formula is None:
            return True
        room = 1e-9 * abs(self.formula) + SPREAD * (self.error or 0.0)
        return self.measured <= self.formula + room and (
            self.at_most or self.measured >= self.formula - room
        )

    def show(self) -> tuple[str, str]:
        """Both, to four digits, and the standard error to one."""
        bound = "≤ " if self.at_most else ""
        known = "–" if self.formula is None else f"{bound}{digits(self.formula)}"
        spread = f" ±{self.error:.1g}".replace("0.", ".") if self.error else ""
        return known, digits(self.measured) + spread


@dataclass(frozen=True)
class ServerRow:
    """One rule: seconds per update, mean staleness, and the share of work in vain."""

    rule: str
    seconds: Beside
    staleness: Beside
    cancelled: Beside


@dataclass(frozen=True)
class CollectiveRow:
    """One all-reduce; the formulas in words beside their values.

    Parameters
    ----------
    algorithm
        Its name.
    steps
        Rounds from start to end.
    messages
        How many messages all ranks send together.
    sent
        Bytes that the busiest rank sends.
    words
        The formulas of these three.
    seconds
        From its start to the last rank's end, on links of the given latency and bandwidth.
    bus_bandwidth
        2(P−1)/P of the bytes over the seconds; at most the bandwidth. None if it takes no time.
    """

    algorithm: str
    steps: Beside
    messages: Beside
    sent: Beside
    words: tuple[str, str, str]
    seconds: float
    bus_bandwidth: float | None


def service_law(name: str, rate: float, shift: float) -> Law:
    """The law of this name, of which a mini-batch takes ``shift + 1/rate`` seconds on average.

    Raises
    ------
    InputError
        If there is no such law, the rate is not above 0, or the shift is below 0.
    """
    whole = ShiftedExponential(shift, rate)
    if name == "exponential":
        return whole if shift else Exponential(rate)
    if name == "constant":
        return Constant(whole.mean())
    raise unknown_name("law", name, ("exponential", "constant"))


def server_rows(law: Law, learners: int, k: int, updates: int, seed: int) -> list[ServerRow]:
    """Simulate every rule for so many updates.

    Raises
    ------
    InputError
        If `k` is not from 1 to the number of learners, or a number is less than 1.
    """
    KSync(k).start(learners)
    rules: dict[str, Rule] = {
        "fully sync": FullySync(),
        f"{k}-sync": KSync(k),
        f"{k}-batch-sync": KBatchSync(k),
        f"{k}-async": KAsync(k),
        f"{k}-batch-async": KBatchAsync(k),
        f"{learners // k}-softsync": Softsync(learners // k),
        "fully async": Async(),
    }
    rows = []
    for name, rule in rules.items():
        run = simulate_server(rule, law, learners, updates, seed=seed)
        spent = run.work["stop"] - run.work["start"]
        vain = spent * ((run.work["fate"] == CANCELLED) - run.wasted) / spent.mean()
        seconds = seconds_per_update(rule, law, learners)
        # No law here leaves more of a mini-batch to do than a new one has.
        bound = order_statistic(law, k, learners) if isinstance(rule, KAsync) else None
        rows.append(
            ServerRow(
                name,
                Beside(
                    bound if seconds is None else seconds, run.seconds_per_update,
                    seconds is None and bound is not None,
                    _error(np.diff(run.times, prepend=0.0)),
                ),
                Beside(
                    mean_staleness(rule, learners), float(run.staleness.mean()),
                    error=_error(run.staleness),
                ),
                Beside(wasted_share(rule, law, learners), run.wasted, error=_error(vain)),
            )
        )  # fmt: skip
    return rows


def _error(values: np.ndarray) -> float | None:
    """The standard error of a run's mean, None if the run is too short to tell."""
    error = standard_error([values])
    return None if isnan(error) else error


def collective_rows(ranks: int, latency: float, bandwidth: float, size: int) -> list[CollectiveRow]:
    """Prove, count and price every all-reduce.

    Raises
    ------
    InputError
        If the ranks are not from 1 to `MOST_RANKS`, latency or size is below 0, or the
        bandwidth is not above 0.
    """
    if not 1 <= ranks <= MOST_RANKS:
        raise InputError(f"there are from 1 to {MOST_RANKS} ranks, not {ranks}")
    rows = []
    for name, make in ALL_REDUCES.items():
        plan = make(ranks)
        seconds = predicted_seconds(plan, size, latency, bandwidth)
        cost, counted = plan.cost, check_collective(plan)
        assert cost is not None, name
        rows.append(
            CollectiveRow(
                name,
                Beside(cost.steps, counted.steps, cost.at_most),
                Beside(cost.messages, counted.messages),
                Beside(max(cost.sent(size)), max(bytes_sent(plan, size, 1))),
                cost.words,
                seconds,
                2 * (ranks - 1) / ranks * size / seconds if seconds else None,
            )
        )
    return rows


def server(
    learners: int, k: int, law: str, rate: float, shift: float, updates: int, seed: int,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Simulate and print; see ``minidl simulate server --help``."""
    rows = server_rows(service_law(law, rate, shift), learners, k, updates, seed)
    if as_json:
        print_json(rows)
        return
    table = _table("rule", ("seconds an\nupdate", "mean\nstale", "share in\nvain"), "simulated")
    for row in rows:
        table.add_row(row.rule, *row.seconds.show(), *row.staleness.show(), *row.cancelled.show())
    after = f" after {shift:g} s" if shift else ""
    print_table(
        f"{learners} learners, K = {k}, {law} times{after}, rate {rate:g}/s, {updates:,} updates",
        table,
        "By formula, and simulated ± standard error. Staleness: how many updates a gradient "
        "missed. In vain: of the learners' working time, what went into cancelled mini-batches. "
        "– where no formula is known, ≤ where only a bound is.",
    )


def collectives(ranks: int, latency: float, bandwidth: float, size: int, *, as_json: bool) -> None:
    """Prove, count, price and print; see ``minidl simulate collectives --help``."""
    rows = collective_rows(ranks, latency, bandwidth, size)
    if as_json:
        print_json(rows)
        return
    table = _table("all-reduce", ("steps", "mes-\nsages", "bytes,\nbusiest"), "counted")
    for heading in ("ms", "bus\nMB/s"):
        table.add_column(heading, justify="right", vertical="bottom", overflow="fold")
    for row in rows:
        bus = "–" if row.bus_bandwidth is None else digits(row.bus_bandwidth / 1e6)
        figures = (row.steps, row.messages, row.sent)
        table.add_row(
            row.algorithm, *(text for each in figures for text in each.show()),
            digits(1e3 * row.seconds), bus,
        )  # fmt: skip
    print_table(
        f"{ranks} ranks, {size:,} bytes, latency {1e6 * latency:g} µs, "
        f"bandwidth {bandwidth / 1e6:g} MB/s",
        table,
        "By formula, exact where chunks divide the vector, and counted in the plan. ms: predicted "
        "for these links. bus MB/s: 2(P−1)/P of the "
        "bytes, which no all-reduce can do without, over that time. ≤ where a formula is a bound. "
        "--json has the formulas.",
    )


def _table(first: str, figures: Sequence[str], measured: str) -> Table:
    """A table with a column for names, and for each figure one by formula and one measured."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 0, 0, 1), header_style="bold")
    table.add_column(first, vertical="bottom", overflow="fold")
    for heading in figures:
        for each in (heading, measured):
            table.add_column(each, justify="right", vertical="bottom", overflow="fold")
    return table


def print_table(title: str, table: Table, notes: str) -> None:
    """A table between its title and what is to be said of it."""
    from rich.console import Console

    console = Console()
    console.print(f"\n[bold]{title}[/bold]\n", highlight=False)
    console.print(table)
    console.print(f"\n{notes}", style="dim", highlight=False)


def print_json(rows: Sequence[Any]) -> None:
    """The rows, each a dataclass, as JSON."""
    print(json.dumps([asdict(row) for row in rows], indent=2))


def digits(value: float) -> str:
    """Whole numbers as they are, others to four digits."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
