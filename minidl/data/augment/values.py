"""Augmentations that change values where they are: noise and cutout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minidl.checks import whole
from minidl.data.augment.augmentation import Augmentation, one_of, require_within


@dataclass(frozen=True)
class Noise(Augmentation):
    """Add a normal number of its own to each value of the image.

    Parameters
    ----------
    std
        The numbers' standard deviation, at least 0.

    Raises
    ------
    InputError
        If it is less.
    """

    std: float
    normal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_within("Noise: std", self.std)

    def draws(self, shape: tuple[int, ...]) -> int:
        return int(np.prod(shape))

    def apply(self, x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return x + (self.std * numbers).astype(x.dtype).reshape(x.shape)


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Set a square to zero that is centred on a random pixel, and cut off where the image ends.

    Parameters
    ----------
    size
        Its side in pixels, at most the image's height and width.

    Raises
    ------
    InputError
        If it is no whole number of at least 0.

    References
    ----------
    DeVries and Taylor, "Improved regularization of convolutional neural networks with
    cutout", 2017.
    """

    size: int

    def __post_init__(self) -> None:
        whole("Cutout: size", self.size, least=0)

    def check(self, shape: tuple[int, ...]) -> None:
        super().check(shape)
        self._require_at_most("size", shape, min(shape[:2]))

    def draws(self, shape: tuple[int, ...]) -> int:
        return 2

    def apply(self, x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        inside = []
        for axis, length in enumerate(x.shape[1:3]):
            first = one_of(length, numbers[:, axis]) - self.size // 2
            distance = np.arange(length) - first[:, None]
            inside.append((distance >= 0) & (distance < self.size))
        down, across = inside
        square = down[:, :, None, None] & across[:, None, :, None]
        return np.where(square, x.dtype.type(0), x)
