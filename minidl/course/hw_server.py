"""The checks of exercise hw_server.

Rules are told of drawn orders of arrival. What they decide is held to minidl's own rules,
and to the conservation of gradients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import index
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import data, kernels, nn, optim, sim, strategy
from minidl.course.checks import Check, agree, judge, parts
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError
from minidl.plans import Decision, FullySync, KAsync, KBatchSync, Push, Rule, State
from minidl.train import Trainer

FILE, NAMES = "server.py", ("KBatchSync", "KAsync")
SYNC, ASYNC = NAMES
FIELDS = ("drop", "apply", "cancel", "release", "version")
"""Of a decision, in the order in which they are compared."""


def answers(
    module: ModuleType, name: str, k: int, learners: int, pushes: Sequence[Sequence[int]]
) -> list[Any]:
    """A probe: what the rule decides on each gradient, and which ones wait in the end.

    A decision is told as its `FIELDS`.
    """
    rule = getattr(module, name)(k)
    state = rule.start(learners)
    decisions = []
    first: Any = None
    for push in pushes:
        kept = _state(state)
        after, found = _answer(rule.push(state, *push))
        if _state(state) != kept:
            raise ExerciseError(
                f"push changes the state that it is given, which was\n  {kept}\nand is\n  "
                f"{_state(state)}\n\nHint: make a new one, or use dataclasses.replace"
            )
        if _answer(rule.push(state, *push))[1] != found:
            raise ExerciseError(
                "push answers differently when asked again: it is to change nothing, neither "
                "`state` nor anything outside"
            )
        state = after
        decisions.append(found[:-1])
        first = first or found
    if pushes and _answer(rule.push(rule.start(learners), *pushes[0]))[1] != first:
        raise ExerciseError(
            "push answers differently when a state comes again that was there before: all it may "
            "know is in `state`"
        )
    return [decisions, _told(state.waiting)]


def _answer(result: Any) -> tuple[State, list[Any]]:
    """What push returned: the state, and the decision in words, with those of the state."""
    state, decision = parts(result, "state, decision")
    if not isinstance(state, State) or not isinstance(decision, Decision):
        raise ExerciseError(f"should return a State and a Decision, not {result!r:.200}")
    gradients = [_told(decision.drop), _told(decision.apply)]
    who = [sorted(map(index, decision.cancel)), sorted(map(index, decision.release))]
    return state, [*gradients, *who, index(decision.version), _state(state)]


def _state(state: State) -> list[Any]:
    """A state as numbers."""
    return [index(state.version), _told(state.waiting), sorted(map(index, state.idle))]


def _told(gradients: Iterable[Any]) -> list[list[int]]:
    """Gradients as numbers."""
    told = []
    for each in gradients:
        if not isinstance(each, tuple) or len(each) not in (2, 3):
            raise ExerciseError(f"gradients are named as Push(learner, version), not as {each!r}")
        told.append([*map(index, Push(*each))])
    return told


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's two rules."""
    return judge(student, CHECKS)


@dataclass(frozen=True)
class _Run:
    """Gradients in the order in which they arrive at a rule that is right, and its decisions."""

    learners: int
    pushes: list[Push]
    decisions: list[Decision]

    def told(self, last: int) -> str:
        """The story up to a gradient, to be read."""
        lines = [
            f"  learner {push.learner} pushes its gradient {push.number}, of version {push.version}"
            for push in self.pushes[: last + 1]
        ]
        many = "s" * (self.learners != 1)
        return "\n".join([f"given {self.learners} learner{many}, and when", *lines, ""])


def _run(rule: Rule, learners: int, order: Sequence[int], *, late: bool) -> _Run:
    """A run in which `order` says who is next, of the learners at work and of late gradients.

    Without `late`, whoever is cancelled hears of it in time.
    """
    state = rule.start(learners)
    run = _Run(learners, [], [])
    working = {learner: Push(learner, 0, 0) for learner in range(learners)}
    begun = dict.fromkeys(range(learners), 1)
    on_their_way: list[Push] = []
    for choice in order:
        possible = [*sorted(working.values()), *on_their_way]
        push = possible[choice % len(possible)]
        if push in on_their_way:
            on_their_way.remove(push)
        else:
            del working[push.learner]
        state, decision = rule.push(state, *push)
        run.pushes.append(push)
        run.decisions.append(decision)
        for learner in decision.cancel:
            stopped = working.pop(learner)
            on_their_way += [stopped] if late else []
        for learner in decision.release:
            working[learner] = Push(learner, state.version, begun[learner])
            begun[learner] += 1
    return run


HINTS = {
    "version": "it counts the updates, this one included; so does that of the state",
    "cancel": "only an update of K-batch-sync stops anybody: all who are at work at that moment",
    "release": "who has nothing to do now, and is not to wait for the update?",
    "drop": "what is dropped was computed from weights that are not the newest any more",
}


def _apply_hint(k: int, value: Sequence[Push], wanted: Sequence[Push], push: Push) -> str:
    """What may help where other gradients are applied than should be."""
    if value and not wanted:
        return f"K is {k}: only with as many gradients there is an update"
    if not value:
        return f"K is {k}: with this gradient there are as many, whosesoever they are"
    if [each[:2] for each in value] == [each[:2] for each in wanted]:
        return "a learner may have pushed several: each is a Push(learner, version, number)"
    if len(value) == len(wanted):
        return "a gradient keeps the version that it was computed from, as `push` was told it"
    return "with the K-th gradient all that were kept are applied, and nothing is kept of them"


def _hint(name: str, field: str, push: Push, decision: Decision) -> str:
    """What may help with a field of this decision."""
    if decision.drop and field == "version":
        return "this is the version of the server's weights, whatever that of the gradient is"
    if decision.drop and field in ("release", "cancel", "apply"):
        return (
            f"this gradient comes too late and is only dropped: learner {push.learner} was stopped "
            f"and released when the update was made, and works on a newer mini-batch by now"
        )
    if name == SYNC and field == "release":
        if decision.apply:
            return (
                "after an update everybody goes on from the new weights: who has just pushed, and "
                "who was stopped"
            )
        return "who has pushed goes on at once, from the same weights; nobody else begins anew"
    if name == ASYNC and field == "release":
        if decision.apply:
            return (
                "the K learners that have waited go on; the others have never stopped, and go on "
                "with what they have begun"
            )
        return "who has pushed waits for the update; nobody is released before it"
    if name == ASYNC and field in ("drop", "cancel"):
        return "K-async stops nobody, and uses every gradient, however old its weights are"
    return HINTS[field]


def _hold(
    student: Student,
    name: str,
    k: int,
    run: _Run,
    fields: Sequence[str] = FIELDS,
    numbers: bool = True,
) -> None:
    """Compare these fields of a student's decisions with what they should be, one by one."""
    found = _ask(student, name, k, run)[0]
    for place, (theirs, decision) in enumerate(zip(found, run.decisions, strict=True)):
        for field, value in zip(FIELDS, theirs, strict=True):
            if field not in fields:
                continue
            wanted: Any = getattr(decision, field)
            right = False
            if field in ("apply", "drop"):
                value = tuple(sorted(Push(*push) for push in value))
                right = not numbers and _unnumbered(value) == _unnumbered(wanted)
            elif field != "version":
                value = tuple(value)
            if right or value == wanted:
                continue
            push = run.pushes[place]
            hint = _hint(name, field, push, decision) if field != "apply" or decision.drop else ""
            hint = hint or _apply_hint(k, value, wanted, push)
            raise _wrong(run, place, field, value, wanted, hint)


def _unnumbered(gradients: Sequence[Push]) -> list[tuple[int, int]]:
    return sorted((push.learner, push.version) for push in gradients)


def _wrong(
    run: _Run, place: int, field: str, value: object, wanted: object, hint: str
) -> ExerciseError:
    return ExerciseError(
        f"{run.told(place)}\n{field} is {value}\nand should be {wanted}\n\nHint: {hint}"
    )


def _obeyed(student: Student, name: str, k: int, run: _Run) -> None:
    """Compare whom a rule stops and releases with what suits its own updates."""
    everyone, idle, updates = set(range(run.learners)), set[int](), 0
    for place, (drop, apply, cancel, release, version) in enumerate(_ask(student, name, k, run)[0]):
        push = run.pushes[place]
        idle.add(push.learner)
        stopped, released = set[int](), set[int]()
        if apply:
            updates += 1
            released, idle = everyone if name == SYNC else idle, set()
            stopped = everyone - {push.learner} if name == SYNC else stopped
        elif name == SYNC and not drop:
            released = {push.learner}
        decision = Decision(version, apply=tuple(Push(*each) for each in apply), drop=tuple(drop))
        for field, value, wanted in (
            ("cancel", cancel, sorted(stopped)), ("release", release, sorted(released)),
        ):  # fmt: skip
            if value != wanted:
                hint = _hint(name, field, push, decision)
                raise _wrong(run, place, field, tuple(value), tuple(wanted), hint)
    if not updates and sum(bool(decision.apply) for decision in run.decisions) > 1:
        hint = f"K is {k}, and there are two updates in this story"
        raise _wrong(run, len(run.pushes), "the number of updates", 0, 2, hint)


def _ask(student: Student, name: str, k: int, run: _Run) -> Any:
    pushes = [list(push) for push in run.pushes]
    return student.ask("answers", name, k, run.learners, pushes, call=f"{name}.push")


def _first_update(student: Student, rule: str, k: int, learners: int, order: list[int]) -> None:
    run = _run(_minidls(rule, k), learners, order, late=False)
    last = next((n for n, each in enumerate(run.decisions, 1) if each.apply), None)
    until = _Run(learners, run.pushes[:last], run.decisions[:last])
    _hold(student, rule, k, until, ("version", "apply"), numbers=False)


def _minidls(rule: str, k: int) -> Rule:
    return KBatchSync(k) if rule == SYNC else KAsync(k)


def _sync_first(student: Student, k: int, learners: int, order: list[int]) -> None:
    _first_update(student, SYNC, k, learners, order)


def _sync_updates(student: Student, k: int, spare: int, order: list[int]) -> None:
    run = _run(KBatchSync(k), k + spare, order, late=False)
    _hold(student, SYNC, k, run, ("version", "apply"))


def _sync_learners(student: Student, k: int, spare: int, order: list[int]) -> None:
    _obeyed(student, SYNC, k, _run(KBatchSync(k), k + spare, order, late=False))


def _sync_late(student: Student, k: int, spare: int, order: list[int]) -> None:
    _hold(student, SYNC, k, _run(KBatchSync(k), k + spare, order, late=True), numbers=False)


def _async_first(student: Student, k: int, spare: int, order: list[int]) -> None:
    _first_update(student, ASYNC, k, k + spare, order)


def _async_updates(student: Student, k: int, spare: int, order: list[int]) -> None:
    run = _run(KAsync(k), k + spare, order, late=False)
    _hold(student, ASYNC, k, run, ("version", "apply"))


def _async_learners(student: Student, k: int, spare: int, order: list[int]) -> None:
    _obeyed(student, ASYNC, k, _run(KAsync(k), k + spare, order, late=False))


def _fully_sync(student: Student, k: int, order: list[int]) -> None:
    _hold(student, ASYNC, k, _run(FullySync(), k, order, late=False), numbers=False)


def trained(module: ModuleType, name: str, k: int) -> list[Any]:
    """A probe: a run in virtual time with a student's rule, as `_train` has it."""
    with kernels.using("reference"):
        return _train(getattr(module, name)(k))


def beside(module: ModuleType, name: str, k: int) -> list[Any]:
    """A probe: what a rule decides on each of K pushes, alone and then not.

    Beside it a rule of another K is at work then, with other learners.
    """
    told = []
    for others in (False, True):
        rule = getattr(module, name)(k)
        state, decisions = rule.start(k), []
        for learner in range(k):
            if others:
                other = getattr(module, name)(k + 1)
                other.push(other.start(k + 1), 0, 0, 0)
            state, found = _answer(rule.push(state, learner, 0, 0))
            decisions.append(found[:-1])
        told.append(decisions)
    return told


def _train(rule: Rule) -> list[Any]:
    """The staleness of each gradient, and all weights, after a run with 4 learners."""
    generator = np.random.default_rng(0)
    points = data.Dataset(generator.normal(size=(32, 3)), generator.integers(0, 2, 32))
    model = nn.Sequential(nn.Linear(4), nn.Tanh(), nn.Linear(2))
    trainer = Trainer(model, nn.CrossEntropy(), optim.SGD(0.1), seed=0, dtype="float64")
    how = strategy.ParameterServer(4, rule, straggler=sim.Exponential(1.0))
    history = trainer.fit(
        points, epochs=2, batch_size=8, progress=False, strategy=how, clock="virtual"
    )
    return [[sorted(step) for step in history.staleness], [*trainer.weights().values()]]


def _trains(student: Student, rule: str, k: int) -> None:
    alone, together = student.ask("beside", rule, k, call=f"{rule}.push")
    for learner, (one, two) in enumerate(zip(alone, together, strict=True)):
        if one != two:
            decided = " and\n  ".join(
                str(dict(zip(FIELDS, each, strict=True))) for each in (one, two)
            )
            raise ExerciseError(
                f"of {k} learners, when learner {learner} pushes after those before it, "
                f"{rule}({k}) decides\n  {decided}\nbeside another rule, of "
                f"{k + 1} and as many learners\n\n"
                f"Hint: what a rule is told belongs to its own object or to `state`, not to the "
                f"class or a global"
            )
    staleness, weights = student.ask("trained", rule, k, call=f"a run with {rule}({k})")
    right = _train(_minidls(rule, k))
    given = f"with 4 learners in virtual time, a run with {rule}({k})"
    if len(staleness) != len(right[0]):
        raise ExerciseError(
            f"{given} makes {len(staleness)} updates and should make {len(right[0])}\n\nHint: does "
            f"every update take K gradients? And is the method `gradients` as it was?"
        )
    for number, (found, wanted) in enumerate(zip(staleness, right[0], strict=True), 1):
        if found != wanted:
            raise ExerciseError(
                f"the gradients of update {number}, {given[len('with ') :]}, have missed {found} "
                f"updates and should have missed {wanted}"
            )
    if not all(map(agree, weights, right[1])):
        raise ExerciseError(f"{given} ends with other weights than with minidl's rule")


def _conserved(student: Student, rule: str, k: int, spare: int, order: list[int]) -> None:
    """Count where each gradient went, whatever should have been decided."""
    run = _run(_minidls(rule, k), k + spare, order, late=True)
    decisions, waiting = _ask(student, rule, k, run)
    ends = Counter(Push(*push) for push in waiting)
    for drop, apply, *_ in decisions:
        ends += Counter(Push(*push) for push in [*apply, *drop])
    for push in sorted({*run.pushes, *ends}):
        if ends[push] != (push in run.pushes):
            raise ExerciseError(
                f"{run.told(len(run.pushes))}\n{push} has been applied, dropped or kept in "
                f"waiting {ends[push]} times\n\nHint: each gradient that is pushed ends in one "
                f"place, once; in waiting it is only until it is applied"
            )


choice = st.integers(0, 7)
long = st.lists(choice, min_size=20, max_size=30)
SHORT = {"order": st.lists(choice, min_size=1, max_size=12)}
ORDER = {"order": SHORT["order"] | long}
MANY = {"k": st.integers(1, 5), "learners": st.sampled_from([1, 2, 3, 4, 8, 12])}
SPARE = {"k": st.integers(1, 3), "spare": st.integers(0, 3)}
ANY_SPARE = SPARE | {"spare": st.integers(0, 9)}
CHECKS = (
    Check("K-batch-sync: the first K gradients make an update", 12, MANY | SHORT, _sync_first),
    Check("K-batch-sync: so do the next K, of the new weights", 8, SPARE | ORDER, _sync_updates),
    Check("K-batch-sync: whom an update stops, and who goes on", 15, ANY_SPARE | SHORT,
          _sync_learners),
    Check("K-batch-sync: what comes too late is dropped", 10, SPARE | SHORT, _sync_late),
    Check("K-async: the first K learners' gradients make an update", 12, SPARE | ORDER,
          _async_first),
    Check("K-async: so do the next K, however old", 8, SPARE | ORDER, _async_updates),
    Check("K-async: who waits, and who goes on", 10, ANY_SPARE | SHORT, _async_learners),
    Check("K-async with K = P is fully synchronous", 10, {"k": st.integers(1, 4)} | SHORT,
          _fully_sync),
    Check("each gradient is applied or dropped exactly once", 10,
          {"rule": st.sampled_from([ASYNC, SYNC])} | SPARE | ORDER, _conserved),
    Check("at work with four learners", 5,
          {"rule": st.sampled_from([SYNC, ASYNC]), "k": st.integers(1, 4)}, _trains),
)  # fmt: skip
"""100 points."""
