"""Faults of every kind, at every kind of instruction, under every strategy: what becomes of a run.

In each run one rank is killed, stopped or made to raise, at a drawn moment: when it records its
n-th span of a kind (forward, send, wait, ...), makes its n-th report, asks the n-th time to be
heard, or simply after a while. The run is to end within the deadline by an error that names this
rank, or to go on without it where that was asked for, and to leave nothing behind.

Run it with ``python -m benchmarks.faults [--runs N] [--seed S]``.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import re
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from multiprocess import forkserver

from benchmarks.measure import machine
from minidl import nn, optim, plans, rng, sim
from minidl.errors import MinidlError
from minidl.runtime import Outcome, Processes, Runtime
from minidl.runtime.base import MakeProgram
from minidl.runtime.requests import (
    Launch,
    Lost,
    RankContext,
    RankProgram,
    Report,
    Requests,
)
from minidl.runtime.trace import BESIDE as EXCHANGES
from minidl.runtime.trace import KINDS
from minidl.strategy import (
    AllReduce,
    EpochDone,
    Float16,
    ParameterServer,
    Pipeline,
    Strategy,
    TopK,
)
from minidl.train import History, Trainer

T = TypeVar("T")
FAULTS = {"raise": 2, "SIGKILL": 2, "SIGSTOP": 1}
"""How often each is drawn: a stopped rank takes a whole deadline to be found out."""
TIMED = ("after a while", "at its end")
"""Moments that are no events of the program: some seconds after it began, or has returned."""
BESIDE = "beside the program"
ENDING = 0.004
"""Seconds, about, that a rank takes to tell its result."""
DEADLINE = 3.0
"""Seconds that a rank may be silent: a stopped one is found out after these."""
MARGIN = 20.0
"""Seconds over the deadline after which a run counts as hanging, on however busy a machine."""
STRAGGLER = sim.Exponential(1000.0)
RULES = (
    plans.FullySync(),
    plans.KSync(2),
    plans.KBatchSync(3),
    plans.Async(),
    plans.KAsync(2),
    plans.KBatchAsync(2),
    plans.Softsync(2),
)


BESIDE_BACKWARD = {
    "exact": {"overlap": True, "bucket_bytes": 64},
    "float16": {"overlap": True, "bucket_bytes": 64, "compression": Float16()},
    "largest": {"overlap": True, "bucket_bytes": 64, "compression": TopK(0.5)},
}
SHARDED = (plans.FullySync(), plans.KBatchSync(3), plans.KAsync(2))


@dataclass(frozen=True)
class Fault:
    """What happens to a rank, and when; it leaves the time of its striking in the file `flag`."""

    rank: int
    what: str
    moment: str
    number: float
    flag: Path

    def strike(self) -> None:
        """Let it happen, to this process."""
        self.flag.write_text(str(time.monotonic()))
        if self.what == "raise":
            raise ZeroDivisionError("struck")
        os.kill(os.getpid(), getattr(signal, self.what))

    def program(self, make: MakeProgram, context: RankContext) -> RankProgram:
        """The rank's program with the fault in it."""
        met: Counter[str] = Counter()
        add = context.trace.add

        def meet(moment: str) -> None:
            met[moment] += 1
            if moment == self.moment and met[moment] > self.number:
                self.strike()

        def adding(kind: str, start: float, stop: float, label: int = -1) -> None:
            add(kind, start, stop, label)
            meet(kind)

        def meeting(launched: Requests) -> Requests:
            for exchange in launched:
                meet(BESIDE)
                yield exchange

        context.trace.add = adding  # type: ignore[method-assign]
        timer = threading.Timer(self.number, self.strike)
        timer.daemon = True
        if self.moment == "after a while":
            timer.start()
        running = make(context)
        resume: Callable[[], Any] = partial(next, running)
        while True:
            try:
                request = resume()
            except StopIteration as stop:
                if self.moment == "at its end":
                    timer.start()
                return stop.value
            if isinstance(request, Launch):
                request = Launch(meeting(request.requests))
            if isinstance(request, Report):
                meet("heard" if request.heard else "report")
            try:
                resume = partial(running.send, (yield request))
            except Lost as lost:
                resume = partial(running.throw, lost)


class Sabotaged(Processes):
    """Processes, one of which may meet a fault; it counts the moments at which one could."""

    def __init__(self, fault: Fault | None = None) -> None:
        super().__init__(DEADLINE, slots=2, slot_bytes=64)
        self.fault = fault
        self.names: tuple[str, ...] = ()
        self.outcome: Outcome | None = None
        self.reports: dict[int, Counter[str]] = {}

    def launch(
        self,
        programs: Sequence[MakeProgram],
        *,
        listen: Callable[[int, Any], None],
        names: Sequence[str] | None = None,
        **settings: Any,
    ) -> Outcome:
        """As `Processes` do, with the fault."""
        self.names = tuple(names or ())
        self.reports = {rank: Counter() for rank in range(len(programs))}

        def counting(rank: int, event: Any) -> None:
            self.reports[rank]["heard" if isinstance(event, EpochDone) else "report"] += 1
            listen(rank, event)

        made = list(programs)
        if self.fault is not None:
            made[self.fault.rank] = partial(self.fault.program, made[self.fault.rank])
        self.outcome = super().launch(made, listen=counting, names=names, **settings)
        return self.outcome

    def moments(self) -> list[tuple[int, str, float]]:
        """Of each rank: when a fault may strike, and how often that came, or for how long."""
        assert self.outcome is not None
        found: list[tuple[int, str, float]] = []
        trace = self.outcome.trace
        rows = dict(zip(trace.names, trace.ranks, strict=True))
        for rank, name in enumerate(self.names):
            spans, beside = rows[name], rows.get(f"{name}{EXCHANGES}", [])
            counts = Counter(KINDS[kind] for kind in spans["kind"]) + self.reports[rank]
            # Each exchange of a ring has one small message.
            launched = sum(KINDS[kind] == "send" for kind in beside["kind"]) if len(beside) else 0
            counts += Counter({BESIDE: launched})
            found += [(rank, moment, count) for moment, count in sorted(counts.items())]
            seconds = np.ptp([*spans["start"], *spans["stop"]]) if len(spans) else 0.0
            found += [(rank, "after a while", float(seconds)), (rank, "at its end", ENDING)]
        return found


@dataclass(frozen=True)
class Case:
    """A strategy to be struck; it may go on without the rank if `continues`."""

    name: str
    make: Callable[[Runtime], Strategy]
    rule: plans.Rule | None = None
    continues: bool = False

    @property
    def group(self) -> str:
        """What it is counted with."""
        return self.name.partition(" ")[0]


def cases() -> dict[str, Case]:
    """Every server rule, with and without going on, every all-reduce, and the pipeline."""
    found = []
    for rule in RULES:
        name = type(rule).__name__
        found.append(Case(f"server {name}", partial(_server, rule, "raise"), rule))
        if not isinstance(rule, plans.FullySync):
            make = partial(_server, rule, "continue")
            found.append(Case(f"continue {name}", make, rule, continues=True))
    for algorithm in plans.ALL_REDUCES:
        found.append(Case(f"all-reduce {algorithm}", partial(_all_reduce, algorithm)))
    for name, settings in BESIDE_BACKWARD.items():
        found.append(Case(f"overlap {name}", partial(_all_reduce, "ring", **settings)))
    for rule in SHARDED:
        name = f"sharded {type(rule).__name__}"
        found.append(Case(name, partial(_server, rule, "raise", servers=2), rule))
    for schedule in plans.SCHEDULES:
        found.append(Case(f"pipeline {schedule}", partial(_pipeline, schedule)))
    return {case.name: case for case in found}


def _server(rule: plans.Rule, on_failure: Any, runtime: Runtime, servers: int = 1) -> Strategy:
    # Learners that come at unlike times, so that some are struck asleep, and some cancelled.
    return ParameterServer(
        3, rule, STRAGGLER, on_failure=on_failure, servers=servers, runtime=runtime
    )


def _all_reduce(algorithm: str, runtime: Runtime, **settings: Any) -> Strategy:
    return AllReduce(4, algorithm, **settings, runtime=runtime)


def _pipeline(schedule: Any, runtime: Runtime) -> Strategy:
    return Pipeline(3, micro_batches=3, schedule=schedule, runtime=runtime)


def fit(strategy: Strategy) -> History:
    """Two epochs of three global batches, with gradients that are larger than a channel."""
    numbers = rng.stream(0, "faults")
    x, y = numbers.normal(size=(24, 4)), numbers.integers(0, 3, 24)
    model = nn.Sequential(nn.Linear(6), nn.Tanh(), nn.Linear(5), nn.Tanh(), nn.Linear(3))
    trainer = Trainer(model, nn.CrossEntropy(), optim.SGD(0.05))
    return trainer.fit((x, y), epochs=2, batch_size=8, validation=(x, y), strategy=strategy)


@dataclass
class Result:
    """What became of one run.

    `wrong` says in words what was not as it should be; `late` is how many seconds after the
    fault the run ended.
    """

    case: Case
    fault: Fault
    struck: bool = False
    recorded: bool = False
    hung: bool = False
    segments: int = 0
    orphans: int = 0
    wrong: str = ""
    late: float = 0.0


@dataclass
class Sweep:
    """Draws faults from a seed, and strikes with them; strategies, faults and moments in turn.

    Only what strikes whom follows from the seed: when it can depends on an undisturbed run's spans.
    """

    seed: int
    chosen: Mapping[str, Case] = field(default_factory=cases)
    met: Counter[str] = field(default_factory=Counter)
    _moments: dict[str, list[tuple[int, str, float]]] = field(default_factory=dict)

    def run(self, runs: int) -> Iterator[Result]:
        """So many runs; all cases in turn."""
        drawn = random.Random(f"{self.seed} moments")
        chosen = _in_turn(self.chosen.values(), random.Random(f"{self.seed} cases"))
        faults = _in_turn(Counter(FAULTS).elements(), random.Random(f"{self.seed} faults"))
        with tempfile.TemporaryDirectory() as folder:
            for number, case, what in zip(range(runs), chosen, faults, strict=False):
                yield strike(case, self._draw(case, what, drawn, Path(folder) / str(number)))

    def _draw(self, case: Case, what: str, drawn: random.Random, flag: Path) -> Fault:
        """First a kind of moment, one of those an undisturbed run has that came up least often
        so far, or rare kinds would never come; then whose, and which."""
        if case.name not in self._moments:
            runtime = Sabotaged()
            fit(case.make(runtime))
            self._moments[case.name] = runtime.moments()
        found = [
            (rank, moment, count)
            for rank, moment, count in self._moments[case.name]
            if (rank or not case.continues) and not (what == "raise" and moment in TIMED)
        ]
        moments = sorted({moment for _, moment, _ in found})
        least = min(self.met[moment] for moment in moments)
        moment = drawn.choice([each for each in moments if self.met[each] == least])
        self.met[moment] += 1
        rank, _, count = drawn.choice([each for each in found if each[1] == moment])
        number = drawn.uniform(0, count) if moment in TIMED else drawn.randrange(int(count))
        return Fault(rank, what, moment, number, flag)


def _in_turn(items: Iterable[T], drawn: random.Random) -> Iterator[T]:
    """All of the items in a drawn order, again and again."""
    every = list(items)
    while True:
        yield from drawn.sample(every, len(every))


class Hang(BaseException):
    """The run did not end in time. Not an Exception, so that nobody takes it for the run's own."""


def strike(case: Case, fault: Fault) -> Result:
    """One run with one fault."""
    result, runtime = Result(case, fault), Sabotaged(fault)
    history, error = None, None
    try:
        with _time_limit(DEADLINE + MARGIN):
            history = fit(case.make(runtime))
    except Hang:
        result.hung = True
    except Exception as caught:
        error = caught
    ended = time.monotonic()
    result.struck = fault.flag.exists()
    if result.struck:
        result.late = ended - float(fault.flag.read_text() or ended)
    if not result.hung:
        result.wrong = _complaint(result, runtime, history, error)
        result.recorded = history is not None and bool(history.lost)
    del history, error, runtime
    result.segments, result.orphans = _left_behind()
    return result


def _complaint(
    result: Result, runtime: Sabotaged, history: History | None, error: Exception | None
) -> str:
    """What is wrong with how a run ended; nothing if it ended as it should."""
    fault, name = result.fault, runtime.names[result.fault.rank]
    words = {
        "raise": r"raised an exception; its traceback:\n(.|\n)*ZeroDivisionError: struck$",
        "SIGKILL": r"\(process \d+\) was killed by SIGKILL",
        "SIGSTOP": r"\(process \d+\) does not answer: .* its process is stopped by a signal",
    }[fault.what]
    if error is not None:
        named = isinstance(error, MinidlError) and re.match(f"{name} {words}", str(error))
        fine = result.struck and not result.case.continues and named
        return "" if fine else f"ended with {type(error).__name__}: {error}"
    assert history is not None
    # A rank that is killed or stopped when it has said its last word harms nobody.
    harmless = not result.struck or fault.moment in TIMED
    if not result.case.continues:
        return "" if harmless else "went on, as if nothing had happened"
    lost = [loss.learner for loss in history.lost]
    named = all(loss.why.startswith(f"{name} ") for loss in history.lost)
    if lost not in ([name] if result.struck else [], [] if harmless else [name]) or not named:
        return f"has lost {history.lost}"
    rule, fates = result.case.rule, runtime.outcome and runtime.outcome.results[0]
    assert rule is not None
    needed, updates = rule.gradients(3), len(history.steps)
    if updates != sum(record.steps for record in history.epochs) or len(history.epochs) != 2:
        return f"made {updates} updates in {len(history.epochs)} epochs"
    if {len(stale) for stale in history.staleness} != {needed} or not np.isfinite(
        history.losses
    ).all():
        return "made updates of other gradients than its rule says"
    if fates.applied != updates * needed:
        return f"applied {fates.applied} gradients in {updates} updates of {needed}"
    return ""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise Hang in this, the main thread, if the block takes longer."""

    def ring() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def answer(number: int, frame: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGUSR1, answer)
    timer = threading.Timer(seconds, ring)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, before)


def _left_behind(patience: float = 5.0) -> tuple[int, int]:
    """Segments that have a name or are still mapped, and workers that live, after a while."""
    until = time.monotonic() + patience
    while True:
        gc.collect()
        names = list(Path("/dev/shm").glob(f"minidl-{os.getpid()}-*"))
        mapped = [
            line for line in Path("/proc/self/maps").read_text().splitlines() if "/minidl-" in line
        ]
        workers = sum(_parent(entry) == _server_of_forks() for entry in Path("/proc").iterdir())
        if not (names or mapped or workers) or time.monotonic() > until:
            return len(names) + len(mapped), workers
        time.sleep(0.05)


def _server_of_forks() -> int:
    return int(forkserver._forkserver._forkserver_pid or -1)


def _parent(entry: Path) -> int | None:
    """The parent of a living process, by its entry in /proc."""
    try:
        state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return int(parent) if state not in "ZX" else None


def main() -> None:
    """Print what became of many runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ["MINIDL_KERNELS"] = "reference"  # they start at once; what they do is the same
    print(machine())
    results = []
    for result in Sweep(given.seed).run(given.runs):
        results.append(result)
        if result.hung or result.wrong:
            print(result.case.name, result.fault, "hung" if result.hung else result.wrong)
    columns = ("runs", "struck", "recorded", "hangs", "segments", "orphans", "misnamed", "slowest")
    print(f"{'':24}" + "".join(f"{column:>10}" for column in columns))
    ways: tuple[tuple[str, Callable[[Result], str]], ...] = (
        ("strategies", lambda result: result.case.group),
        ("faults", lambda result: result.fault.what),
        ("moments", lambda result: result.fault.moment),
        ("all", lambda result: "all"),
    )
    for title, way in ways:
        print(title)
        for name in dict.fromkeys(sorted(map(way, results))):
            print(f"  {name:22}" + _row([each for each in results if way(each) == name]))


def _row(results: Sequence[Result]) -> str:
    counts = [
        len(results),
        sum(each.struck for each in results),
        sum(each.recorded for each in results),
        sum(each.hung for each in results),
        sum(each.segments for each in results),
        sum(each.orphans for each in results),
        sum(bool(each.wrong) for each in results),
    ]
    slowest = max(each.late for each in results)
    return "".join(f"{count:10}" for count in counts) + f"{slowest:8.1f} s"


if __name__ == "__main__":
    main()
