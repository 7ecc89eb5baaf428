"""The checks of exercise hw_overlap.

Buckets are held to the laws that make them, launches to those of one and of two ranks.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import inf
from operator import index
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import data, kernels, nn, optim, plans, strategy
from minidl.course.checks import Check, agree, entries, in_any_order, judge
from minidl.course.habits import refuse_change
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError
from minidl.runtime import Virtual
from minidl.train import Trainer

FILE, NAMES = "overlap.py", ("buckets", "Launches")
CUT, LAUNCHES = NAMES
NAMED = ("d", "b", "db", "f", "a", "e", "c", "h")
"""Names of parameters, in no order of the alphabet; some begin like others."""
LARGER = 40
"""Parameters of a larger network, which is tried once."""
Cut = list[list[str]]
unseen = itertools.count(1)
"""Makes names that the student's process has not met."""


def cut(module: ModuleType, names: Sequence[str], sizes: Sequence[int], least: float) -> Cut:
    """A probe: the buckets for parameters of these names and sizes."""
    return _cut(module, dict(zip(names, sizes, strict=True)), least)


def _cut(module: ModuleType, given: dict[str, int], least: float) -> Cut:
    names = [*given]
    return _read(module.buckets(given, least), names)


def _read(result: Any, names: Sequence[str]) -> Cut:
    """What `buckets` returned, as lists of some of these names."""
    wanted = "should return a list of lists of names"
    found = [in_any_order(bucket, wanted) for bucket in entries(result, wanted)]
    for name in (name for bucket in found for name in bucket):
        if name not in names:
            raise ExerciseError(
                f"{wanted}; {name!r} is none of {names}. Is it kept from an earlier call?"
            )
    return found


def habits(module: ModuleType, names: Sequence[str], sizes: Sequence[int], least: float) -> None:
    """A probe: raises if a call changes what it is given, or knows of other calls."""
    sized = dict(zip(names, sizes, strict=True))
    given = dict(sized)
    found = _cut(module, given, least)
    refuse_change("sizes", sized, given)
    new = {name: f"{name}_{next(unseen)}" for name in names}
    alike = _cut(module, {new[name]: size for name, size in sized.items()}, least)
    again = _cut(module, given, least)
    held = module.buckets(given, least)
    _cut(module, dict(list(given.items())[1:]), least)
    for other, which in (
        (again, "when it is asked again"),
        (_read(held, names), "which, once other sizes have been asked for, is"),
        (alike, "for parameters of the same sizes whose names are new"),
    ):
        if [{new.get(name, name) for name in bucket} for bucket in found] != [
            {new.get(name, name) for name in bucket} for bucket in other
        ]:
            raise ExerciseError(
                f"for sizes = {sized} and least = {least} gives {found}, and {which} {other}: keep "
                f"nothing from call to call, in a global, on the function or in an argument's "
                f"default"
            )


def trained(module: ModuleType, x: Any, labels: Any, least: int) -> list[Any]:
    """A probe: the weights after some steps on two ranks, in the student's buckets."""
    with kernels.using("reference"):
        return _train(plans.Bucketing(module.buckets, module.Launches), x, labels, least)


def _train(bucketing: plans.Bucketing, x: Any, labels: Any, least: int) -> list[Any]:
    """All weights after some steps, on two ranks that send while they compute."""
    model = nn.Sequential(nn.Linear(6), nn.BatchNorm(), nn.ReLU(), nn.Linear(5), nn.Linear(3))
    trainer = Trainer(model, nn.CrossEntropy(), optim.SGD(0.1), seed=0, dtype="float64")
    how = strategy.AllReduce(
        2, bucket_bytes=8 * least, overlap=True, bucketing=bucketing, runtime=Virtual("unlimited")
    )
    trainer.fit(data.Dataset(x, labels), epochs=2, batch_size=8, progress=False, strategy=how)
    return [*trainer.weights().values()]


def launches(
    module: ModuleType, buckets: Sequence[Sequence[str]], orders: Sequence[Sequence[str]]
) -> list[Any]:
    """A probe: what ranks launch, call by call, each of which completes gradients in its order."""
    given = [[*names] for names in buckets]
    ranks = []
    for _ in orders:
        ranks.append(module.Launches(given))
        if len(orders) > 1:
            refuse_change("buckets", [[*names] for names in buckets], given)
    told: list[list[Any]] = [[] for _ in orders]
    for names in zip(*orders, strict=True):
        for rank, name, found in zip(ranks, names, told, strict=True):
            numbers = entries(rank.filled(name), "filled should return a list of numbers")
            found.append([index(number) for number in numbers])
    if len(ranks) > 1:
        refuse_change("buckets", [[*names] for names in buckets], given)
    return told


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's buckets and launches."""
    return judge(student, CHECKS)


def _wrong(given: str, what: str, hint: str) -> ExerciseError:
    return ExerciseError(f"given {given}\n{what}\n\nHint: {hint}")


CutLaw = Callable[[Cut, dict[str, int], float], tuple[str, str] | None]
"""What is wrong with a cut, and a hint; None if nothing is."""


NONE_AT_ALL = ("there should be one at least", "the last bucket may hold less than `least`")


def _of_cut(law: CutLaw) -> Callable[..., None]:
    def prove(student: Student, sizes: list[int], names: list[str], least: float) -> None:
        named = dict(zip(names, sizes, strict=False))
        found = student.ask("cut", [*named], sizes, least, call=CUT)
        wrong = law(found, named, least) if found or not any(sizes) else NONE_AT_ALL
        if wrong:
            raise _wrong(f"sizes = {named}, least = {least}, the buckets are {found}", *wrong)

    return prove


def _exactly_once(found: Cut, sizes: dict[str, int], least: float) -> tuple[str, str] | None:
    times = Counter(name for names in found for name in names)
    for name in sizes:
        if times[name] != 1:
            hint = "a parameter without numbers is one too, and the last bucket need not be full"
            return f"{name} is in {times[name]} buckets and should be in exactly one", hint
    for names in found:
        if not names:
            hint = "begin a bucket when there is something to put into it"
            return "one of them is empty", hint
        places = sorted([*sizes].index(name) for name in names)
        if places != [*range(places[0], places[-1] + 1)]:
            hint = "a bucket is one piece of the vector of all gradients"
            return f"{names} are not neighbours", hint
    return None


def _last_first(found: Cut, sizes: dict[str, int], least: float) -> tuple[str, str] | None:
    for number, names in enumerate(found):
        later = [name for others in found[number + 1 :] for name in others]
        if names and later:
            first, last = min(names, key=[*sizes].index), max(later, key=[*sizes].index)
            if [*sizes].index(last) > [*sizes].index(first):
                hint = (
                    "the backward pass completes the last parameters first: the last of the "
                    "dictionary `sizes`, in its order; names have no order of their own"
                )
                return f"{last} is in a later bucket than {first}", hint
    return None


def _just_full(found: Cut, sizes: dict[str, int], least: float) -> tuple[str, str] | None:
    for number, names in enumerate(found):
        held = sum(sizes[name] for name in names)
        if held < least and number + 1 < len(found):
            hint = (
                "a bucket takes parameters until it holds `least` numbers, even if the next one "
                "is large. `least` may be a fraction, or infinite: don't round it"
            )
            return f"bucket {number} is not the last one and holds only {held}", hint
        first = min(names, key=[*sizes].index, default="")
        if len(names) > 1 and held - sizes[first] >= least:
            hint = "a bucket is full as soon as it holds `least`, be it exactly"
            return f"bucket {number} holds {held} and is full without {first}", hint
    return None


def _independent(student: Student, sizes: list[int], names: list[str], least: float) -> None:
    student.ask("habits", names[: len(sizes)], sizes, least, call=CUT)


def _buckets(held: Sequence[int]) -> Cut:
    """So many parameters in each, from the last one on."""
    names = [*NAMED[: sum(held)]]
    return [[names.pop() for _ in range(many)] for many in held]


def _ask(student: Student, held: Sequence[int], *orders: Iterable[str]) -> tuple[str, Any, Any]:
    """The buckets as they are told, each rank's order, and what it launches at each call."""
    buckets = _buckets(held)
    used = [name for names in buckets for name in names]
    kept = [[name for name in order if name in used] for order in orders]
    told = student.ask("launches", buckets, kept, call=LAUNCHES)
    return f"buckets = {buckets}", kept, told


def _when(given: str, names: Sequence[str], call: int) -> str:
    return f"{given}, when the gradients of {', '.join(names[: call + 1])} are complete"


def _complete(student: Student, held: list[int], order: list[str]) -> None:
    given, (names,), (told,) = _ask(student, held, order)
    buckets, launched = _buckets(held), set()
    for call, numbers in enumerate(told):
        when = _when(given, names, call)
        for number in numbers:
            if not 0 <= number < len(buckets):
                raise _wrong(when, f"bucket {number} is launched, which is none", COUNTED)
            missing = sorted({*buckets[number]} - {*names[: call + 1]})
            if missing:
                what = f"bucket {number} is launched, but {missing[0]} is not complete"
                hint = (
                    "what is sent now lacks what is still to be added: wait for the last gradient "
                    "of a bucket, whichever that is. Each pass begins anew"
                )
                raise _wrong(when, what, hint)
            if number in launched:
                hint = "name a bucket when it is to be launched now, not again"
                raise _wrong(when, f"bucket {number} is launched once more", hint)
            launched.add(number)
    left = [number for number in range(len(buckets)) if number not in launched]
    if names and left:
        when = _when(given, names, len(names))
        hint = "when the last gradient is complete, nothing may be left"
        raise _wrong(when, f"bucket {left[0]} has never been launched", hint)


def _soon(student: Student, held: list[int], order: list[str]) -> None:
    given, (names,), (told,) = _ask(student, held, order)
    launched: set[int] = set()
    for call, numbers in enumerate(told):
        launched.update(numbers)
        for number, bucket in enumerate(_buckets(held)):
            if not {*bucket} <= {*names[: call + 1]}:
                break
            if number not in launched:
                what = f"bucket {number} is not launched, though it and all before it are filled"
                hint = (
                    "a bucket waits for its own gradients and for the buckets before it, for "
                    "nothing else; and one call may launch several"
                )
                if not all(_buckets(held)):
                    hint = (
                        "a bucket without parameters is filled from the beginning, waits only for "
                        "the buckets before it, and has its number; and one call may launch several"
                    )
                raise _wrong(_when(given, names, call), what, hint)


def _one_order(student: Student, held: list[int], one: list[str], other: list[str]) -> None:
    given, orders, told = _ask(student, held, one, other)
    found = [[number for numbers in calls for number in numbers] for calls in told]
    lines = [
        f"  rank {rank} launches {numbers}, if its gradients are complete in the order "
        f"{', '.join(names)}"
        for rank, (names, numbers) in enumerate(zip(orders, found, strict=True))
    ]
    what = "\n".join(lines)
    # What is launched too late, or once more, or not at all is for the other checks to say.
    first, second = ([*dict.fromkeys(numbers)] for numbers in found)
    if any(ours != theirs for ours, theirs in zip(first, second, strict=False)):
        hint = "a bucket waits for those before it; and each rank has its own object"
        raise _wrong(given, what, hint)
    for numbers in (first, second):
        if orders[0] and numbers != [*range(max(1, len(numbers)))]:
            raise _wrong(given, what, COUNTED)
    # What one rank alone launches at the wrong time, the other checks say, too.
    for rank, names in enumerate(orders):
        (alone,) = student.ask("launches", _buckets(held), [names], call=LAUNCHES)
        if told[rank] != alone:
            raise _wrong(
                f"{given}, of which rank {rank} completes {', '.join(names)}",
                f"it launches {alone}, call by call, and {told[rank]} beside another rank",
                "what a rank still waits for belongs to its own object: keep it in self, not in "
                "the class, a global or an argument's default",
            )


def _trains(student: Student, least: int) -> None:
    generator = np.random.default_rng(0)
    names = [f"p{number}" for number in range(LARGER)]
    found = student.ask("cut", names, [1] * LARGER, inf, call=CUT)
    # What is wrong with few names as well has cost its points before.
    if len(NAMED) < max(map(len, found), default=0) < LARGER:
        hint = "a bucket is full when it holds `least` numbers, however many names it has"
        raise _wrong(
            f"{LARGER} parameters of one number and least = inf, the buckets are {found}",
            "all should be in one",
            hint,
        )
    x, labels = generator.normal(size=(24, 4)), generator.integers(0, 3, 24)
    found = student.ask("trained", x, labels, least, call="training on two ranks")
    if not all(map(agree, found, _train(plans.Bucketing(), x, labels, least))):
        raise ExerciseError(
            f"after 6 steps on two ranks that send buckets of {least} numbers or more while they "
            f"compute, a network has other weights than with minidl's buckets\n\nHint: a bucket "
            f"that leaves before all its gradients are complete takes along an unfinished sum"
        )


COUNTED = (
    "buckets are numbered from 0, in the order of the list, and each has its turn; each rank has "
    "an object of its own"
)
SIZES = {
    "sizes": st.lists(st.integers(0, 6), max_size=6)
    | st.lists(st.sampled_from([0, 1, 20, 300]), min_size=7, max_size=8),
    "names": st.permutations(NAMED),
    "least": st.integers(1, 12) | st.just(1000),
}
ANY_LEAST = {"least": SIZES["least"] | st.sampled_from([0.5, 2.5, inf])}
HELD = {"held": st.lists(st.integers(1, 2), max_size=4)}
HELD_OR_EMPTY = {"held": st.lists(st.integers(0, 2), max_size=4)}
ORDER = st.permutations(NAMED[::-1])
AT_WORK = {"least": st.sampled_from([1, 20, 10_000])}
CHECKS = (
    Check("each parameter is in exactly one bucket, neighbours together", 10, SIZES,
          _of_cut(_exactly_once)),
    Check("the last parameters come first", 10, SIZES, _of_cut(_last_first)),
    Check("a bucket holds `least`, and no parameter more than needed", 20, SIZES | ANY_LEAST,
          _of_cut(_just_full)),
    Check("`sizes` is left as it is, and no call knows of another", 10, SIZES, _independent),
    Check("each bucket is launched once, and only when it is complete", 20,
          HELD | {"order": ORDER}, _complete),
    Check("each bucket is launched as soon as it may be", 10, HELD_OR_EMPTY | {"order": ORDER},
          _soon),
    Check("all ranks launch in the same order", 15, HELD | {"one": ORDER, "other": ORDER},
          _one_order),
    Check("at work on two ranks", 5, AT_WORK, _trains),
)  # fmt: skip
"""100 points."""
