"""Dates are read back by a reader of its own, and those of the test are not seen in training."""

from __future__ import annotations

import re
from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import dates
from minidl.data.dates import (
    END,
    FIRST,
    FORMATS,
    ISO,
    LAST,
    PADDING,
    SOURCE_STEPS,
    START,
    TARGET_STEPS,
    WRITTEN,
    write,
)
from minidl.errors import InputError

DAYS = st.dates(FIRST, LAST)
READERS = (
    "%d %B %Y", "%d of %B %Y", "the %d of %B, %Y", "%B %d, %Y", "%B %d, %y", "%b %d '%y",
    "%d-%b-%y", "%d %b %Y", "%A, %d %B %Y", "%A, %B %d %Y", "%a, %d %b %Y", "%a %b %d %Y",
    "%d.%m.%y", "%d.%m.%Y", "%d. %B %Y", "%m/%d/%Y", "%m/%d/%y", "%Y/%m/%d", "%Y %B %d",
)  # fmt: skip
"""For `strptime`, which reads any mixture of large and small letters."""


def read(text: str) -> set[date]:
    """All dates that a text can mean; an ordinal's ending and a weekday must be right."""
    if ordinal := re.search(r"(\d+)(st|nd|rd|th)\b", text, re.IGNORECASE):
        n, ending = int(ordinal[1]), ordinal[2].lower()
        assert ending == ("st" if n in (1, 21, 31) else "nd" if n in (2, 22) else
                          "rd" if n in (3, 23) else "th")  # fmt: skip
        text = text.replace(ordinal[0], ordinal[1])
    found = set()
    for reader in READERS:
        try:
            day = datetime.strptime(text, reader).date()
        except ValueError:
            continue
        if "%a" in reader.lower():
            assert text.lower().startswith(day.strftime("%a").lower())
        found.add(day)
    return found


@given(day=DAYS, form=st.sampled_from(FORMATS), case=st.sampled_from([str, str.lower, str.upper]))
def test_every_format_can_be_read_in_one_way_only(day, form, case):
    text = case(write(day, form))
    assert read(text) == {day}
    assert WRITTEN.decode(WRITTEN.encode(text, SOURCE_STEPS)) == text


def test_there_are_many_formats_and_the_examples_among_them():
    day = date(1998, 5, 3)
    written = {write(day, form) for form in FORMATS}
    assert len(written) == len(set(FORMATS)) >= 10
    assert written >= {"3rd of May 1998", "May 3, 98", "05/03/1998", "Sunday, 3 May 1998", "3.5.98"}


def test_the_longest_text_just_fits():
    days = [date(2065, month, day) for month in range(1, 13) for day in range(20, 28)]
    assert max(len(write(day, form)) for day in days for form in FORMATS) == SOURCE_STEPS


@given(train=st.integers(1, 60), test=st.integers(1, 60), seed=st.integers(0, 99))
def test_samples_are_what_the_decoder_is_given_and_what_it_should_say(train, test, seed):
    for part, count in zip(dates(train, test, seed), (train, test), strict=True):
        assert len(part) == count
        sources, given = np.split(part.inputs, [SOURCE_STEPS], axis=1)
        np.testing.assert_array_equal(given[:, 0], START)
        np.testing.assert_array_equal(given[:, 1:], part.targets[:, :-1])
        np.testing.assert_array_equal(part.targets[:, -1], END)
        assert part.targets.shape == (count, TARGET_STEPS)
        for source, target in zip(sources, part.targets, strict=True):
            iso = date.fromisoformat(ISO.decode(target))
            assert read(WRITTEN.decode(source)) == {iso}
            assert (np.diff((source == PADDING).astype(int)) >= 0).all()


def test_the_dates_of_the_test_are_all_different_and_unseen():
    train, test = dates(20_000, 3_000)
    seen, unseen = ({tuple(row) for row in part.targets} for part in (train, test))
    assert len(unseen) == 3_000
    assert not seen & unseen
    texts = [WRITTEN.decode(row[:SOURCE_STEPS]) for row in test.inputs]
    assert sum(text.isupper() for text in texts) > 500 < sum(text.islower() for text in texts)


def test_the_seed_decides_everything():
    one, same, other = (dates(50, 20, seed) for seed in (1, 1, 2))
    for part, equal, different in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(part.inputs, equal.inputs)
        assert (part.targets != different.targets).any()


@given(text=st.text("0123456789-", max_size=12))
def test_a_text_that_fits_comes_back(text):
    if len(text) > 10:
        with pytest.raises(InputError, match="at most 10 characters"):
            ISO.encode(text, 10)
        return
    numbers = ISO.encode(text, 10)
    assert len(numbers) == 10
    assert max(numbers) < len(ISO)
    assert ISO.decode(numbers) == text
    assert ISO.decode([START, *numbers, END, 3]) == text


def test_what_cannot_be_made_is_refused():
    with pytest.raises(InputError, match="'x' cannot be encoded"):
        ISO.encode("x", 3)
    for sizes, message in (((0, 1), "train"), ((1, 0), "test"), ((1, 30_001), "at most 30,000")):
        with pytest.raises(InputError, match=message):
            dates(*sizes)
    with pytest.raises(InputError, match="seed must be a whole number"):
        dates(1, 1, seed=-1)
