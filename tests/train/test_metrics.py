"""Figures of a classifier: their laws, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import InputError, ShapeError
from minidl.nn import CrossEntropy
from minidl.train import confusion_matrix, top_k_accuracy


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Outputs, often equal ones, and labels, of samples or of sequences."""
    shape = draw(st.sampled_from([(1,), (7,), (3, 4)]))
    classes = draw(st.integers(1, 6))
    generator = np.random.default_rng(draw(st.integers(0, 999)))
    outputs = generator.integers(-2, 3, (*shape, classes)).astype(np.float32)
    return outputs, generator.integers(0, classes, shape)


@given(case=answers())
def test_more_guesses_are_never_worse_and_all_are_right(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    outputs, labels = case
    figures = [top_k_accuracy(outputs, labels, k + 1) for k in range(outputs.shape[-1])]
    assert figures == sorted(figures) and figures[-1] == 1
    assert figures[0] == pytest.approx(CrossEntropy().metrics(outputs, labels)["accuracy"].mean())


@given(case=answers(), data=st.data())
def test_the_label_is_among_the_largest_outputs(
    case: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    outputs, labels = case
    k = data.draw(st.integers(1, outputs.shape[-1]))
    best = np.argsort(-outputs, axis=-1, kind="stable")[..., :k]
    expected = (best == labels[..., None]).any(axis=-1).mean()
    assert top_k_accuracy(outputs, labels, k) == pytest.approx(expected)


@given(case=answers(), more=st.integers(0, 2))
def test_a_confusion_matrix_counts_every_sample_once(
    case: tuple[np.ndarray, np.ndarray], more: int
) -> None:
    outputs, labels = case
    predicted, classes = outputs.argmax(axis=-1), outputs.shape[-1] + more
    matrix = confusion_matrix(predicted, labels, classes)
    assert matrix.shape == (classes, classes)
    for label in range(classes):
        for guess in range(classes):
            assert matrix[label, guess] == ((labels == label) & (predicted == guess)).sum()
    assert np.trace(matrix) / labels.size == pytest.approx(top_k_accuracy(outputs, labels, 1))
    seen = 1 + max(predicted.max(), labels.max())
    np.testing.assert_array_equal(
        confusion_matrix(predicted, labels.astype(np.uint8)), matrix[:seen, :seen]
    )


def test_of_no_samples_there_is_an_empty_matrix() -> None:
    assert confusion_matrix(np.zeros(0, int), np.zeros(0, int)).shape == (0, 0)
    np.testing.assert_array_equal(confusion_matrix([], [], 2), np.zeros((2, 2)))


def test_bad_arguments_are_refused() -> None:
    outputs, labels = np.eye(3), np.arange(3)
    for call, message in (
        (lambda: top_k_accuracy(outputs, labels, 0), "k must be a whole number of at least 1"),
        (lambda: top_k_accuracy(outputs, labels, 4), "k must be at most 3"),
        (lambda: top_k_accuracy(outputs, labels + 1, 1), "labels must be from 0 to 2; they run"),
        (lambda: top_k_accuracy(outputs, labels / 1, 1), "whole numbers, not of type float64"),
        (lambda: top_k_accuracy(outputs[:0], labels[:0], 1), "at least one sample"),
        (lambda: top_k_accuracy(outputs * np.nan, labels, 1), "must not be NaN"),
        (
            lambda: confusion_matrix(labels, labels, 2),
            "confusion_matrix: predicted must be from 0 to 1",
        ),
        (
            lambda: confusion_matrix(labels - 1, labels),
            "confusion_matrix: predicted must be from 0 to 2",
        ),
        (lambda: confusion_matrix(labels, labels, 0), "classes must be a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(ShapeError, match=r"need labels of shape \(3,\), not \(2,\)"):
        top_k_accuracy(outputs, labels[:2], 1)
    with pytest.raises(ShapeError, match="must be of one shape"):
        confusion_matrix(labels, labels[:2])
