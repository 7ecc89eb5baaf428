"""Fashion-MNIST is read from where it is, or fetched whole, or missed with advice."""

from __future__ import annotations

import gzip
import hashlib
import threading
import tracemalloc
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from minidl.data import fashion
from minidl.data.fashion import CHECKSUMS, DEBIAN, fashion_mnist
from minidl.errors import DatasetNotFoundError, InputError

NAMES = tuple(CHECKSUMS)
ARRAYS = {
    NAMES[0]: np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5),
    NAMES[1]: np.array([2, 0, 1], np.uint8),
    NAMES[2]: np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5) * 2,
    NAMES[3]: np.array([1, 0], np.uint8),
}


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the IDX format."""
    lengths = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()


SMALL_CHECKSUMS = {name: hashlib.sha256(idx(array)).hexdigest() for name, array in ARRAYS.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with four small files in place of the real ones."""
    place = tmp_path / "files"
    place.mkdir()
    for name, array in ARRAYS.items():
        (place / name).write_bytes(gzip.compress(idx(array)))
    return place


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, on a machine without Debian's package."""
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "no-debian")
    return tmp_path / "cache" / "fashion-mnist"


class Quiet(SimpleHTTPRequestHandler):
    """A file server that logs nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def source(folder: Path) -> Iterator[str]:
    """The address of a server, on this machine, of the four files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def check(train: fashion.Dataset, test: fashion.Dataset) -> None:
    """Compare with the arrays the small files were made from."""
    for dataset, images, labels in ((train, NAMES[0], NAMES[1]), (test, NAMES[2], NAMES[3])):
        assert np.array_equal(dataset.inputs[..., 0], ARRAYS[images])
        assert np.array_equal(dataset.targets, ARRAYS[labels])


def test_a_named_folder_is_read(folder: Path) -> None:
    check(*fashion_mnist(folder, checksums=SMALL_CHECKSUMS))
    check(*fashion_mnist(folder, checksums=dict(reversed(SMALL_CHECKSUMS.items()))))


def test_debians_package_is_found(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion, "DEBIAN", folder)
    check(*fashion_mnist(download=False, checksums=SMALL_CHECKSUMS))
    assert not cache.exists()


def test_a_download_fills_the_cache_once(folder: Path, cache: Path, source: str) -> None:
    check(*fashion_mnist(source=source, checksums=SMALL_CHECKSUMS))
    assert sorted(path.name for path in cache.iterdir()) == sorted(NAMES)
    check(*fashion_mnist(source="http://127.0.0.1:9/", checksums=SMALL_CHECKSUMS))


def test_a_download_with_a_wrong_checksum_leaves_nothing(
    folder: Path, cache: Path, source: str
) -> None:
    (folder / NAMES[0]).write_bytes(gzip.compress(b"something else"))
    with pytest.raises(InputError, match=f"{source}{NAMES[0]} does not hold what it should"):
        fashion_mnist(source=source, checksums=SMALL_CHECKSUMS)
    assert list(cache.iterdir()) == []


def test_a_truncated_download_leaves_nothing(folder: Path, cache: Path, source: str) -> None:
    whole = (folder / NAMES[0]).read_bytes()
    (folder / NAMES[0]).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="truncated"):
        fashion_mnist(source=source, checksums=SMALL_CHECKSUMS)
    assert list(cache.iterdir()) == []


def test_a_failed_download_names_all_three_ways(cache: Path, source: str) -> None:
    with pytest.raises(DatasetNotFoundError, match="404") as caught:
        fashion_mnist(source=source + "nowhere/", checksums=SMALL_CHECKSUMS)
    assert_names_three_ways(caught.value)
    assert list(cache.iterdir()) == []


def test_a_server_that_is_not_there_names_all_three_ways(cache: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="could not download") as caught:
        fashion_mnist(source="http://127.0.0.1:9/", checksums=SMALL_CHECKSUMS)
    assert_names_three_ways(caught.value)


def test_without_download_all_three_ways_are_named(cache: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="download is off") as caught:
        fashion_mnist(download=False)
    assert_names_three_ways(caught.value)
    assert not cache.exists()


def test_a_folder_without_the_files_is_not_replaced_by_another_place(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=NAMES[3]) as caught:
        fashion_mnist(tmp_path)
    assert_names_three_ways(caught.value)


def assert_names_three_ways(error: Exception) -> None:
    """Require all the ways that a student could go on from here."""
    for way in ("fashion_mnist(folder=...)", "dataset-fashion-mnist", "download=True"):
        assert way in str(error)


def test_a_file_that_holds_too_much_is_refused_before_all_of_it_is_read(folder: Path) -> None:
    """A gigabyte of zeros has a megabyte once compressed, and its checksum is of the gigabyte."""
    path = folder / NAMES[2]
    path.write_bytes(gzip.compress(bytes(1 << 20)) * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=rf"{NAMES[2]} holds more than 67,108,864 bytes"):
            fashion_mnist(folder, checksums=SMALL_CHECKSUMS)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kept", [0, 10, -9])
def test_a_truncated_file_is_named(folder: Path, kept: int) -> None:
    path = folder / NAMES[2]
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"{NAMES[2]} (is truncated|does not hold)"):
        fashion_mnist(folder, checksums=SMALL_CHECKSUMS)


def test_a_file_with_a_flipped_bit_is_named(folder: Path) -> None:
    path = folder / NAMES[1]
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputError, match=f"{NAMES[1]} does not hold what it should"):
        fashion_mnist(folder, checksums=SMALL_CHECKSUMS)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"\0\0\x09\1\0\0\0\1a", b"\0\0\x08\1\0\0\0\2a", b"\0\0\x08\3\0\0"]
)
def test_what_is_not_idx_is_refused(folder: Path, content: bytes) -> None:
    (folder / NAMES[0]).write_bytes(gzip.compress(content))
    checksums = SMALL_CHECKSUMS | {NAMES[0]: hashlib.sha256(content).hexdigest()}
    with pytest.raises(InputError, match="not an IDX file"):
        fashion_mnist(folder, checksums=checksums)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_whole_set_has_equal_classes() -> None:
    train, test = fashion_mnist(DEBIAN)
    assert train.inputs.shape == (60_000, 28, 28, 1)
    assert list(np.bincount(train.targets)) == [6_000] * 10
    assert list(np.bincount(test.targets)) == [1_000] * 10
