"""Augmentations that move pixels: crop, shift, flip and rotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from minidl.checks import whole
from minidl.data.augment.augmentation import Augmentation, one_of, require_within
from minidl.errors import InputError

Border = Literal["zeros", "edge", "reflect"]
"""What enters a cropped image from outside."""


@dataclass(frozen=True)
class Crop(Augmentation):
    """Pad each side, and cut the old size out of it at a random place.

    Parameters
    ----------
    padding
        Pixels on each side, less than the image's height and width.
    border
        What is in them: zeros, copies of the nearest pixel, or the image mirrored at its
        outermost pixels.

    Raises
    ------
    InputError
        If a setting is none of these.

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2016, section 4.2: 4 zeros.
    """

    padding: int
    border: Border = "zeros"

    def __post_init__(self) -> None:
        whole("Crop: padding", self.padding, least=0)
        if not isinstance(self.border, str) or self.border not in get_args(Border):
            raise InputError(
                f"Crop: border must be one of {', '.join(get_args(Border))}, not {self.border!r}"
            )

    def check(self, shape: tuple[int, ...]) -> None:
        super().check(shape)
        self._require_at_most("padding", shape, min(shape[:2]) - 1)

    def draws(self, shape: tuple[int, ...]) -> int:
        return 2

    def apply(self, x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return _windows(_padded(x, self.padding, self.border), x.shape[1:3], numbers)


@dataclass(frozen=True)
class Shift(Augmentation):
    """Move the image by whole pixels; what leaves is lost, and zeros enter.

    Parameters
    ----------
    pixels
        The longest way up, down, left or right, less than the image's height and width;
        all ways are equally likely. It is a `Crop` with as many zeros.

    Raises
    ------
    InputError
        If it is no whole number of at least 0.
    """

    pixels: int

    def __post_init__(self) -> None:
        whole("Shift: pixels", self.pixels, least=0)

    def check(self, shape: tuple[int, ...]) -> None:
        super().check(shape)
        self._require_at_most("pixels", shape, min(shape[:2]) - 1)

    def draws(self, shape: tuple[int, ...]) -> int:
        return 2

    def apply(self, x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return _windows(_padded(x, self.pixels, "zeros"), x.shape[1:3], numbers)


@dataclass(frozen=True)
class Flip(Augmentation):
    """Mirror half of the images, left to right."""

    def draws(self, shape: tuple[int, ...]) -> int:
        return 1

    def apply(self, x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        flipped = x.copy()
        chosen = numbers[:, 0] < 0.5
        flipped[chosen] = x[chosen, :, ::-1]
        return flipped


@dataclass(frozen=True)
class Rotate(Augmentation):
    """Turn the image around its middle, with bilinear interpolation; zeros enter at the corners.

    Parameters
    ----------
    degrees
        The largest angle either way, from 0 to 180; all angles between are equally likely.

    Raises
    ------
    InputError
        If it is outside of that.
    """

    degrees: float

    def __post_init__(self) -> None:
        require_within("Rotate: degrees", self.degrees, 180)

    def draws(self, shape: tuple[int, ...]) -> int:
        return 1

    def apply(self, x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Each pixel takes the value at the place that the rotation brings to it."""
        n, height, width, channels = x.shape
        angle = np.deg2rad(self.degrees * (2 * numbers - 1))[:, :, None]  # (n, 1, 1)
        cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
        middle = np.array([height - 1, width - 1], x.dtype) / 2
        down = np.arange(height, dtype=x.dtype)[:, None] - middle[0]
        across = np.arange(width, dtype=x.dtype) - middle[1]
        row = cos * down + sin * across + middle[0]
        column = cos * across - sin * down + middle[1]
        # A frame of zeros: everything outside is as far outside as the frame.
        row = np.clip(row, -1, height) + 1
        column = np.clip(column, -1, width) + 1
        top, left = np.floor(row), np.floor(column)
        below, right = (row - top)[..., None], (column - left)[..., None]
        stride = width + 3
        framed = np.zeros((n, height + 3, stride, channels), x.dtype)
        framed[:, 1:-2, 1:-2] = x
        pixels = framed.reshape(-1, channels)
        corner = (np.arange(n)[:, None, None] * (height + 3) + top.astype(np.intp)) * stride
        corner += left.astype(np.intp)
        upper = pixels.take(corner, 0) * (1 - right) + pixels.take(corner + 1, 0) * right
        corner += stride
        lower = pixels.take(corner, 0) * (1 - right) + pixels.take(corner + 1, 0) * right
        y: np.ndarray = upper * (1 - below) + lower * below
        return y


def _padded(x: np.ndarray, padding: int, border: Border) -> np.ndarray:
    widths = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return np.pad(x, widths, mode="constant") if border == "zeros" else np.pad(x, widths, border)


def _windows(padded: np.ndarray, size: tuple[int, ...], uniform: np.ndarray) -> np.ndarray:
    """A window of this size of each image, at a random place."""
    found = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))
    top, left = (one_of(found.shape[1 + axis], uniform[:, axis]) for axis in (0, 1))
    return np.moveaxis(found[np.arange(len(padded)), top, left], 1, -1)
