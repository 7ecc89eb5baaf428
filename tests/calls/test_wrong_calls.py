"""Every public constructor and function refuses wrong arguments in words, and at once.

The law: a call with one argument replaced by a wrong value raises an error of minidl whose text
names that argument, or returns; never an error from within, never late.
"""

from __future__ import annotations

import inspect
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np
import pytest
import right_calls as calls
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from wrong_values import OwnError, annotations
from wrong_values import wrong as wrong_values

from minidl import nn, plans, sim
from minidl.checks import fits
from minidl.errors import (
    CheckpointError,
    DatasetNotFoundError,
    InputError,
    MinidlError,
    PlanError,
    UnknownNameError,
)
from minidl.strategy import AllReduce, ParameterServer, Pipeline, RingAllReduce, Serial

SECONDS = 1.0
pytestmark = pytest.mark.filterwarnings("ignore")
Place = tuple[str, inspect.Parameter, dict[str, Any]]
QUICK = settings(
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a walk through all arguments is no smaller for being shrunk
    suppress_health_check=list(HealthCheck),
)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise a TimeoutError in the block if it takes longer."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def call(made: Callable[..., Any], given: dict[str, Any]) -> Any:
    """The call; of what comes one by one, the first."""
    rest, several = dict(given), variadic(made)
    many = rest.pop(several, [])
    result = made(*(many if isinstance(many, list) else [many]), **rest)
    return next(result) if inspect.isgenerator(result) else result


@cache
def variadic(made: Callable[..., Any]) -> str:
    """What takes any number of arguments is called; empty if nothing does."""
    parameters = inspect.signature(made).parameters.values()
    return next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are written without need vanish."""
    monkeypatch.chdir(tmp_path)


PUBLIC = dict(calls.public())
FROM_DISK = ("fashion_mnist", "import_pytorch", "export_pytorch", "load")


PACKAGES = sorted({name.partition(".")[0] for name in PUBLIC})


@pytest.mark.parametrize("package", PACKAGES)
@settings(QUICK, max_examples=8)
@given(drawn=st.data())
def test_a_wrong_argument_is_an_error_of_minidl(package: str, drawn: st.DataObject) -> None:
    refuses(package, drawn)


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
@settings(QUICK, derandomize=False, max_examples=100)
@given(drawn=st.data())
def test_many_wrong_arguments_are_errors_of_minidl(package: str, drawn: st.DataObject) -> None:
    refuses(package, drawn)


def refuses(package: str, drawn: st.DataObject) -> None:
    """Draw a wrong value for every argument of everything public in a package."""
    raw, count = list[str](), 0
    places, values = arguments(package)
    for (name, argument, right), wrong in zip(places, drawn.draw(values), strict=True):
        count += 1
        try:
            with within(SECONDS), np.errstate(all="ignore"):
                call(PUBLIC[name], {**right, argument.name: wrong})
        except OwnError:
            pass  # of a function given to it
        except Exception as error:
            if not is_named(argument, error, name, wrong):
                raw.append(f"{name}({argument.name}={short(wrong)}): {error!r:.300}")
    assert count > 2
    assert not raw, f"{len(raw)} of {count}:\n" + "\n".join(raw)


@cache
def arguments(package: str) -> tuple[list[Place], st.SearchStrategy[tuple[Any, ...]]]:
    """Each argument in a package, with the right call that it is part of; wrong values for all."""
    found, values = list[Place](), list[st.SearchStrategy[Any]]()
    for name, made in PUBLIC.items():
        if name.partition(".")[0] != package:
            continue
        right, hints = calls.call_of(name, made), annotations(made)
        if not name.endswith(FROM_DISK):
            call(made, right)  # which also compiles what is needed
        for argument in inspect.signature(made).parameters.values():
            if argument.kind is not argument.VAR_KEYWORD:
                found.append((name, argument, right))
                values.append(wrong_values(hints[argument.name]))
    return found, st.tuples(*values)


def is_named(argument: inspect.Parameter, error: Exception, name: str, wrong: Any) -> bool:
    """Whether it is an error of minidl that says which argument is wrong."""
    if isinstance(error, DatasetNotFoundError) or (
        isinstance(error, PlanError) and ".check" in name
    ):
        return True  # nothing is wrong with an argument but that the plan, or the disk, is another
    if isinstance(error, CheckpointError) and str(wrong) in str(error):
        return True  # the file itself is wrong
    if isinstance(error, UnknownNameError) and argument.name == "name":
        return True
    said = rf"\b{argument.name}\b"
    if argument.kind is argument.VAR_POSITIONAL:
        said += r"|\bargument \d"
    return isinstance(error, MinidlError) and re.search(said, str(error)) is not None


COUNTS = {
    "Linear": lambda count: nn.Linear(count),
    "Conv2d": lambda count: nn.Conv2d(count, 3),
    "AllReduce": lambda count: AllReduce(count),
    "RingAllReduce": lambda count: RingAllReduce(count),
    "ParameterServer": lambda count: ParameterServer(count),
    "Pipeline": lambda count: Pipeline(count),
    "Serial": lambda count: Serial(count),
    "ring_all_reduce": lambda count: plans.ring_all_reduce(count),
    "KAsync": lambda count: plans.KAsync(count).start(9),
    "simulate_server": lambda count: sim.simulate_server(plans.Async(), sim.Constant(1), 2, count),
    "split": lambda count: plans.split(9, count),
    "initialise": lambda count: nn.Linear(2).initialise((count,)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_whole_numbers_are_the_same_everywhere(name: str) -> None:
    make = COUNTS[name]
    for count in (4, np.int64(4), np.uint8(4)):
        with within(SECONDS):
            make(count)
    for wrong in (True, np.True_, 4.0, np.float32(4), "4", None):
        with within(SECONDS), pytest.raises(InputError):
            make(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda runtime: AllReduce(2, runtime=runtime),
        lambda runtime: ParameterServer(2, runtime=runtime),
        lambda runtime: Pipeline(2, runtime=runtime),
        lambda runtime: Serial(runtime=runtime),
    ],
)
def test_a_runtime_is_a_runtime(make: Callable[[Any], object]) -> None:
    with pytest.raises(InputError, match="runtime must be a Runtime .*, not 'processes'"):
        make("processes")


class Lazy:
    """A rule of one's own that never updates, or answers something else."""

    waits, cancels = False, False

    def __init__(self, answer: Any = ...) -> None:
        self.answer = answer

    def start(self, learners: int) -> plans.State:
        return plans.State(learners)

    def push(self, state: plans.State, learner: int, version: int, number: int = 0) -> Any:
        if self.answer is ...:
            return state, plans.Decision(0, release=(learner,))
        return self.answer

    def gradients(self, learners: int) -> int:
        return 1


def test_a_rule_that_never_updates_ends() -> None:
    with within(5), pytest.raises(PlanError, match="Lazy: no update after 2001 gradients"):
        sim.simulate_server(Lazy(), sim.Constant(1.0), 2, 1)


NAMED = [(3,), (None,), ((1, 2, 3, 4),), 3, None]
"""What names no gradients."""


@pytest.mark.parametrize(
    "answer",
    [
        None,
        3,
        (plans.State(2),),
        (None, None),
        *((plans.State(2), plans.Decision(0, apply=named)) for named in NAMED),
    ],
)
def test_a_rule_returns_a_state_and_a_decision(answer: Any) -> None:
    with pytest.raises(PlanError, match="Lazy: push must return a State and a Decision, .*, not"):
        sim.simulate_server(Lazy(answer), sim.Constant(1.0), 2, 1)


@pytest.mark.parametrize("times", [None, "soon", 1.0, [1.0], [[1.0] * 64], ["a"] * 64])
def test_a_law_gives_an_array_of_times(times: Any) -> None:
    class Own(sim.Law):
        def quantile(self, u: np.ndarray) -> Any:
            return times

    with pytest.raises(InputError, match="Own: 64 numbers are needed"):
        sim.simulate_server(plans.Async(), Own(), 2, 1)


def test_a_law_may_give_a_list() -> None:
    class Listed(sim.Law):
        def quantile(self, u: np.ndarray) -> Any:
            return [2.0] * len(u)

    run = sim.simulate_server(plans.Async(), Listed(), 2, 4)
    np.testing.assert_array_equal(run.times, [2, 2, 4, 4])


@pytest.mark.parametrize(
    ("value", "hint", "right"),
    [
        (3, int, True), (np.uint8(3), int, True), (True, int, False), (3.0, int, False),
        (3, float, True), (True, float, False), (np.True_, bool, True), (1, bool, False),
        ([1, 2], tuple[int, ...], True), ([1, 2.5], tuple[int, ...], False),
        ((1, 2, 3), tuple[int, int], False), ("ab", tuple[str, ...], False),
        ({"a": 1}, dict[str, int], True), ({1: 1}, dict[str, int], False),
        (None, int | None, True), ("f4", np.typing.DTypeLike, True),
        ("x", np.typing.DTypeLike, False), (int, Callable[[int], int], True),
        (plans.Async, plans.Rule, False), (plans.Async(), plans.Rule, True),
    ],
)  # fmt: skip
def test_what_fits_an_annotation(value: Any, hint: Any, right: bool) -> None:
    assert fits(value, hint) is right
