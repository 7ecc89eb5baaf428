"""Windows of text, and the laws of counting characters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import data
from minidl.data import Dataset, bigram_loss, decode, encode, unigram_loss, windows
from minidl.errors import InputError

CLASSES = tuple("abcd")
TEXTS = st.text("abcd", min_size=2, max_size=60)


def whole(text: str) -> Dataset:
    """A text as one window, so that nothing is left over."""
    return windows(text, CLASSES, len(text) - 1)


@given(st.text("abcd", max_size=40))
def test_decoding_is_the_way_back(text: str) -> None:
    numbers = encode(text, CLASSES)
    assert numbers.shape == (len(text),)
    assert decode(numbers, CLASSES) == text


@given(TEXTS, st.integers(1, 20))
def test_windows_hold_each_character_once_with_the_one_after_it(text: str, steps: int) -> None:
    if len(text) <= steps:
        with pytest.raises(InputError, match=f"at least {steps + 1}, not {len(text)}"):
            windows(text, CLASSES, steps)
        return
    made = windows(text, CLASSES, steps, "a text")
    length = len(made) * steps
    assert 0 <= len(text) - 1 - length < steps
    assert made.inputs.shape == made.targets.shape == (len(made), steps)
    assert decode(made.inputs.ravel(), CLASSES) == text[:length]
    assert decode(made.targets.ravel(), CLASSES) == text[1 : length + 1]
    assert (made.name, made.classes) == ("a text", CLASSES)
    x, targets = made.batch(slice(None))
    assert x.dtype.kind == targets.dtype.kind == "i"


def test_characters_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match=r"holds \['e', 'f'\]; the known characters are 'abcd'"):
        encode("face", CLASSES)
    for numbers in ([4], [-1, 0]):
        with pytest.raises(InputError, match="from 0 to 3; they run from"):
            decode(np.array(numbers), CLASSES)
    with pytest.raises(InputError, match="steps must be a whole number of at least 1, not 0"):
        windows("abc", CLASSES, 0)


def test_losses_of_counting_by_hand() -> None:
    """Of "abab", b follows a twice and a follows b once; add one to each of four counts."""
    train = whole("abab")
    test = whole("aba")
    assert unigram_loss(train, test) == pytest.approx(-np.log([3 / 7, 2 / 7]).mean())
    assert bigram_loss(train, test) == pytest.approx(-np.log([3 / 6, 2 / 5]).mean())
    assert unigram_loss(train, test, 0) == pytest.approx(-np.log([2 / 3, 1 / 3]).mean())
    assert bigram_loss(train, test, 0) == 0
    for unseen in ("ac", "ca"):
        assert bigram_loss(train, whole(unseen), 0) == np.inf
        assert bigram_loss(train, whole(unseen)) < np.inf


@given(TEXTS)
def test_on_its_own_text_a_longer_memory_never_foretells_worse(text: str) -> None:
    """And shares of counts are the best that any fixed shares can do, smoothed ones included."""
    own = whole(text)
    unigram, bigram = unigram_loss(own, own, 0), bigram_loss(own, own, 0)
    assert 0 <= bigram <= unigram + 1e-12
    assert unigram <= np.log(len(CLASSES)) + 1e-12
    assert unigram <= unigram_loss(own, own, 1) + 1e-12
    assert bigram <= bigram_loss(own, own, 1) + 1e-12


@given(TEXTS, TEXTS)
def test_much_smoothing_forgets_all_counts(train: str, test: str) -> None:
    for loss in (unigram_loss, bigram_loss):
        assert loss(whole(train), whole(test), 1e9) == pytest.approx(np.log(4), rel=1e-6)


@pytest.mark.parametrize("smoothing", [-1, np.nan, np.inf])
def test_smoothing_must_be_a_number_to_add(smoothing: float) -> None:
    with pytest.raises(InputError, match="smoothing must be at least 0 and finite"):
        unigram_loss(whole("ab"), whole("ab"), smoothing)


def test_counting_needs_the_same_characters() -> None:
    for other in (windows("ab", ("a", "b"), 1), Dataset(np.zeros((1, 1), int), np.zeros((1, 1)))):
        with pytest.raises(InputError, match="must have the same characters"):
            bigram_loss(whole("ab"), other)


@pytest.mark.parametrize("steps", [1, 50, 64])
def test_shakespeare_is_parted_by_place(steps: int) -> None:
    train, test = data.shakespeare(steps)
    assert train.classes == test.classes is not None
    assert len(train.classes) == 65
    learnt, unseen = (
        decode(np.append(part.inputs.ravel(), part.targets[-1, -1]), train.classes)
        for part in (train, test)
    )
    assert learnt.startswith("ACT I\n") and "All the world's a stage" in learnt
    assert "Then is there mirth in heaven" in unseen
    assert 8 < len(learnt) / len(unseen) < 10
    # No long line of the one is in the other.
    assert not {line for line in unseen.split("\n") if len(line) > 40} & {*learnt.split("\n")}
