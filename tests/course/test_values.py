"""What a student's process may say: all of it data, and nothing else is read."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from minidl.course.values import MOST_ENTRIES, ProtocolError, decode, encode, plain
from minidl.errors import ExerciseError

WHOLE = st.integers(-(2**63) + 1, 2**63 - 1)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126))
DTYPES = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)
ARRAYS = DTYPES.flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0)))
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats() | TEXT | ARRAYS, st.lists, max_leaves=5
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.fixed_dictionaries({"shape": inner, "dtype": inner, "numbers": inner})
    ),
    max_leaves=8,
)


def through(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value, "it"))))


@given(VALUES)
def test_values_arrive_as_they_were(value: Any) -> None:
    _same(through(value), value)


def _same(found: Any, value: Any) -> None:
    assert type(found) is type(value)
    if isinstance(value, list):
        for ours, theirs in zip(found, value, strict=True):
            _same(ours, theirs)
    elif isinstance(value, np.ndarray):
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(found, value)
    else:
        assert found == value or (math.isnan(found) and math.isnan(value))


@given(JSON)
def test_anything_else_is_refused_or_plain(content: Any) -> None:
    with contextlib.suppress(ProtocolError):
        assert _is_plain(decode(content))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf" and value.size <= MOST_ENTRIES
    if isinstance(value, str):
        value.encode()
    return value is None or isinstance(value, bool | float | int | str)


def array(shape: Any, dtype: Any, numbers: Any) -> dict[str, Any]:
    return {"shape": shape, "dtype": dtype, "numbers": numbers}


@pytest.mark.parametrize(
    "forged",
    [
        array([10**9, 10**9], "<f8", []),
        array([0, 10**30], "<f8", []),
        array([-1], "<f8", [1.0]),
        array([True], "<f8", [1.0]),
        array([1] * 40, "<f8", [1.0]),
        array([1], "|O8", [1.0]),
        array([1], "|S1000000000", [""]),
        array([1], "<U4", ["abcd"]),
        array([1], "<M8", [1]),
        array([1], "<f1", [1.0]),
        array([1], "|b8", [True]),
        array([1], "f8,f8", [1.0]),
        array([1], ["<f8"], [1.0]),
        array([1], "<f8", ["1"]),
        array([1], "<f8", [[1.0]]),
        array([1], "<f8", {"0": 1.0}),
        array([1], "<i1", [300]),
        array([1], "<u8", [-1]),
        array(1, "<f8", [1.0]),
        {"shape": [0], "dtype": "<f8"},
        array([0], "<f8", []) | {"more": 1},
        [0] * (MOST_ENTRIES + 1),
        2**63,
        {},
    ],
    ids=repr,
)
def test_a_forged_value_is_refused(forged: Any) -> None:
    with pytest.raises(ProtocolError):
        decode(forged)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (10**400, "more than 63 bits"),
        (np.ones(1, np.longdouble), "at most 64 bits"),
        (np.ones((1,) * 17), "17 axes"),
        (np.array([None]), "should be a number"),
        (1j, "should be a number"),
    ],
    ids=["large", "long-double", "axes", "objects", "complex"],
)
def test_what_cannot_be_sent_is_named(value: Any, words: str) -> None:
    with pytest.raises(ExerciseError, match=words):
        encode(value, "it")


@given(st.text(st.characters()))
def test_texts_can_be_shown_and_written(text: str) -> None:
    shown = plain(text)
    shown.encode()
    assert all(character.isprintable() or character in "\n\t" for character in shown)
    assert plain(shown[:100]) == shown[:100]
