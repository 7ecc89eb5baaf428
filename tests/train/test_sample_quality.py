"""The laws of the figures that say how good samples are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import nn, rng
from minidl.data import Dataset
from minidl.errors import InputError, ShapeError
from minidl.train import Judge, coverage, frechet_distance

SIZES = st.tuples(st.integers(2, 30), st.integers(1, 6))


def features(seed: int, count: int, size: int) -> np.ndarray:
    """Samples whose components have to do with each other."""
    numbers = rng.stream(seed, "features", count, size)
    return numbers.normal(size=(count, size)) @ numbers.normal(size=(size, size)) + 1


def with_moments(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Samples that have exactly these moments, a pair for each direction."""
    values, vectors = np.linalg.eigh(covariance)
    size = len(mean)
    steps = (vectors * np.sqrt(np.maximum(values, 0) * (2 * size - 1) / 2)).T
    return mean + np.concatenate([steps, -steps])


@given(shape=SIZES, seed=st.integers(0, 99))
def test_a_set_is_at_no_distance_from_itself(shape: tuple[int, int], seed: int) -> None:
    x = features(seed, *shape)
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-5 * (1 + x.var()))


@given(one=SIZES, count=st.integers(2, 30), seed=st.integers(0, 99))
def test_both_directions_are_equally_long(one: tuple[int, int], count: int, seed: int) -> None:
    x, y = features(seed, *one), features(seed + 1, count, one[1])
    there, back = frechet_distance(x, y), frechet_distance(y, x)
    assert there >= 0
    assert there == pytest.approx(back, rel=1e-6, abs=1e-5 * (x.var() + y.var()))


@given(size=st.integers(1, 6), seed=st.integers(0, 99))
def test_between_gaussians_it_is_the_closed_formula(size: int, seed: int) -> None:
    """With covariances of common axes, ``|μ₁ - μ₂|² + |√λ₁ - √λ₂|²``."""
    numbers = rng.stream(seed, "gaussians")
    axes, _ = np.linalg.qr(numbers.normal(size=(size, size)))
    (mean_1, mean_2), (sd_1, sd_2) = numbers.normal(size=(2, size)), numbers.random((2, size))
    x, y = (
        with_moments(mean, axes * sd**2 @ axes.T) for mean, sd in ((mean_1, sd_1), (mean_2, sd_2))
    )
    expected = ((mean_1 - mean_2) ** 2).sum() + ((sd_1 - sd_2) ** 2).sum()
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@given(seed=st.integers(0, 99), size=st.integers(1, 5))
def test_between_any_gaussians_the_product_of_covariances_has_its_root(
    seed: int, size: int
) -> None:
    """The eigenvalues of C₁ C₂, which is not symmetric, are those of a symmetric product."""
    x, y = features(seed, 40, size), features(seed + 1, 40, size)
    cov_1, cov_2 = (np.cov(each, rowvar=False).reshape(size, size) for each in (x, y))
    root = np.sqrt(np.linalg.eigvals(cov_1 @ cov_2).astype(complex)).real.sum()
    mean = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    expected = mean + np.trace(cov_1) + np.trace(cov_2) - 2 * root
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@given(shape=SIZES, seed=st.integers(0, 99), shift=st.floats(0.1, 100))
def test_a_shift_adds_its_square(shape: tuple[int, int], seed: int, shift: float) -> None:
    x = features(seed, *shape)
    expected = shape[1] * shift**2
    assert frechet_distance(x, x + shift) == pytest.approx(expected, rel=1e-5, abs=1e-4)


@given(classes=st.lists(st.integers(0, 9), min_size=1))
def test_coverage_is_between_one_and_the_classes_that_occur(classes: list[int]) -> None:
    found = coverage(np.array(classes), 10)
    assert 1 - 1e-9 <= found <= len(set(classes)) + 1e-9
    assert coverage(np.array(classes * 3), 10) == pytest.approx(found)


@given(count=st.integers(1, 10), each=st.integers(1, 5))
def test_classes_in_equal_shares_count_fully(count: int, each: int) -> None:
    assert coverage(np.repeat(np.arange(count), each), 10) == pytest.approx(count)


def classifier() -> nn.Sequential:
    """Three classes, by which of three inputs is the largest."""
    network = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(3))
    network.initialise((3, 1, 1))
    for name, parameter in network.parameters().items():
        parameter.value[...] = 20 * np.eye(3) if name.endswith("weight") else 0
    return network


def one_hot(classes: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[classes].reshape(-1, 3, 1, 1)


def real(classes: list[int], said: list[int] | None = None) -> Dataset:
    return Dataset(one_hot(classes), np.array(said or classes))


def test_samples_like_the_real_ones_are_as_good() -> None:
    classes = [0, 1, 2] * 200  # more than are judged at a time
    judge = Judge(classifier(), real(classes), real(classes[:300]))
    assert len(judge) == 600
    assert judge.accuracy == 1
    for found in (judge.best, judge(one_hot(classes))):
        assert found.sure == 1 and found.confidence > 0.99
        assert found.coverage == pytest.approx(3)
        assert found.distance == pytest.approx(0, abs=1e-2)
    assert str(found) == "sure of 100.0%, 3.00 classes, distance 0.0"


def test_a_judge_says_how_often_it_is_right() -> None:
    judge = Judge(classifier(), real([0, 1, 2, 2], [0, 1, 1, 2]), real([0, 1]))
    assert judge.accuracy == 0.75


def test_each_failure_has_a_figure_that_shows_it() -> None:
    judge = Judge(classifier(), real([0, 1, 2] * 20), real([2, 1, 0] * 20))
    collapsed = judge(one_hot([1] * 60))
    assert collapsed.sure == 1 and collapsed.coverage == pytest.approx(1)
    assert collapsed.distance > 0.1
    blurred = judge(np.full((60, 3, 1, 1), 1 / 3, np.float32))
    assert blurred.sure == 0 and blurred.confidence == pytest.approx(1 / 3)


def test_what_cannot_be_judged_is_refused() -> None:
    two = real([0, 1])
    for body in (nn.Linear(3), nn.Sequential(nn.Linear(3))):
        with pytest.raises(InputError, match="a judge needs a Sequential whose last layer"):
            Judge(body, two, two)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 2 samples can be judged, not 1"):
        Judge(classifier(), two, two)(one_hot([1]))
    with pytest.raises(InputError, match="at least 2 samples, not 1"):
        frechet_distance(np.ones((1, 3)), np.ones((4, 3)))
    with pytest.raises(ShapeError, match=r"not \(4, 2\) and \(4, 3\)"):
        frechet_distance(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(InputError, match="at least one whole number"):
        coverage(np.array([]), 3)
    with pytest.raises(InputError, match="from 0 to 2; they run from 1 to 3"):
        coverage(np.array([1, 3]), 3)
