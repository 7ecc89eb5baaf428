"""Short representations: what an object is made of, on one line, in a notebook or a message."""

from __future__ import annotations

import dataclasses
import inspect
import reprlib
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

LONGEST = 300
"""Characters of the longest representation; the rest is cut off."""
MOST_LINES = 20
"""Of the longest representation that has several; what is in the middle is left out."""
MOST_ROWS, MOST_COLUMNS = 40, 12
"""Of the largest table in a notebook; what is in the middle is left out."""


LOOKALIKES = str.maketrans(
    "×·→←─━│┃█░▒▓•≥≤−–—‘’“”»«⌈⌉⌊⌋ΣτΔ✗✓…",
    "x*><--||#..%*><---''\"\"><[][]StdXv.",
)
"""For a terminal without Unicode; of one letter each, so that columns stay columns."""


def plain(text: str) -> str:
    """The text in ASCII, with what looks like each letter that is not."""
    letters = (unicodedata.normalize("NFKD", letter)[0] for letter in text.translate(LOOKALIKES))
    return "".join(letter if letter.isascii() else "?" for letter in letters)


def printable(text: str) -> str:
    """The text, as it is where standard output can show it, otherwise in ASCII."""
    encoding = getattr(sys.stdout, "encoding", None)
    if text.isascii() or not encoding:
        return text
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return plain(text)
    return text


class _Short(reprlib.Repr):
    """Values within a representation: arrays by their shape, functions by their name."""

    def __init__(self) -> None:
        super().__init__()
        self.maxtuple = self.maxlist = self.maxdict = self.maxset = self.maxfrozenset = 4
        self.maxstring = self.maxlong = 60
        self.maxother = 120
        self.maxlevel = 3

    def repr_ndarray(self, x: Any, level: int) -> str:
        return f"<{x.dtype.name} array of shape {x.shape}>"

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, Callable) and hasattr(x, "__name__"):  # type: ignore[arg-type]
            return str(x.__name__)
        if x.__class__.__repr__ == object.__repr__:
            return type(x).__name__
        return " ".join(super().repr_instance(x, level).split())

    repr_function = repr_type = repr_builtin_function_or_method = repr_instance


short = _Short().repr
"""The representation of a value within that of an object."""


ALWAYS = {"shown": "always"}
"""Metadata of a dataclass's field that says what the object is, the default included."""


def settings(thing: Any) -> Iterator[tuple[str, Any]]:
    """What an object was made with and is not the default, or is a field that is `ALWAYS` shown.

    Parameters
    ----------
    thing
        A dataclass's instance, or one whose class keeps its constructor's arguments
        as attributes of the same names. Arguments that are not kept are left out.
    """
    fields = (
        {each.name: each for each in dataclasses.fields(thing)}
        if dataclasses.is_dataclass(thing)
        else None
    )
    parameters = inspect.signature(type(thing)).parameters
    slots = not hasattr(thing, "__dict__")
    values = {name: getattr(thing, name) for name in parameters} if slots else vars(thing)
    for name, parameter in parameters.items():
        # `bias` says whether there is one, and then it is the name of the parameter itself.
        kept = values.get(f"has_{name}", values.get(name, parameter.default))
        if kept is parameter.empty:
            continue
        value, default = kept, parameter.default
        if fields is not None:
            field = fields.get(name)
            if field is None or not field.repr:
                continue
            if field.metadata.get("shown") == "always":
                default = parameter.empty
            elif field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
        if str(parameter.annotation).startswith("int |"):
            while isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
                value = value[0]  # one number for both axes
        if not _same(value, default):
            yield name, value


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))


def call(thing: Any, *first: str) -> str:
    """``Type(first, name=value, ...)``, cut off where it gets too long."""
    told = (*first, *(f"{name}={short(value)}" for name, value in settings(thing)))
    text = f"{type(thing).__name__}({', '.join(told)})"
    return printable(text if len(text) <= LONGEST else f"{text[: LONGEST - 2]}…)")


def first_and_last(text: str, where: str) -> str:
    """The text, of too many lines only the first and the last ones.

    Parameters
    ----------
    text
        Lines, each short enough.
    where
        What shows the others.
    """
    lines = text.split("\n")
    if len(lines) <= MOST_LINES:
        return text
    first, last = lines[: MOST_LINES // 2], lines[1 - MOST_LINES + MOST_LINES // 2 :]
    gap = f"  … {len(lines) - len(first) - len(last)} lines left out: {where}"
    return "\n".join((*first, printable(gap), *last))


@reprlib.recursive_repr()
def brief(self: Any) -> str:
    """A `__repr__` for classes: the call that makes such an object, without its defaults."""
    return call(self)


def html_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for notebooks, as `_repr_html_` gives it.

    Parameters
    ----------
    caption
        What stands above it.
    heads
        The columns' names.
    rows
        The cells' texts; each row has one for each column.
    """
    head, *body = (
        "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in _ends(row, MOST_COLUMNS, "…"))
        for tag, row in (("th", heads), *(("td", row) for row in rows))
    )
    lines = "".join(f"<tr>{line}</tr>" for line in _ends(body, MOST_ROWS, "<td>…</td>"))
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _ends(items: Sequence[str], most: int, gap: str) -> Sequence[str]:
    """The first and the last of too many."""
    return items if len(items) <= most else [*items[: most // 2], gap, *items[-(most // 2) :]]
