"""Augmentation: training images changed at random, each by numbers that belong to the sample."""

from __future__ import annotations

from minidl.data.augment.augmentation import Augmentation, augment
from minidl.data.augment.moves import Border, Crop, Flip, Rotate, Shift
from minidl.data.augment.values import Cutout, Noise

__all__ = [
    "Augmentation",
    "Border",
    "Crop",
    "Cutout",
    "Flip",
    "Noise",
    "Rotate",
    "Shift",
    "augment",
]
