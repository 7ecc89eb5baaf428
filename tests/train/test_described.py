"""Checkpoints tell optimizers apart by their class and their settings."""

from __future__ import annotations

import collections
import enum
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from cases import OPTIMIZERS, samples, trainer
from hypothesis import given
from hypothesis import strategies as st

from minidl import optim
from minidl.errors import CheckpointError, InputError
from minidl.train.described import described, shown


class Plain(optim.Optimizer):
    """A rule that is no dataclass, so that its text says nothing of it."""

    momentum = 0.5

    def __init__(self, rate: Any) -> None:
        self.rate = rate

    @cached_property
    def seen(self) -> int:
        """What it has found out is no setting."""
        return 1

    def step(self, values: Any, grads: Any, slots: Any, step: int) -> None:
        values -= 0.05 * self.seen * grads


class Heavier(Plain):
    """Another class, with another setting of its own."""

    momentum = 0.6


@dataclass(frozen=True)
class Silent(optim.Optimizer):
    """A rule whose settings are not in its text."""

    lr: float = field(default=0.05, repr=False)

    def step(self, values: Any, grads: Any, slots: Any, step: int) -> None:
        values -= self.lr * grads


class Slotted:
    """An object without attributes' dictionary."""

    __slots__ = ("rate",)

    def __init__(self, rate: float) -> None:
        self.rate = rate


def closure(rate: float) -> Callable[[int], float]:
    return lambda step: rate / (1 + step)


class Loop:
    """Holds itself."""

    def __init__(self, rate: float) -> None:
        self.rate, self.itself = rate, self


class Hidden:
    """Keeps its setting under a private name in a slot."""

    __slots__ = ("__rate",)

    def __init__(self, rate: float) -> None:
        self.__rate = rate


class Slower(Plain):
    """Has an object for a setting of the class."""

    schedule = optim.Cosine(0.1, 9)


class Faster(Plain):
    """Another one."""

    schedule = optim.Cosine(0.2, 9)


class Shape(enum.Enum):
    """Has so many members, each of which leads to all others, that no path may be walked twice."""

    A, B, C, D, E, F, G, H = range(1, 9)


class Named(tuple[Any, ...]):
    """A tuple with an attribute."""

    unit: str

    def __new__(cls, items: Any, unit: str) -> Any:
        made = super().__new__(cls, items)
        made.unit = unit
        return made


def nested(depth: int) -> Any:
    """A list that holds itself, or one that it is in."""
    outer: list[Any] = []
    inner: list[Any] = [outer] if depth else outer
    outer.append(inner)
    return outer


def made_with(rate: float) -> Callable[[int], float]:
    """What a cell of a notebook defines whose rate is a global."""
    cell: dict[str, Any] = {}
    exec(f"RATE = {rate}\ndef schedule(step):\n    return RATE / (1 + step)", cell)
    return cast(Callable[[int], float], cell["schedule"])


DIFFERENT: list[Any] = [
    *OPTIMIZERS.values(),
    optim.SGD(0.1),
    optim.SGD(0.1, momentum=0.5),
    optim.SGD(optim.Cosine(0.1, 10)),
    optim.SGD(optim.Cosine(0.1, 11)),
    optim.SGD(optim.Composed((optim.LinearWarmup(0.1, 5), optim.Cosine(0.1, 10)), (5,))),
    optim.SGD(optim.Composed((optim.LinearWarmup(0.1, 5), optim.Cosine(0.2, 10)), (5,))),
    optim.Clipped(optim.SGD(0.1), norm=1.0),
    optim.Clipped(optim.SGD(0.1), norm=2.0),
    optim.Clipped(optim.SGD(0.2), norm=1.0),
    optim.Groups(optim.SGD(0.1), ((("bias",), optim.SGD(0.2)),)),
    optim.Groups(optim.SGD(0.1), ((("bias",), optim.SGD(0.3)),)),
    *(Plain(rate) for rate in (0.1, 0.2, "0.1", None, [1, 2], [2, 1], {"a": 1}, {"a": 2})),
    *(Plain(make(rate)) for make in (Slotted, closure, Loop) for rate in (0.1, 0.2)),
    *(Plain(np.array(rates)) for rates in ([1.0, 2.0], [1.0, 3.0], [[1.0, 2.0]], [1, 2])),
    *(Plain(each) for each in (math.sin, math.cos, np.sin, partial(pow, 2), partial(pow, 3))),
    *(Plain(each) for each in (closure(0.1).__call__, optim.Cosine(0.3, 9).__call__, {1, 2}, {1})),
    Plain(lambda step: 0.1),
    Plain(lambda step: 0.3),
    Plain(math.inf),
    Plain(math.nan),
    *(Plain(collections.deque(items)) for items in ([1, 2], [1, 3])),
    *(Plain(nested(depth)) for depth in (0, 1)),
    *(Plain(Hidden(rate)) for rate in (0.1, 0.2)),
    *(Plain(kind(0.1)) for kind in (Slower, Faster)),
    *(Plain(each) for each in (Shape(1), Shape.B, np, math, 1j, 2j)),
    *(Plain(np.array([each, None])) for each in ("one", "two")),
    *(Plain(Named(("x",), unit)) for unit in ("s", "m")),
    *(Plain(made_with(rate)) for rate in (0.1, 0.2)),
    Plain(10**400),
    Heavier(0.1),
    Silent(0.1),
    Silent(0.2),
]


def stored(value: Any) -> Any:
    """What a file has of a value."""
    return json.loads(json.dumps(described(value), allow_nan=False))


@given(one=st.sampled_from(DIFFERENT), other=st.sampled_from(DIFFERENT))
def test_two_descriptions_are_equal_if_they_are_of_the_same(one: Any, other: Any) -> None:
    assert (stored(one) == described(other)) == (one is other)
    assert shown(described(one)).startswith(type(one).__name__)


def test_all_that_differ_are_told_apart() -> None:
    texts = [json.dumps(stored(each)) for each in DIFFERENT]
    assert [text for text in texts if texts.count(text) > 1] == []


@given(number=st.integers(-(2**53), 2**53))
def test_equal_numbers_are_the_same_setting(number: int) -> None:
    kinds: list[Any] = [number, float(number), Fraction(number), np.float64(number)]
    kinds += [np.int64(number)]
    assert all(stored(Plain(one)) == described(Plain(number)) for one in kinds)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2.0}, {"b": 2, "a": 1.0}),
        ({"a", "b", "c"}, {"c", "b", "a"}),
        (math.inf, np.float32(math.inf)),
        (True, np.True_),
        (np.arange(6)[::2], np.array([0, 2, 4])),
        (np.array(["one", None]), np.array(["".join("one"), None])),
        ([0.5] * 20_000, [0.5] * 20_000),
    ],
)
def test_equal_values_are_the_same_setting(one: Any, other: Any) -> None:
    assert stored(Plain(one)) == described(Plain(other))
    assert len(json.dumps(described(Plain(one)))) < 1 << 17


@pytest.mark.parametrize("deep", [True, False])
def test_what_is_no_setting_is_refused_in_words(deep: bool) -> None:
    value: Any = [0.5] * 200_000
    if deep:
        value = []
        for _ in range(5000):
            value = [value]
    with pytest.raises(InputError, match="nested too deeply" if deep else "more than 100,000"):
        described(Plain(value))


def test_what_a_rule_has_found_out_is_no_setting() -> None:
    used = Plain(0.1)
    assert used.seen == 1
    assert stored(used) == described(Plain(0.1))


@pytest.mark.parametrize(
    ("saved", "other"),
    [
        (optim.SGD(1.0), optim.SGD(0.5)),
        (Plain(0.1), Plain(0.2)),
        (Plain(0.1), Heavier(0.1)),
        (Silent(0.1), Silent(0.2)),
        (Plain(closure(0.1)), Plain(closure(0.2))),
        (optim.SGD(optim.Cosine(0.1, 9)).slowed(0.5), optim.SGD(optim.Cosine(0.1, 9)).slowed(0.25)),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_rule_is_refused_and_of_the_same_is_not(
    saved: optim.Optimizer, other: optim.Optimizer, tmp_path: Path
) -> None:
    made = trainer(optimizer=saved)
    made.fit(samples(), epochs=1, batch_size=8)
    made.save(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"was saved with optimizer \w+\(.* has \w+\("):
        trainer(optimizer=other).load(tmp_path / "run")
    again = trainer(optimizer=saved)
    again.load(tmp_path / "run")


def test_a_setting_may_be_a_classs() -> None:
    """In a script whose constant was changed between two runs."""

    def rule(rate: float) -> Any:
        return type("Rule", (Plain,), {"constant": rate})(0.1)

    assert stored(rule(0.5)) == described(rule(0.5)) != described(rule(0.25))


def test_the_issues_rates_are_one() -> None:
    assert stored(optim.SGD(1)) == described(optim.SGD(1.0))
    assert stored(optim.SGD(optim.Constant(0.1))) == described(optim.SGD(0.1))
