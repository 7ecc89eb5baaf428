"""The whole of Fashion-MNIST, from a folder, from Debian's package, or by download.

The four files are gzip-compressed IDX files, as `Fashion-MNIST's page
<https://github.com/zalandoresearch/fashion-mnist>`_ offers them. Checksums are
of what is inside the gzip files, since packagers compress them anew.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minidl.checks import checked
from minidl.checks import path as path_of
from minidl.data.dataset import Dataset
from minidl.data.embedded import GARMENTS
from minidl.errors import DatasetNotFoundError, InputError

SOURCE = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
LARGEST = 1 << 26
"""Bytes that a file may hold once decompressed; the largest of the four has 47,040,016."""
TIMEOUT = 60.0
"""Seconds without a byte from the network before a download is given up."""
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",  # noqa: E501
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",  # noqa: E501
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""The four files, and the SHA-256 of what each holds once decompressed."""


@checked
def fashion_mnist(
    folder: str | Path | None = None,
    download: bool = True,
    *,
    source: str = SOURCE,
    checksums: Mapping[str, str] = CHECKSUMS,
) -> tuple[Dataset, Dataset]:
    """Fashion-MNIST: 28×28 grey levels of ten kinds of garment, as floats from 0 to 1.

    Parameters
    ----------
    folder
        Where the four files lie. If None, Debian's package ``dataset-fashion-mnist``
        and then the cache are looked at.
    download
        Whether the files may be fetched into the cache (about 30 MB) if they are in
        neither. The cache is ``$MINIDL_CACHE``, or ``~/.cache/minidl``.
    source
        Where downloads come from.
    checksums
        The SHA-256 sum of every file, by its name.

    Returns
    -------
    tuple of Dataset
        60,000 training and 10,000 test samples; inputs (N, 28, 28, 1), targets (N,).

    Raises
    ------
    DatasetNotFoundError
        If the files are nowhere, with the ways to get them.
    InputError
        If a file is damaged.
    """
    if set(checksums) != set(CHECKSUMS):
        raise InputError(f"checksums must be of {', '.join(CHECKSUMS)}, not {list(checksums)}")
    place = _find(
        None if folder is None else path_of("fashion_mnist: folder", folder),
        download,
        source,
        checksums,
    )
    contents = {name: _read(place / name, checksums[name]) for name in CHECKSUMS}
    train_images, train_labels, test_images, test_labels = (
        _parse_idx(place / name, contents[name]) for name in CHECKSUMS
    )
    return (
        Dataset(
            train_images[..., np.newaxis],
            train_labels.astype(np.int64),
            "fashion-mnist",
            GARMENTS,
            scale=1 / 255,
        ),
        Dataset(
            test_images[..., np.newaxis],
            test_labels.astype(np.int64),
            "fashion-mnist (test)",
            GARMENTS,
            scale=1 / 255,
        ),
    )


def cache_folder() -> Path:
    """Where downloads are kept: in the user's cache, or for one without a home, a temporary folder.

    Whoever puts something else there is found out by the checksums.
    """
    if named := os.environ.get("MINIDL_CACHE"):
        return Path(named)
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        return Path(tempfile.gettempdir(), f"minidl-data-{os.getuid()}")
    return Path(home, ".cache", "minidl")


def _find(folder: Path | None, download: bool, source: str, checksums: Mapping[str, str]) -> Path:
    cache = cache_folder() / "fashion-mnist"
    for place in (folder,) if folder is not None else (DEBIAN, cache):
        if all(os.path.isfile(place / name) for name in checksums):
            return place
    if folder is not None:
        missing = [name for name in checksums if not os.path.isfile(folder / name)]
        raise DatasetNotFoundError(
            f"{folder} does not hold {', '.join(missing)}. " + _three_ways(cache)
        )
    if not download:
        raise DatasetNotFoundError(
            f"Fashion-MNIST is neither in {DEBIAN} nor in {cache}, and download is off. "
            + _three_ways(cache)
        )
    for name, checksum in checksums.items():
        if not (cache / name).is_file():
            _download(source + name, cache / name, checksum)
    return cache


def _three_ways(cache: Path) -> str:
    return (
        "There are three ways to have Fashion-MNIST: name a folder with its four .gz files, "
        f"fashion_mnist(folder=...); install Debian's package dataset-fashion-mnist ({DEBIAN}); "
        f"or let fashion_mnist(download=True) fetch it into {cache}. "
        "The package itself holds a tenth of it: fashion_mnist_small()."
    )


def _download(address: str, path: Path, checksum: str) -> None:
    # A slow import that only a download needs.
    import urllib.request

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        try:
            with (
                os.fdopen(descriptor, "wb") as file,
                urllib.request.urlopen(address, timeout=TIMEOUT) as answer,
            ):
                while (block := answer.read(1 << 20)) and file.tell() <= LARGEST:
                    file.write(block)
        except OSError as error:  # URLError, time-outs and a full disk are all OSErrors
            raise DatasetNotFoundError(
                f"could not download {address}: {error}. " + _three_ways(path.parent)
            ) from error
        _read(Path(partial), checksum, called=address)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _read(path: Path, checksum: str, called: str | None = None) -> bytes:
    called = called or str(path)
    try:
        with gzip.open(path) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:  # BadGzipFile is an OSError
        raise InputError(
            f"{called} is truncated, no gzip file or cannot be read ({error}); "
            "remove it and get it anew"
        ) from error
    if len(content) > LARGEST:
        raise InputError(f"{called} holds more than {LARGEST:,} bytes; remove it and get it anew")
    found = hashlib.sha256(content).hexdigest()
    if found != checksum:
        raise InputError(
            f"{called} does not hold what it should: SHA-256 {found}, expected {checksum}; "
            "remove it and get it anew"
        )
    return content


def _parse_idx(path: Path, content: bytes) -> np.ndarray:
    """An array from the IDX format: 0, 0, 8 (bytes), the number of axes, their lengths."""
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    start = 4 + 4 * axes
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    if axes == 0 or len(content) != start + math.prod(shape):
        raise InputError(f"{path} is not an IDX file of bytes, or its length does not fit")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
