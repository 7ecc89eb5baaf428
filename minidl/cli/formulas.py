"""``minidl simulate formulas``: every formula of the chapters beside what is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import hypot

import numpy as np

from minidl import optim
from minidl.cli.simulate import SPREAD, Beside, collective_rows, print_json, print_table
from minidl.plans import (
    COLLECTIVES,
    SCHEDULES,
    Async,
    FullySync,
    KAsync,
    KBatchAsync,
    KBatchSync,
    KSync,
    Rule,
    Softsync,
    bytes_sent,
    check_barrier,
    check_collective,
    check_pipeline,
    predicted_seconds,
    ring_all_reduce,
    server_reduce,
    torus_all_reduce,
)
from minidl.plans import formulas as costs
from minidl.plans.rendezvous import count_messages, execute
from minidl.sim import (
    Exponential,
    Law,
    ServerRun,
    ShiftedExponential,
    TruncatedNormal,
    formulas,
    simulate_server,
)
from minidl.sim.measure import descend, measured_edge, settled_mean

LEARNERS, K, RUNS, MINI_BATCHES = 8, 4, 4, 8000
EXP, SHIFTED, NORMAL = Exponential(), ShiftedExponential(1.0), TruncatedNormal(1.0, 0.25)
LAWS = {"Exp(1)": EXP, "1+Exp(1)": SHIFTED}
RULES: dict[str, Rule] = {
    "sync": FullySync(),
    "4-sync": KSync(K),
    "4-batch-sync": KBatchSync(K),
    "4-async": KAsync(K),
    "4-batch-async": KBatchAsync(K),
    "async": Async(),
}
SECONDS = {
    "sync": "Δ + H_P/μ",
    "4-sync": "Δ + (H_P−H_{P−K})/μ",
    "4-batch-sync": "K/(Pμ)",
    "4-async": "(H_P−H_{P−K})/μ",
    "4-batch-async": "K(Δ+1/μ)/P",
    "async": "(Δ+1/μ)/P",
}
SIMULATED = {"4-batch-sync": 1.630, "4-async": 1.240}
"""For 1 + Exp(1) no formula is known; these were simulated elsewhere, to three digits."""


@dataclass(frozen=True)
class Line:
    """One formula: what of, in words, and its value beside the measured one."""

    topic: str
    what: str
    words: str
    figure: Beside


def runs_of(rule: Rule, law: Law, learners: int, seed: int) -> list[ServerRun]:
    """Runs from several seeds, of about so many mini-batches each."""
    updates = MINI_BATCHES // max(learners, rule.gradients(learners))
    seeds = range(RUNS * seed, RUNS * (seed + 1))
    return [simulate_server(rule, law, learners, updates, seed=each) for each in seeds]


def seconds_of(runs: list[ServerRun]) -> tuple[float, float]:
    """The mean time between updates, and its standard error."""
    return settled_mean([np.diff(run.times, prepend=0.0) for run in runs])


def server_lines(seed: int) -> Iterator[Line]:
    """Times between updates, and how stale gradients are."""
    runs = {
        (name, law): runs_of(rule, LAWS[law], LEARNERS, seed)
        for law in LAWS
        for name, rule in RULES.items()
    }
    topic = f"seconds per update: P = {LEARNERS}, K = {K}"
    found = {key: seconds_of(each) for key, each in runs.items()}
    for (name, law), (mean, error) in found.items():
        words = SECONDS[name]
        known = formulas.seconds_per_update(RULES[name], LAWS[law], LEARNERS)
        if known is None:
            known, error, words = SIMULATED[name], hypot(error, 5e-4), "simulated elsewhere"
        yield Line(topic, f"{name}, {law}", words, Beside(known, mean, error=error))
    (sync, e), (free, f) = found["sync", "Exp(1)"], found["async", "Exp(1)"]
    ratio, spread = sync / free, hypot(e / sync, f / free)
    known = LEARNERS * formulas.harmonic(LEARNERS)
    yield Line(
        topic, "sync over async, Exp(1)", "P H_P", Beside(known, ratio, error=ratio * spread)
    )
    (sync, e), (free, f) = found["4-sync", "1+Exp(1)"], found["4-async", "1+Exp(1)"]
    gain = Beside(0.0, free - sync, True, hypot(e, f))
    yield Line(topic, "4-async − 4-sync, 1+Exp(1)", "less than 0", gain)

    topic = f"staleness: P = {LEARNERS}, K = {K}"
    for (name, law), each in runs.items():
        if "async" in name:
            words = "(P−K)/K" if name == "4-async" else "(P−1)/K"
            mean, error = settled_mean([run.staleness for run in each])
            known = formulas.mean_staleness(RULES[name], LEARNERS)
            yield Line(topic, f"{name}, {law}", words, Beside(known, mean, error=error))
    for n in (2, 10):
        rule = Softsync(n)
        mean, error = settled_mean([run.staleness for run in runs_of(rule, NORMAL, 30, seed)])
        known = formulas.mean_staleness(rule, 30)
        yield Line(
            topic, f"{n}-softsync, P = 30, normal", "n(P−1)/P", Beside(known, mean, error=error)
        )
    for name, words in (("4-async", "(K/P)(1−K/P)^s"), ("4-batch-async", "of ⌊(r+N)/K⌋")):
        shares = formulas.staleness_law(RULES[name], LEARNERS, 4)
        assert shares is not None
        for s, known in enumerate(shares):
            mean, error = settled_mean(
                [(run.staleness == s).astype(float) for run in runs[name, "Exp(1)"]]
            )
            yield Line(topic, f"{name}: P(τ = {s})", words, Beside(known, mean, error=error))


def descent_lines(seed: int) -> Iterator[Line]:
    """What noise and staleness do to SGD on c w²/2."""
    topic = "SGD: on c w²/2"
    for lr, curvature in ((0.1, 1.0), (0.5, 1.0), (0.5, 2.4)):
        settings = {"lr": lr, "curvature": curvature, "noise": 0.7}
        ways = [
            descend(KSync(3), EXP, 5, 4000, **settings, seed=RUNS * seed + each)
            for each in range(RUNS)
        ]
        mean, error = settled_mean([curvature * way**2 / 2 for way in ways])
        floor = formulas.error_floor(lr, curvature, 0.7**2 / 3)
        yield Line(
            topic,
            f"floor, η = {lr}, c = {curvature:g}",
            "η s²/(2(2−ηc))",
            Beside(floor, mean, error=error),
        )
    for staleness in (0, 15, 30):
        edge, error = measured_edge(staleness)
        yield Line(
            topic, f"largest stable ηc, τ = {staleness}", "2 sin(π/(2(2τ+1)))",
            Beside(formulas.stability_edge(staleness), edge, error=error),
        )  # fmt: skip
    stale = (0, 1, 2, 9)
    moved, constant = (0.0, 0.5, 1.0, 2.0), 0.5
    for by, words, known in (
        ("gradient", "α₀/max(1, τ)", sum(1 / max(1, each) for each in stale) / 4),
        ("mean", "α₀/max(1, mean τ)", 1 / 3),
        ("distance", "min(α₀, C/d²)", (1 + 1 + 1 / 2 + 1 / 8) / 4),
    ):
        setting = constant if by == "distance" else None
        weights = optim.StalenessAware(optim.SGD(0.1), by, setting).weights(stale, moved)
        reach = "d ≤ 2" if by == "distance" else "τ ≤ 9"
        yield Line(topic, f"rate by {by}, {reach}", words, Beside(known, float(np.mean(weights))))


def collective_lines(seed: int) -> Iterator[Line]:
    """Steps, messages and bytes of every collective."""
    ranks, size = 12, 27720 * 12
    topic = f"all-reduce: P = {ranks}, N = {size:,}"
    for row in collective_rows(ranks, 0.0, 1e6, size):
        figures = zip(("steps", "messages", "bytes"), row.words,
                      (row.steps, row.messages, row.sent), strict=True)  # fmt: skip
        for what, words, figure in figures:
            yield Line(topic, f"{row.algorithm}: {what}", words, figure)
    seconds = predicted_seconds(ring_all_reduce(ranks), size, 0.0, 1e6)
    bus = Beside(1e6, 2 * (ranks - 1) / ranks * size / seconds)
    yield Line(topic, "ring: bus bandwidth", "2(P−1)/P · N/t", bus)
    through = sum(bytes_sent(server_reduce(ranks), size, 1))
    total = Beside(costs.server_bytes(ranks, size), through)
    yield Line(topic, "server: bytes through it", "2N(P−1)", total)
    events = execute(torus_all_reduce(1088, shape=(32, 34)), count_messages)
    steps = Beside(128, max(event.stop for event in events))
    yield Line(topic, "torus of 32×34: steps", "2(X−1) + 2(Y−1)", steps)
    topic = f"other collectives: P = {ranks}, N = {size:,}"
    for name, make in COLLECTIVES.items():
        plan = make(ranks)
        counted = (check_barrier if name == "barrier" else check_collective)(plan)
        assert plan.cost is not None, name
        sent = Beside(max(plan.cost.sent(size)), max(bytes_sent(plan, size, 1)))
        yield Line(
            topic, f"{name}: steps", plan.cost.words[0], Beside(plan.cost.steps, counted.steps)
        )
        yield Line(topic, f"{name}: bytes", plan.cost.words[2], sent)
    for name, held in (
        ("reduce-scatter", size), ("all-gather", size), ("all-to-all", size // ranks)
    ):  # fmt: skip
        seconds = predicted_seconds(COLLECTIVES[name](ranks), size, 0.0, 1e6)
        bus = Beside(1e6, (ranks - 1) / ranks * held / seconds)
        words = "(P−1)/P · N/t" if held == size else "(P−1)/P · N/(Pt)"
        yield Line(topic, f"{name}: bus bandwidth", words, bus)


def pipeline_lines(seed: int) -> Iterator[Line]:
    """Bubble, makespan and activations of the schedules, a pass taking 1 either way."""
    p, m = 4, 8
    topic, ones = f"pipelines: p = {p}, m = {m}", [1.0] * p
    gpipe = check_pipeline(SCHEDULES["gpipe"](p, m), p, m)
    alone = check_pipeline(SCHEDULES["sequential"](p, m), p, m)
    bubble = Beside(costs.gpipe_bubble(p, m), gpipe.bubble)
    yield Line(topic, "gpipe: bubble", "(p−1)/(m+p−1)", bubble)
    span = Beside(costs.gpipe_makespan(ones, ones, m), gpipe.makespan)
    yield Line(topic, "gpipe: makespan", "(m+p−1)(f+b)", span)
    speedup = Beside(p * m / (m + p - 1), 2 * p * m / gpipe.makespan)
    yield Line(topic, "gpipe: ideal speedup", "pm/(m+p−1)", speedup)
    kept = Beside(max(costs.gpipe_in_flight(p, m)), max(gpipe.in_flight))
    yield Line(topic, "gpipe: in flight", "m", kept)
    bubble = Beside(costs.sequential_bubble(p), alone.bubble)
    yield Line(topic, "sequential: bubble", "(p−1)/p", bubble)
    span = Beside(costs.sequential_makespan(ones, ones, m), alone.makespan)
    yield Line(topic, "sequential: makespan", "m p (f+b)", span)


def batch_lines(seed: int) -> Iterator[Line]:
    """The linear scaling rule of Goyal et al. (2017), for 8192 images of 1.28 million."""
    topic, steps = "large batches: kn = 8192", 5 * (1_281_167 // 8192)
    schedule = optim.LinearScaling(8192, warmup_steps=steps)
    for what, words, known, step in (
        ("rate at first", "η", 0.1, 0),
        ("rate half-way", "(1+k) η/2", 0.1 * 33 / 2, steps // 2),
        ("rate after the warm-up", "k η", 3.2, steps),
    ):
        yield Line(topic, what, words, Beside(known, schedule(step)))


TOPICS: tuple[Callable[[int], Iterator[Line]], ...] = (
    server_lines, descent_lines, collective_lines, pipeline_lines, batch_lines,
)  # fmt: skip


def lines(seed: int) -> list[Line]:
    """Every formula with its measured value; equal seeds give equal lines."""
    return [line for topic in TOPICS for line in topic(seed)]


def run(seed: int, *, as_json: bool) -> bool:
    """Print all lines; whether every measured value is within its stated error."""
    from rich.table import Table

    found = lines(seed)
    out = [line for line in found if not line.figure.holds]
    if as_json:
        print_json(found)
        return not out
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(no_wrap=True)
    table.add_column("formula")
    for heading in ("expected", "measured", "agree"):
        table.add_column(heading, justify="right", no_wrap=True)
    topic = ""
    for line in found:
        if line.topic != topic:
            topic = line.topic
            table.add_row()
            name, _, setting = topic.partition(": ")
            table.add_row(f"[bold]{name}[/bold]", setting)
        figure = line.figure
        exact = "" if figure.error is not None or figure.at_most else "exact"
        verdict = exact or "yes" if figure.holds else "[red]NO[/red]"
        table.add_row(line.what, line.words, *figure.show(), verdict)
    print_table(
        "Formulas, and what is measured",
        table,
        f"{len(found) - len(out)} of {len(found)} agree: exactly, or where times or noise are "
        f"drawn within {SPREAD} of the standard errors behind ±. (Behind the largest stable rate "
        "stands how closely it was enclosed.) ≤ where the formula is a bound. Bytes are those of "
        "the busiest rank.",
    )
    return not out
