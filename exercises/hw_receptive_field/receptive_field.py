"""Homework: which pixels an output of a convolutional network depends on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl import data, errors, nn, optim, rng
from minidl.train import Trainer


class Window(NamedTuple):
    """A convolution or a pooling along one axis."""

    kernel: int
    stride: int
    padding: int
    dilation: int


class View(NamedTuple):
    """What a layer's output is, and what it sees of the input, along one axis."""

    size: int
    """How many positions the output has."""
    stride: int
    """How many pixels of the input lie between what two neighbours see."""
    centre: float
    """The middle of what position 0 sees, in pixels from the middle of pixel 0."""
    field: int
    """How many pixels a position sees, from the first to the last; padding counts."""


def receptive_fields(size: int, windows: list[Window]) -> list[View]:
    """What every layer of a network sees of its input.

    The k elements of a window lie d = dilation positions of the layer's input apart.
    The first window begins p = padding positions before the first, and each further one
    s = stride positions after the last. Windows that reach beyond the padding at the end
    are left out.

    Parameters
    ----------
    size
        How many pixels the input has along the axis. Every window fits in.
    windows
        The layers, the first one first. There may be none.

    Returns
    -------
    list of View
        One for each layer.

    Hints
    -----
    - Before the first layer: size positions, 1 pixel apart, the first one's middle at 0,
      each seeing 1 pixel.
    - From its first to its last element a window covers d (k - 1) + 1 positions.
    - One position further in a layer's *input* is as many pixels as the stride before the
      layer. Which of the four numbers are therefore multiplied with it, and which is not?
    - A padding of half the window leaves the centre where it was.
    """
    raise errors.NotWrittenError("receptive_fields is not written yet: see its hints")


def last_field(size: int, windows: list[Window]) -> int:
    """How many pixels the last layer sees, by your function. Nothing is to be written from here."""
    *_, last = receptive_fields(size, windows)
    return View(*last).field


LENGTH = 64


def two_marks(apart: int, count: int, name: str) -> data.Dataset:
    """Strips of 64 pixels with two marks: are they `apart` pixels apart (1), or one less (0)?

    Both lie far enough from the ends that these tell nothing.
    """
    generator, rows = rng.stream(name, apart), np.arange(count)
    strips, labels = np.zeros((count, LENGTH, 1, 1)), generator.integers(0, 2, count)
    first = generator.integers(20, LENGTH - 20 - apart, count)
    strips[rows, first] = strips[rows, first + apart - 1 + labels] = 1
    return data.Dataset(strips, labels)


def train(windows: list[Window], apart: int, epochs: int = 12) -> float:
    """Learn `two_marks` with these convolutions; the accuracy on unseen strips.

    Behind them is the mean over all positions, so what no single position sees, nobody sees.
    """
    layers: list[nn.Layer] = []
    for kernel, stride, padding, dilation in windows:
        down = nn.Conv2d(16, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1))
        layers += [down, nn.BatchNorm(), nn.ReLU()]
    model = nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(2))
    trainer = Trainer(model, nn.CrossEntropy(), optim.Adam(0.01), seed=0)
    strips = two_marks(apart, 1000, "train")
    trainer.fit(strips, epochs=epochs, batch_size=50, progress=False)
    return trainer.evaluate(two_marks(apart, 500, "test"))["accuracy"]


if __name__ == "__main__":
    for dilations in ((1, 1, 1), (1, 2, 2), (1, 2, 4), (1, 3, 5)):
        windows = [Window(3, 1, dilation, dilation) for dilation in dilations]
        field = last_field(LENGTH, windows)
        print(f"dilations {dilations}: you say that {field:2g} pixels are seen;", end="")
        for apart in (6, 10, 14):
            print(f"  {apart} apart: {train(windows, apart):4.0%}", end="")
        print()
