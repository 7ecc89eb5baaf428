"""Dates as people write them, and as ISO 8601 does: a task for `models.seq2seq`, made from a seed.

Nothing here is ambiguous. Between slashes the month comes first (5/3/98), between dots the day
(3.5.98), and a year of four digits may come first of all, the month after it. Years run from
1969 to 2068: those that two digits tell apart by the rule of POSIX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import inf
from string import ascii_letters, digits

import numpy as np

from minidl import rng
from minidl.checks import checked, whole
from minidl.data.dataset import Dataset
from minidl.errors import InputError
from minidl.reprs import brief

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

FORMATS = (
    "{d} {month} {year}",  # 3 May 1998
    "{nth} of {month} {year}",  # 3rd of May 1998
    "the {nth} of {month}, {year}",
    "{month} {d}, {year}",
    "{month} {nth}, {year}",
    "{month} {d}, {yy}",  # May 3, 98
    "{mon} {d} '{yy}",
    "{d}-{mon}-{yy}",  # 3-May-98
    "{dd} {mon} {year}",
    "{weekday}, {d} {month} {year}",  # Sunday, 3 May 1998
    "{weekday}, {month} {nth} {year}",
    "{wd}, {dd} {mon} {year}",
    "{wd} {mon} {d} {year}",
    "{d}.{m}.{yy}",  # 3.5.98
    "{dd}.{mm}.{year}",
    "{d}. {month} {year}",
    "{mm}/{dd}/{year}",  # 05/03/1998
    "{m}/{d}/{yy}",
    "{year}/{m}/{d}",
    "{year} {month} {d}",
)
"""How a date can be written; `write` says what stands for what."""

FIRST, LAST = date(1969, 1, 1), date(2068, 12, 31)

PADDING, START, END = 0, 1, 2
"""The tokens that are no characters; they fill a text up, come before it, and come after it."""


@dataclass(frozen=True)
class Alphabet:
    """Characters by their numbers, which start behind those of `PADDING`, `START` and `END`.

    Parameters
    ----------
    characters
        All there are, each once.
    """

    characters: str

    __repr__ = brief

    def __len__(self) -> int:
        return END + 1 + len(self.characters)

    def encode(self, text: str, steps: int) -> list[int]:
        """The characters' numbers, filled up with `PADDING`.

        Raises
        ------
        InputError
            If a character is not of this alphabet, or there are more than `steps`.
        """
        if len(text) > steps or not set(text) <= set(self.characters):
            raise InputError(
                f"{text!r} cannot be encoded: at most {steps} characters "
                f"of {self.characters!r} can be"
            )
        numbers = [END + 1 + self.characters.index(character) for character in text]
        return numbers + [PADDING] * (steps - len(text))

    def decode(self, numbers: Sequence[int] | np.ndarray) -> str:
        """The text up to the first `END`; `PADDING` and `START` are left out."""
        text = ""
        for number in numbers:
            if number == END:
                break
            if number > END:
                text += self.characters[number - END - 1]
        return text


WRITTEN = Alphabet(ascii_letters + digits + " ,./-'")
"""Of the texts to read."""
ISO = Alphabet(digits + "-")
"""Of the texts to write."""

SOURCE_STEPS = len("Wednesday, September 23rd 1998")
"""The longest text that `write` can make."""
TARGET_STEPS = len("1998-05-03") + 1
"""An ISO date and its end."""


def write(day: date, form: str) -> str:
    """A date in one of the `FORMATS`.

    Parameters
    ----------
    day
        The date.
    form
        With ``{d}`` and ``{dd}`` for its day as 3 and 03, ``{nth}`` for 3rd, ``{m}``, ``{mm}``,
        ``{mon}`` and ``{month}`` for its month as 9, 09, Sep and September, ``{yy}`` and
        ``{year}`` for its year as 98 and 1998, ``{wd}`` and ``{weekday}`` for Sun and Sunday.
    """
    d, m, month, weekday = day.day, day.month, MONTHS[day.month - 1], WEEKDAYS[day.weekday()]
    ending = "th" if 10 < d < 20 else {1: "st", 2: "nd", 3: "rd"}.get(d % 10, "th")
    return form.format(
        d=d, dd=f"{d:02}", nth=f"{d}{ending}",
        m=m, mm=f"{m:02}", mon=month[:3], month=month,
        yy=f"{day.year % 100:02}", year=day.year,
        wd=weekday[:3], weekday=weekday,
    )  # fmt: skip


@checked
def dates(train: int = 40_000, test: int = 2_000, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Dates to read and the same in ISO 8601 to write, as `models.seq2seq` wants them.

    Each is written in one of 20 `FORMATS`, as it is, in small letters or in capitals. The
    dates of the test are all different, and none of them occurs in training, however written.

    Parameters
    ----------
    train
        How many samples to learn, at least 1.
    test
        How many samples to test, at least 1. Of the 36,525 dates there are, at most 30,000
        can be tested.
    seed
        Decides which ones, and how they are written.

    Returns
    -------
    tuple of Dataset
        Inputs (N, 30 + 11): a text in the numbers of `WRITTEN`, padded, and what the decoder
        is given, `START` and the ISO date in those of `ISO`. Targets (N, 11): the ISO date
        and `END`.

    Raises
    ------
    InputError
        If a number of samples is not one that can be made.
    """
    whole("dates: train", train, most=10_000_000)
    if whole("dates: test", test) > 30_000:
        raise InputError(f"dates: test must be at most 30,000, not {test}")
    generator = rng.stream(whole("dates: seed", seed, least=0, most=inf), "dates")
    days = FIRST.toordinal() + generator.permutation(LAST.toordinal() - FIRST.toordinal() + 1)
    seen = generator.choice(days[test:], train)
    return (_encoded(seen, generator, "dates"), _encoded(days[:test], generator, "dates (test)"))


def _encoded(days: np.ndarray, generator: np.random.Generator, name: str) -> Dataset:
    forms, cases = (generator.integers(0, n, len(days)) for n in (len(FORMATS), 3))
    inputs = np.empty((len(days), SOURCE_STEPS + TARGET_STEPS), np.uint8)
    targets = np.empty((len(days), TARGET_STEPS), np.int64)
    for row, ordinal in enumerate(days):
        day = date.fromordinal(int(ordinal))
        text = (str, str.lower, str.upper)[cases[row]](write(day, FORMATS[forms[row]]))
        iso = ISO.encode(day.isoformat(), TARGET_STEPS - 1)
        inputs[row] = [*WRITTEN.encode(text, SOURCE_STEPS), START, *iso]
        targets[row] = [*iso, END]
    return Dataset(inputs, targets, name, keep_integers=True)
