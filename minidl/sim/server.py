"""A parameter server in virtual time: who works on what, when, under any rule and law.

Nothing is computed but times, and messages take none. `server_events` says in order what
happens, so that a caller may compute real gradients at these moments: it keeps the weights
that a learner starts from, and needs their gradient only if it arrives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from minidl.checks import MANY, checked, whole
from minidl.errors import PlanError
from minidl.plans import Push, Rule
from minidl.plans.server import answer_of, require_unused
from minidl.reprs import brief
from minidl.sim.laws import Law


@dataclass(frozen=True, slots=True)
class Start:
    """A learner takes the weights of `push.version` and begins its mini-batch `push.number`."""

    time: float
    push: Push


@dataclass(frozen=True, slots=True)
class Arrive:
    """The mini-batch is done and its gradient is at the server."""

    time: float
    push: Push


@dataclass(frozen=True, slots=True)
class Apply:
    """The server makes an update with the mean of these gradients.

    Parameters
    ----------
    time
        In seconds.
    version
        Of the weights after the update.
    pushes
        In the order in which they are to be added.
    """

    time: float
    version: int
    pushes: tuple[Push, ...]

    __repr__ = brief


@dataclass(frozen=True, slots=True)
class Cancel:
    """A mini-batch comes to nothing: its learner is stopped, or its gradient is dropped."""

    time: float
    push: Push


PATIENCE = 1000
"""After how many gradients for each learner, none of them applied, a rule is taken to be wrong."""
Event = Start | Arrive | Apply | Cancel


@checked
def server_events(
    rule: Rule, law: Law, learners: int, *, seed: int = 0, first: int = 0
) -> Iterator[Event]:
    """What happens at a parameter server and its learners, in order and without end.

    All learners start at time 0. When a gradient arrives, its `Arrive` is followed by what
    the rule decides: `Apply`, then every `Cancel`, then every `Start`. Of gradients that
    arrive at the same moment, the one begun first comes first.

    Parameters
    ----------
    rule
        When the server updates.
    law
        How long the learners take.
    learners
        How many there are.
    seed
        What the times are drawn from; equal seeds give equal events.
    first
        Which of each learner's times is that of its first mini-batch, whose number is 0 anyhow.

    Raises
    ------
    InputError
        If the rule cannot serve so many learners.
    PlanError
        If the rule releases a learner at work, cancels an idle one, or leaves none at work, if
        it makes no update for very long, or if it uses a gradient that has not been pushed, or
        a second time; if `push` returns no `State` and `Decision`.
    """
    whole("server_events: learners", learners, most=MANY)
    whole("server_events: first", first, least=0)
    state = rule.start(learners)
    unused: set[Push] = set()
    seconds = [law.stream(seed, learner, first) for learner in range(learners)]
    numbers = [0] * learners
    working: list[Push | None] = [None] * learners
    queue: list[tuple[float, int, Push]] = []
    begun = since_update = 0

    def start(time: float, learner: int) -> Start:
        nonlocal begun
        if working[learner] is not None:
            raise PlanError(f"the rule releases learner {learner}, which is at work")
        push = Push(learner, state.version, numbers[learner])
        working[learner] = push
        numbers[learner] += 1
        heappush(queue, (time + next(seconds[learner]), begun, push))
        begun += 1
        return Start(time, push)

    for learner in range(learners):
        yield start(0.0, learner)
    while queue:
        time, _, push = heappop(queue)
        if working[push.learner] is not push:
            continue  # it was cancelled
        working[push.learner] = None
        yield Arrive(time, push)
        unused.add(push)
        state, decision = answer_of(rule, state, push)
        since_update = 0 if decision.apply else since_update + 1
        if since_update > PATIENCE * learners:
            raise PlanError(
                f"{type(rule).__name__}: no update after {since_update} gradients; the rule must "
                "apply some at last"
            )
        require_unused(decision, unused)
        unused.difference_update(decision.apply, decision.drop)
        if decision.apply:
            yield Apply(time, decision.version, decision.apply)
        for dropped in decision.drop:
            yield Cancel(time, dropped)
        for learner in decision.cancel:
            stopped = working[learner]
            if stopped is None:
                raise PlanError(f"the rule cancels learner {learner}, which is not at work")
            working[learner] = None
            yield Cancel(time, stopped)
        for learner in decision.release:
            yield start(time, learner)
    raise PlanError(f"no learner is at work, and update {state.version + 1} will never come")


APPLIED, CANCELLED, UNFINISHED = range(3)
"""What became of a mini-batch; unfinished is what no update had used when the run ended."""
WORK = np.dtype(
    [
        ("learner", "i4"),
        ("number", "i4"),
        ("version", "i4"),
        ("start", "f8"),
        ("stop", "f8"),
        ("fate", "u1"),
        ("update", "i4"),
    ]
)
"""One mini-batch, whose and which, the version of the weights it was computed from, seconds,
its fate, and the version that the update with its gradient made (-1 without one)."""


@dataclass(frozen=True)
class ServerRun:
    """A run of a parameter server in virtual time.

    Parameters
    ----------
    learners
        How many there were.
    times
        When each update was made, in seconds from the start.
    work
        Every mini-batch in the order in which they were begun, an array of dtype `WORK`.
    """

    learners: int
    times: np.ndarray
    work: np.ndarray

    __repr__ = brief

    @property
    def seconds_per_update(self) -> float:
        """The mean time between updates."""
        return float(self.times[-1]) / len(self.times)

    @property
    def staleness(self) -> np.ndarray:
        """How many updates each applied gradient had missed, update by update."""
        applied = self.work[self.work["fate"] == APPLIED]
        applied = applied[np.argsort(applied["update"], kind="stable")]
        return applied["update"] - 1 - applied["version"]

    @property
    def cancelled(self) -> int:
        """How many mini-batches came to nothing."""
        return int((self.work["fate"] == CANCELLED).sum())

    @property
    def wasted(self) -> float:
        """The share of the learners' working time that went into cancelled mini-batches."""
        seconds = self.work["stop"] - self.work["start"]
        whole = float(seconds.sum())
        return float(seconds[self.work["fate"] == CANCELLED].sum()) / whole if whole else 0.0


@checked
def simulate_server(
    rule: Rule, law: Law, learners: int, updates: int, *, seed: int = 0
) -> ServerRun:
    """Run a parameter server in virtual time until it has made so many updates.

    Parameters
    ----------
    rule
        When the server makes an update.
    law
        How long a mini-batch takes.
    learners
        How many there are.
    seed
        Decides how long each mini-batch takes.
    updates
        How many; at least 1.

    Raises
    ------
    InputError
        If `updates` is less than 1, or the rule cannot serve so many learners.
    """
    whole("simulate_server: updates", updates)
    times: list[float] = []
    starts: dict[Push, float] = {}
    stops: dict[Push, float] = {}
    ends: dict[Push, tuple[int, int]] = {}
    for event in server_events(rule, law, learners, seed=seed):
        if len(times) == updates and not isinstance(event, Cancel):
            break  # what the last update cancels still belongs to it
        match event:
            case Start():
                starts[event.push] = event.time
            case Arrive():
                stops[event.push] = event.time
            case Cancel():
                stops.setdefault(event.push, event.time)
                ends[event.push] = (CANCELLED, -1)
            case Apply():
                times.append(event.time)
                for push in event.pushes:
                    ends[push] = (APPLIED, event.version)
    rows = [
        (
            push.learner,
            push.number,
            push.version,
            start,
            stops.get(push, times[-1]),
            *ends.get(push, (UNFINISHED, -1)),
        )
        for push, start in starts.items()
    ]
    return ServerRun(learners, np.array(times), np.array(rows, WORK))
