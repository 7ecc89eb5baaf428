"""Which pixels of the input an output position depends on (Araujo, Norris and Sim 2019).

All of it is interval arithmetic along one axis: positions of a layer's output lie `jump`
pixels apart, each sees `size` pixels, and those of the first are centred on `centre`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """Receptive fields of a layer's output positions along one axis of the image.

    Parameters
    ----------
    size
        From the first to the last pixel that a position depends on. Padding counts,
        so it may be larger than the image.
    jump
        Pixels from one position's field to the next one's: the product of all strides.
    centre
        The middle of position 0's field, in pixels from the middle of pixel 0;
        negative where padding goes beyond half a window.
    """

    size: float = 1
    jump: float = 1
    centre: float = 0

    def at(self, position: int) -> tuple[float, float]:
        """The first and the last pixel of this position's field."""
        middle, reach = self.centre + position * self.jump, (self.size - 1) / 2
        return middle - reach, middle + reach

    def behind_window(self, size: int, stride: int, padding: int, dilation: int = 1) -> Field:
        """The fields behind a window that slides over these positions."""
        span = dilation * (size - 1)
        return Field(
            self.size + span * self.jump,
            self.jump * stride,
            self.centre + (span / 2 - padding) * self.jump,
        )

    def enlarged(self, factor: int, before: int) -> Field:
        """The fields after each position is repeated, and `before` zeros are set in front.

        A copy counts as the part of its original's pixel that it covers.
        """
        jump = self.jump / factor
        size = self.size - self.jump + jump
        first = self.centre - (self.jump - jump) / 2
        return Field(size, jump, first - before * jump)


Sight = tuple[Field, Field] | None
"""Fields down and across; None where the output is no image."""
PIXEL = Field(), Field()
"""What a pixel of the input sees, which is itself."""


def joined(sights: Sequence[Sight]) -> Sight:
    """What positions see that are made of several ways' outputs at the same place.

    None if one way's output is no image, or if their fields move at different speeds.
    """
    seen = [both for both in sights if both is not None]
    if len(seen) < len(sights):
        return None
    down, across = (_hull([both[axis] for both in seen]) for axis in (0, 1))
    return None if down is None or across is None else (down, across)


def _hull(fields: Sequence[Field]) -> Field | None:
    if len({field.jump for field in fields}) != 1:
        return None
    first = min(field.at(0)[0] for field in fields)
    last = max(field.at(0)[1] for field in fields)
    return Field(last - first + 1, fields[0].jump, (first + last) / 2)
