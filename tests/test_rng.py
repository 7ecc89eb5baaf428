"""Numbers drawn for each sample: slices agree with the whole, and the moments are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import rng

PER_SAMPLE = [rng.per_sample_bits, rng.per_sample_uniform, rng.per_sample_normal]


@pytest.mark.parametrize("draw", PER_SAMPLE, ids=lambda draw: draw.__name__)
@given(
    first=st.integers(0, 2**40),
    counts=st.lists(st.integers(0, 5), max_size=4),
    size=st.integers(0, 19),
)
def test_the_whole_is_its_slices_one_after_the_other(draw, first, counts, size):
    name = (3, "test", "slices")
    whole = draw(name, first, sum(counts), size)
    assert whole.shape == (sum(counts), size)
    starts = first + np.cumsum([0, *counts])
    slices = [draw(name, int(at), n, size) for at, n in zip(starts, counts, strict=False)]
    np.testing.assert_array_equal(whole, np.concatenate([whole[:0], *slices]))


@pytest.mark.parametrize("draw", PER_SAMPLE, ids=lambda draw: draw.__name__)
def test_another_name_gives_other_numbers(draw):
    assert not np.array_equal(draw((0, "a"), 0, 4, 8), draw((1, "a"), 0, 4, 8))


def test_uniform_numbers_have_the_moments_of_the_uniform_distribution():
    u = rng.per_sample_uniform((0, "moments"), 0, 1000, 100)
    assert u.dtype == np.float64 and u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / u.size)
    assert abs(u.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / u.size)


@pytest.mark.parametrize("size", [1, 2, 101])
def test_normal_numbers_have_the_moments_of_the_normal_distribution(size):
    z = rng.per_sample_normal((0, "moments"), 0, 200_000 // size, size)
    assert z.dtype == np.float64 and np.all(np.isfinite(z))
    for power, (moment, variance) in {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}.items():
        assert abs((z**power).mean() - moment) < 5 * np.sqrt(variance / z.size)


def test_normal_numbers_of_one_sample_are_uncorrelated():
    z = rng.per_sample_normal((0, "correlation"), 0, 20_000, 6)
    correlation = z.T @ z / len(z) - np.eye(6)
    assert np.abs(correlation).max() < 6 * np.sqrt(2 / len(z))
