"""Wrong values for an argument, drawn by Hypothesis from its annotation.

Half of them are of the annotated kind and at its edges (a whole number below zero or beyond all
bounds, an array without an axis, a path with a null byte), half are of any other kind.
"""

from __future__ import annotations

import datetime
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy


class OwnError(Exception):
    """Raised by what a user hands in; passed on as it is."""


def raises(*_: Any, **__: Any) -> Any:
    raise OwnError("on purpose")


class NoAxes:
    """It has a shape and a type, as an array has, and nothing else."""

    shape, dtype = (2,), np.dtype("f4")


class NoArray:
    """NumPy asks it for an array, and it fails."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise ZeroDivisionError("division by zero")


class Walk:
    """Three numbers one by one, as a generator gives them."""

    at = 0

    def __iter__(self) -> Walk:
        return self

    def __next__(self) -> int:
        self.at = (self.at + 1) % 4
        if not self.at:
            raise StopIteration  # and from the start again, for the next call
        return self.at


class Odd:
    """Its length is negative, it cannot be compared."""

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return -1

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")


WHOLES = (
    0, -1, True, 2**40, 2**63, 10**400, -(10**400), np.int64(4), np.uint8(0), np.bool_(True), 4.0,
    np.float32(4),
)  # fmt: skip
NUMBERS = (
    0.0, -0.5, 1.5, float("nan"), float("inf"), -float("inf"), 1e308, 5e-324, 1j, Fraction(1, 3),
    Decimal("0.1"), np.float32("nan"), np.datetime64("2020"), *WHOLES,
)  # fmt: skip
STRINGS = ("", "x", "é", "\0", "a" * 5000, b"x", bytearray(b"ab"), np.str_("x"))
PATHS = (*STRINGS, ".", Path("."), Path("a\0b"), Path("a" * 5000))
ARRAYS = (
    np.array(7), np.array(0.5), np.zeros(0), np.array([1, 2]), np.zeros((2, 2, 2, 2)),
    np.array([np.nan]), np.array([None, 1]), np.array(["a"]), np.array([1j]), np.array([True]),
    np.array([1], ">f8"), np.ma.masked_array([1, 2], [True, False]), np.array([2**62]),
    [[1], [1, 2]], [], NoAxes(), NoArray(),
)  # fmt: skip
FUNCTIONS = (lambda: None, lambda *_, **__: None, lambda *_: 3, int, raises)
ODD = (
    None, object(), Ellipsis, NotImplemented, Odd(), np.ma.masked, slice(3), range(3), [], {},
    (), set(), frozenset({1}), {"x": 1}, [[]], (1, "a"), [None], (-1,), (1.5,), [*range(1, 10)],
    Walk(), dict, type("Own", (), {}), datetime.date(2020, 1, 1), np.random.default_rng(0),
)  # fmt: skip

KINDS = (*NUMBERS, *STRINGS, *ARRAYS, *FUNCTIONS, *ODD)
ANY: SearchStrategy[Any] = st.sampled_from(KINDS)


@cache
def wrong(hint: Any) -> SearchStrategy[Any]:
    """Values that are wrong, or at the edge, for an argument of this annotation."""
    if values := atoms(hint):  # as many of these as of all others; one draw is a quick one
        return st.sampled_from((*values * (len(KINDS) // len(values)), *KINDS))
    own = near(hint)
    return ANY if own is None else own | ANY


def atoms(hint: Any) -> tuple[Any, ...]:
    """Values of an annotated kind that has no parts."""
    origin = typing.get_origin(hint)
    return next((v for kind, v in ATOMS.items() if hint == kind or origin is kind), ())


def near(hint: Any) -> SearchStrategy[Any] | None:
    """Values of the annotated kind, or all but; None for a kind of one's own."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if values := atoms(hint):
        return st.sampled_from(values)
    if origin is Literal:
        return st.sampled_from([*(str(each).upper() for each in inner), *STRINGS])
    if origin in (typing.Union, types.UnionType):
        found = [each for each in map(near, inner) if each is not None]
        return st.one_of(found) if found else None
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(st.sampled_from(["a", 0, -1]), wrong(inner[1]), max_size=2)
    if isinstance(origin, type) and issubclass(origin, Collection) and inner:
        some = st.lists(near(inner[0]) or ANY, max_size=3)
        return some if origin is list else some.map(tuple) | some.map(iter)
    return st.just(hint) if isinstance(hint, type) else None


ATOMS: dict[Any, tuple[Any, ...]] = {
    int: WHOLES,
    float: NUMBERS,
    bool: (0, 1, 2, "yes", np.bool_(True), np.array([True, False])),
    str: STRINGS,
    Path: PATHS,
    PathLike: PATHS,
    Callable: FUNCTIONS,
    np.ndarray: ARRAYS,
    np.typing.DTypeLike: ("f4", "x", "O", "complex64", bool, np.float16, "M8[s]", np.dtype("V3")),
}


def annotations(made: Callable[..., Any]) -> dict[str, Any]:
    """The annotation of each argument; Any for those that have none."""
    known: dict[str, Any] = {}
    for each in inspect.getmro(made) if isinstance(made, type) else ():
        known = vars(inspect.getmodule(each)) | known  # of fields that are inherited
    hints = typing.get_type_hints(made.__init__ if isinstance(made, type) else made, known or None)
    return {name: hints.get(name, Any) for name in inspect.signature(made).parameters}
