"""Checks of arguments, in one wording, so that equal values are treated alike everywhere.

A whole number is any integral type of Python or NumPy, a number any real one. ``True`` is
neither, and ``4.0`` is no whole number.
"""

from __future__ import annotations

import inspect
import os
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from math import inf, isfinite
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal, TypeVar

import numpy as np

from minidl.errors import InputError

LARGEST = 2**31 - 1
"""No count or size is greater: what is, is a mistake, and would never end or never fit."""
MANY = 2**16
"""Of what is made one by one (ranks, layers, chunks), nobody has more."""
Pair = tuple[int, int]
Checked = TypeVar("Checked", bound=Callable[..., Any])


def is_whole(value: object, least: float = -inf) -> bool:
    """Whether it is a whole number of at least `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def masked_in(values: Any) -> int:
    """How many numbers are masked, in arrays at any depth of lists, too, where NumPy forgets it."""
    if isinstance(values, np.ma.MaskedArray):
        return int(np.ma.getmaskarray(values).sum())
    if isinstance(values, np.ndarray) and values.dtype == object:
        values = values.ravel().tolist()
    if isinstance(values, list | tuple):
        return sum(masked_in(each) for each in values if not isinstance(each, int | float))
    return 0


def is_number(value: object) -> bool:
    """Whether it is a finite real number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an int beyond all floats
        return False


def whole(name: str, value: int, least: int = 1, most: float = LARGEST) -> int:
    """`value`, checked.

    Parameters
    ----------
    name
        What the value is, for the message: ``"Linear: out_features"``.
    value
        A whole number.
    least, most
        The smallest and the largest one allowed.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if not is_whole(value, least) or value > most:
        # A limit that nobody comes near is named only to those who do.
        named = most < MANY or (is_whole(value) and value > most)
        span = f"from {least} to {most}" if named else f"of at least {least}"
        raise InputError(f"{name} must be a whole number {span}, not {short(value)}")
    return int(value)


def pair(name: str, value: int | Pair, least: int = 1) -> Pair:
    """`value` for both axes of an image, checked; it may also be (vertical, horizontal).

    Parameters as for `whole`.
    """
    both = value if isinstance(value, list | tuple) else (value, value)
    counts = all(is_whole(size, least) for size in both)
    if len(both) != 2 or not counts or max(both) > LARGEST:
        beyond = f" and at most {LARGEST}" if counts else ""
        raise InputError(
            f"{name} must be a whole number of at least {least}{beyond}, or a pair of such, "
            f"not {short(value)}"
        )
    down, across = both
    return int(down), int(across)


def path(name: str, value: str | PathLike[str]) -> Path:
    """`value` as a path; an InputError if it is none, in which `name` says what it is."""
    text = os.fspath(value) if isinstance(value, str | PathLike) else ""
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"{name} must be a path, not {short(value)}")
    return Path(text)


def number(
    name: str, value: float, least: float = 0.0, below: float = inf, *, strict: bool = False
) -> float:
    """`value`, checked to be a finite number in a range.

    Parameters
    ----------
    name
        What the value is, for the message.
    value
        A real number.
    least, below
        It must be at least the first (above it, if `strict`) and below the second.
    strict
        Whether `least` itself is refused.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if not is_number(value) or not least <= value < below or (strict and value == least):
        low = f"greater than {least}" if strict else f"at least {least}"
        high = f" and less than {below}" if isfinite(below) else " and finite"
        raise InputError(f"{name} must be {low}{high}, not {short(value)}")
    return float(value)


def checked(made: Checked) -> Checked:
    """Refuse arguments that are not of the annotated types, for a function or a class.

    NumPy's whole numbers become Python's. Ranges are left to the body.

    >>> @checked
    ... def twice(count: int) -> int:
    ...     return 2 * count
    >>> twice("4")
    Traceback (most recent call last):
    minidl.errors.InputError: twice: count must be a whole number, not '4'

    Parameters
    ----------
    made
        A function, or a class whose ``__init__`` has the annotations.
    """
    if isinstance(made, type):
        made.__init__ = _checked(made.__init__, method=True)  # type: ignore[misc]
        return made
    return typing.cast(Checked, _checked(made))


def counted(made: Checked) -> Checked:
    """As `checked`, for a function whose whole numbers are all sizes and counts, at least 1."""
    return typing.cast(Checked, _checked(made, least=1))


@contextmanager
def naming(argument: str, kind: type[InputError] = InputError) -> Iterator[None]:
    """Put the name of an argument before the text of an error of this kind, raised within."""
    try:
        yield
    except kind as error:
        error.args = (f"{argument}: {error}",)
        raise


def _checked(
    function: Callable[..., Any], *, method: bool = False, least: float = -inf
) -> Callable[..., Any]:
    signature = inspect.signature(function)
    variadic = {p.name for p in signature.parameters.values() if p.kind is p.VAR_POSITIONAL}
    skipped = {p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD}

    @cache
    def hints() -> dict[str, Any]:
        return typing.get_type_hints(function)  # at the first call, when all names exist

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            given = signature.bind(*arguments, **named)
        except TypeError:
            return function(*arguments, **named)  # which says it in Python's usual words
        for argument, value in given.arguments.items():
            if argument in skipped or argument not in hints():
                continue
            hint = hints()[argument]
            each = value if argument in variadic else (value,)
            for one in each:
                if not fits(one, hint):
                    name = type(arguments[0]).__name__ if method else function.__name__
                    raise InputError(
                        f"{name}: {argument} must be {described(hint)}, not {short(one)}"
                    )
                if least > -inf and not fits(0.5, hint):
                    for number in one if isinstance(one, Sequence) else (one,):
                        if is_whole(number):
                            whole(f"{function.__name__}: {argument}", int(number), int(least))
            if isinstance(value, np.integer):
                given.arguments[argument] = int(value)
        return function(*given.args, **given.kwargs)

    return call


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of an annotated type; what cannot be decided is taken."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if hint == np.typing.DTypeLike:
        return _is_dtype(value)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in inner)
    if origin is Callable:
        return callable(value) and _takes(value, inner[0])
    if isinstance(origin, type):
        return _holds(value, origin, inner)
    if hint in (int, float):
        numeric = Integral if hint is int else Real
        return isinstance(value, numeric) and not isinstance(value, bool)
    if hint is bool:
        return isinstance(value, bool | np.bool_)
    if hint is np.ndarray:
        array = all(hasattr(value, name) for name in ("dtype", "shape", "ndim"))
        return array and not isinstance(value, np.generic) and not np.ma.isMA(value)
    if not isinstance(hint, type):
        return True
    if getattr(hint, "_is_protocol", False):  # one of your own may lack what is not asked for
        names = [n for n in vars(hint) if not n.startswith("_") and hasattr(value, n)]
        methods = (getattr(value, name) for name in names if callable(vars(hint)[name]))
        return not isinstance(value, type) and names != [] and all(map(callable, methods))
    return isinstance(value, hint)


def _takes(function: Callable[..., Any], arguments: Any) -> bool:
    """Whether a function can be called with so many arguments, as far as can be seen."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*(() if arguments is Ellipsis else arguments))
    except TypeError:
        return arguments is Ellipsis
    return True


def _holds(value: Any, kind: type, inner: tuple[Any, ...]) -> bool:
    """Whether a value is such a collection, and all in it is of the types annotated within."""
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and all(
            fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items()
        )
    if not issubclass(kind, Collection):
        return isinstance(value, kind)
    if isinstance(value, np.ndarray):
        if not value.ndim:
            return False  # which NumPy says is a collection, but nobody can walk through it
        value = tuple(value) if kind is Sequence else value
    among = isinstance(value, kind) or (issubclass(kind, Sequence) and isinstance(value, Sequence))
    if isinstance(value, str) or not among:
        return False
    if kind is tuple and inner[1:] != (...,):
        return len(value) == len(inner) and all(map(fits, value, inner))
    return all(fits(each, inner[0]) for each in value)


def _is_dtype(value: Any) -> bool:
    try:
        return not isinstance(value, np.generic | None) and np.dtype(value).kind in "fiu"
    except (TypeError, ValueError, SyntaxError):
        return False


WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a string",
    type(None): "None",
    np.ndarray: "an array",
    np.typing.DTypeLike: "a type of numbers",
    PathLike: "a path",
}


def described(hint: Any) -> str:
    """An annotated type in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in WORDS:
        return WORDS[hint]
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(described, inner)))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Callable:
        return "a function"
    if origin is tuple and inner[1:] != (...,):
        return f"({', '.join(map(described, inner))})"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping from {described(inner[0])} to {described(inner[1])}"
    if isinstance(origin, type) and issubclass(origin, Collection):
        return f"a sequence, each of it {described(inner[0])}"
    named = origin or hint
    if named in WORDS:
        return WORDS[named]
    title = getattr(named, "__name__", str(named))
    return f"{'an' if title[0] in 'AEIOU' else 'a'} {title}"
