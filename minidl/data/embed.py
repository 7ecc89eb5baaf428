"""Make the arrays that come with the package, from the files their authors published.

``python -m minidl.data.embed digits.csv.gz fashion-mnist-folder asyoulik.txt`` writes
`minidl/data/arrays`. `digits.csv.gz` is scikit-learn's copy (in its
``sklearn/datasets/data``) of the test part of the UCI set "Optical Recognition of
Handwritten Digits": a line has 64 grey levels and the label. The folder holds
Fashion-MNIST's four files. `asyoulik.txt` is the play "As You Like It" as in the
Canterbury corpus. Which samples are taken follows from a fixed seed, so
a second run writes the same arrays.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from minidl.data.dataset import Dataset, stratified
from minidl.data.fashion import fashion_mnist

ARRAYS = Path(__file__).parent / "arrays"
DIGITS_TEST = 360
FASHION_TRAIN, FASHION_TEST = 6_000, 1_000


def embed(digits: Path, fashion: Path, play: Path) -> None:
    """Write all embedded arrays.

    Parameters
    ----------
    digits
        scikit-learn's ``digits.csv.gz``.
    fashion
        The folder with Fashion-MNIST's four files.
    play
        The Canterbury corpus' ``asyoulik.txt``.
    """
    table = np.loadtxt(digits, delimiter=",").astype(np.uint8)
    train, test = Dataset(table[:, :64].reshape(-1, 8, 8), table[:, 64]).split(DIGITS_TEST)
    _save("digits-train", train)
    _save("digits-test", test)

    train, test = fashion_mnist(fashion)
    train = train.take(stratified(train.targets, FASHION_TRAIN, seed=0))
    _save("fashion-mnist-small-train-1", train.take(slice(0, FASHION_TRAIN // 2)))
    _save("fashion-mnist-small-train-2", train.take(slice(FASHION_TRAIN // 2, None)))
    _save("fashion-mnist-small-test", test.take(stratified(test.targets, FASHION_TEST, seed=0)))

    _save_text("as-you-like-it", play.read_text("ascii"))


def _save(name: str, dataset: Dataset) -> None:
    inputs = dataset.inputs.reshape(len(dataset), *dataset.sample_shape[:2])
    np.savez_compressed(
        ARRAYS / f"{name}.npz", inputs=inputs, targets=dataset.targets.astype(np.uint8)
    )


def _save_text(name: str, text: str) -> None:
    """From the first act on: the list of persons before it is set in a way of its own."""
    acts = text[text.index("ACT I\n") :]
    np.savez_compressed(ARRAYS / f"{name}.npz", text=np.frombuffer(acts.encode("ascii"), np.uint8))


if __name__ == "__main__":
    embed(*map(Path, sys.argv[1:4]))
