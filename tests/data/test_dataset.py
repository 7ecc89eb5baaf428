"""A data set checks what it is given, and parts keep the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl import data
from minidl.data import Dataset
from minidl.data.dataset import stratified
from minidl.errors import InputError, UnknownNameError

LABELS = hnp.arrays(np.int64, st.integers(2, 60), elements=st.integers(0, 4))


def numbered(targets: np.ndarray) -> Dataset:
    """A data set whose inputs are the samples' numbers."""
    return Dataset(np.arange(len(targets), dtype=np.int32).reshape(-1, 1), targets)


@given(LABELS, st.integers(1, 59), st.integers(0, 3))
def test_split_parts_every_sample_into_one_part_with_each_labels_share(
    labels: np.ndarray, count: int, seed: int
) -> None:
    assume(count < len(labels))
    rest, chosen = numbered(labels).split(count, seed=seed)
    assert len(chosen) == count
    numbers = np.concatenate([rest.inputs, chosen.inputs]).ravel()
    assert sorted(numbers) == list(range(len(labels)))
    for part in (rest, chosen):
        assert np.array_equal(labels[part.inputs.ravel()], part.targets)
        assert np.all(np.diff(part.inputs.ravel()) > 0)
    share = np.bincount(labels, minlength=5) * count / len(labels)
    assert np.all(np.abs(np.bincount(chosen.targets, minlength=5) - share) < 1)


def test_split_depends_on_its_seed_alone() -> None:
    labels = np.repeat(np.arange(4), 25)
    same = [stratified(labels, 10, seed=3) for _ in range(2)]
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], stratified(labels, 10, seed=4))


def test_split_takes_numbers_to_come_close_to_as_one_class() -> None:
    rest, chosen = numbered(np.linspace(0, 1, 10)).split(3)
    assert (len(rest), len(chosen)) == (7, 3)


@pytest.mark.parametrize("count", [-1, 0, 10, 11])
def test_split_leaves_no_part_empty(count: int) -> None:
    with pytest.raises(InputError, match=f"part {count} of 10 .* 1 to 9 can be"):
        numbered(np.zeros(10, int)).split(count)


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(3), st.just(2), st.just(1))),
    st.sampled_from([np.float32, np.float64]),
    st.data(),
)
def test_batch_gives_scaled_floats_of_the_samples_asked_for(
    images: np.ndarray, dtype: type, draw: st.DataObject
) -> None:
    indices = np.array(
        draw.draw(st.lists(st.integers(0, len(images) - 1), max_size=12)), dtype=np.int64
    )
    dataset = Dataset(images, np.arange(len(images)), scale=1 / 255, offset=-0.5)
    x, y = dataset.batch(indices, dtype)
    assert x.dtype == dtype
    assert x.shape == (len(indices), *dataset.sample_shape)
    assert np.allclose(x, images[indices] / 255 - 0.5, atol=1e-6)
    assert np.array_equal(y, indices)


def test_batch_leaves_the_stored_samples_alone() -> None:
    dataset = Dataset(np.ones((4, 2), np.float32), np.ones((4, 1), np.float32), scale=2.0)
    x, y = dataset.batch(slice(0, 4))
    x[...] = 7
    y[...] = 7
    assert np.all(dataset.inputs == 1)
    assert np.all(dataset.targets == 1)


def test_batch_gives_targets_the_dtype_asked_for_unless_they_are_labels() -> None:
    inputs = np.ones((3, 2), np.float32)
    assert Dataset(inputs, np.ones(3, np.float32)).batch(slice(2), np.float64)[1].dtype == "f8"
    assert Dataset(inputs, np.ones(3, np.int32)).batch(slice(2), np.float64)[1].dtype == "i4"


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.ones((3, 2)), np.ones(4), "3 inputs but 4 targets"),
        (np.ones((0, 2)), np.ones(0), "no samples"),
        (np.array(1.0), np.array(1.0), "one number"),
        (np.array([[1.0], [np.nan]]), np.ones(2), r"inputs hold nan at \(1, 0\)"),
        (np.ones((2, 1)), np.array([1.0, -np.inf]), r"targets hold -inf at \(1,\)"),
        (np.array(["a", "b"]), np.ones(2), "inputs have dtype <U1"),
        (np.ones((2, 1)), np.array([1j, 2]), "targets have dtype complex128"),
        (np.ones((2, 1)), np.array([None, 1]), r"targets hold None at \(0,\), which is no number"),
    ],
)
def test_unusable_arrays_are_refused(inputs: np.ndarray, targets: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Dataset(inputs, targets)


@pytest.mark.parametrize(("scale", "offset"), [(np.nan, 0.0), (1.0, np.inf)])
def test_scale_and_offset_are_finite(scale: float, offset: float) -> None:
    with pytest.raises(InputError, match="must be finite"):
        Dataset(np.ones((2, 1)), np.ones(2), scale=scale, offset=offset)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="'mnist'; known: digits, fashion-mnist, fashion"):
        data.make("mnist")


def test_known_names_can_be_made() -> None:
    assert data.known() == ("digits", "fashion-mnist", "fashion-mnist-small")
    assert len(data.make("digits")[0]) == 1437
