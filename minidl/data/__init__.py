"""Data sets, augmentation, and the loader that cuts data sets into batches and shards."""

from __future__ import annotations

from collections.abc import Callable

from minidl.checks import checked
from minidl.data import augment
from minidl.data.batch_sizes import GrowingBatch
from minidl.data.characters import bigram_loss, decode, encode, unigram_loss, windows
from minidl.data.dataset import Dataset
from minidl.data.dates import dates
from minidl.data.embedded import digits, fashion_mnist_small, shakespeare
from minidl.data.fashion import fashion_mnist
from minidl.data.loader import Batch, Loader, in_order
from minidl.errors import unknown_name

__all__ = [
    "Batch",
    "Dataset",
    "GrowingBatch",
    "Loader",
    "augment",
    "bigram_loss",
    "dates",
    "decode",
    "digits",
    "encode",
    "fashion_mnist",
    "fashion_mnist_small",
    "in_order",
    "known",
    "make",
    "shakespeare",
    "unigram_loss",
    "windows",
]

_MAKERS: dict[str, Callable[[], tuple[Dataset, Dataset]]] = {
    "digits": digits,
    "fashion-mnist": fashion_mnist,
    "fashion-mnist-small": fashion_mnist_small,
}


def known() -> tuple[str, ...]:
    """The names that `make` takes."""
    return tuple(_MAKERS)


@checked
def make(name: str) -> tuple[Dataset, Dataset]:
    """The training and test parts of the data set of this name.

    Raises
    ------
    UnknownNameError
        If there is none; the message lists those there are.
    """
    if name not in _MAKERS:
        raise unknown_name("data set", name, _MAKERS)
    return _MAKERS[name]()
