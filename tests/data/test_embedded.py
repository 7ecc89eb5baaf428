"""The embedded arrays are the ones that were checked in, and what their makers say they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from minidl.data import Dataset, digits, embed, embedded, fashion_mnist_small
from minidl.data.dataset import stratified
from minidl.data.fashion import DEBIAN, fashion_mnist
from minidl.errors import InputError


def digest(dataset: Dataset) -> str:
    """SHA-256 of the inputs' and the targets' bytes."""
    assert dataset.inputs.dtype == np.uint8
    assert dataset.targets.dtype == np.int64
    return hashlib.sha256(dataset.inputs.tobytes() + dataset.targets.tobytes()).hexdigest()


SHA = {
    "digits": "c22a126ceac11216c507c97cde1446e73f215f656ee53d1699b6a63a789363ef",
    "digits (test)": "4f2b302eb4f0ca4bff89eb5bedcbf12214242abe60cc51760cd0e9b680663038",
    "fashion-mnist-small": "94182751eede2d555f4bf3eb40daa06ffe1ae5b29c6018ccbac62dffd1070002",
    "fashion-mnist-small (test)": (
        "c92e84f0336bb8ba76f786d42544a9f1222f92d5e06c9fe234a292ccfafd158c"
    ),
}


@pytest.mark.parametrize("pair", [digits, fashion_mnist_small])
def test_arrays_are_the_ones_that_were_checked_in(pair: type) -> None:
    for dataset in pair():
        assert digest(dataset) == SHA[dataset.name]


def test_digits_are_parted_in_equal_shares() -> None:
    train, test = digits()
    assert train.inputs.shape == (1437, 8, 8, 1)
    assert test.inputs.shape == (360, 8, 8, 1)
    assert train.classes == test.classes == tuple("0123456789")
    # The counts of the UCI set's test part.
    whole = np.bincount(train.targets) + np.bincount(test.targets)
    assert list(whole) == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.all(np.abs(np.bincount(test.targets) - whole * 360 / 1797) < 1)
    x, _ = train.batch(slice(None))
    assert (x.min(), x.max()) == (0, 1)


def test_no_digit_is_in_both_parts() -> None:
    train, test = ({image.tobytes() for image in part.inputs} for part in digits())
    assert not train & test


def test_small_fashion_mnist_is_stratified() -> None:
    train, test = fashion_mnist_small()
    assert train.inputs.shape == (6000, 28, 28, 1)
    assert test.inputs.shape == (1000, 28, 28, 1)
    assert list(np.bincount(train.targets)) == [600] * 10
    assert list(np.bincount(test.targets)) == [100] * 10
    assert train.classes is not None
    assert train.classes[9] == "ankle boot"
    x, _ = test.batch(slice(None))
    assert (x.min(), x.max()) == (0, 1)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_small_fashion_mnist_is_part_of_the_whole() -> None:
    for small, whole in zip(fashion_mnist_small(), fashion_mnist(DEBIAN), strict=True):
        assert digest(whole.take(stratified(whole.targets, len(small), seed=0))) == digest(small)


def test_files_are_small_and_attributed() -> None:
    sizes = {path.name: path.stat().st_size for path in embed.ARRAYS.iterdir()}
    assert sum(sizes.values()) < 4_000_000
    assert max(sizes.values()) < 2_000_000
    assert "CC BY 4.0" in Path(embed.ARRAYS / "DIGITS.md").read_text()
    assert "MIT" in Path(embed.ARRAYS / "FASHION_MNIST.md").read_text()
    assert "public domain" in Path(embed.ARRAYS / "AS_YOU_LIKE_IT.md").read_text()


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", None])
def test_a_damaged_installation_is_named(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path(embedded.__file__).parent / "arrays" / "digits-train.npz"
    (tmp_path / "arrays").mkdir()
    if content is not None:
        (tmp_path / "arrays" / whole.name).write_bytes(content or whole.read_bytes()[:-99])
    monkeypatch.setattr(embedded, "files", lambda name: tmp_path)
    with pytest.raises(InputError, match=r"digits-train.npz is damaged .*: install minidl again"):
        digits()
