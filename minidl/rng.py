"""Random numbers that do not depend on who draws them.

There is no global generator. A stream is named by what it is for (a seed, a
parameter's name, a layer and a step), and numbers for the samples of a batch
are found by jumping in a counter-based generator (Philox, Salmon et al. 2011),
so that any slice of a batch sees the numbers it would see in the whole.
"""

from __future__ import annotations

import hashlib

import numpy as np

WORDS_PER_BLOCK = 8  # one Philox counter value yields 4 × 64 bits, read here as 8 × 32


def _philox(name: tuple[int | str, ...], counter: int = 0) -> np.random.Philox:
    digest = hashlib.blake2b(repr(name).encode(), digest_size=16).digest()
    return np.random.Philox(key=int.from_bytes(digest, "little"), counter=counter)


def stream(*name: int | str) -> np.random.Generator:
    """A generator of its own for whatever `name` describes.

    Parameters
    ----------
    *name
        What the numbers are for, e.g. ``stream(seed, "weights", "conv1.weight")``.
        Equal names give equal numbers, different names independent ones.
    """
    return np.random.Generator(_philox(name))


def per_sample_bits(name: tuple[int | str, ...], first: int, count: int, size: int) -> np.ndarray:
    """Random words for samples ``first`` to ``first + count - 1`` of a batch.

    Parameters
    ----------
    name
        What the numbers are for.
    first
        Position of the slice's first sample in the batch; row ``i`` depends on ``first +
        i`` alone.
    count
        How many samples the slice has.
    size
        Words for each sample.

    Returns
    -------
    ndarray of uint32, shape (count, size)
    """
    blocks = -(-size // WORDS_PER_BLOCK)
    raw = _philox(name, counter=first * blocks).random_raw(count * blocks * WORDS_PER_BLOCK // 2)
    words = np.asarray(raw, dtype=np.uint64).view(np.uint32)
    return words.reshape(count, blocks * WORDS_PER_BLOCK)[:, :size]


def per_sample_uniform(
    name: tuple[int | str, ...], first: int, count: int, size: int
) -> np.ndarray:
    """Uniform numbers in [0, 1) for samples ``first`` to ``first + count - 1``.

    Parameters are those of `per_sample_bits`; one word makes one number, so that numbers are
    multiples of 2⁻³².

    Returns
    -------
    ndarray of float64, shape (count, size)
    """
    return per_sample_bits(name, first, count, size) * 2.0**-32


def per_sample_normal(name: tuple[int | str, ...], first: int, count: int, size: int) -> np.ndarray:
    """Numbers of mean 0 and variance 1 for samples ``first`` to ``first + count - 1``.

    Two uniform numbers make two independent normal ones (Box and Muller 1958): a radius
    √(−2 ln (1 − u)), at most 6.7, and a direction, whose cosine and sine are found from the
    tangent of half the angle, which NumPy computes ten times faster.

    Parameters are those of `per_sample_bits`, with `size` normal numbers for each sample.

    Returns
    -------
    ndarray of float64, shape (count, size)
    """
    pairs = -(-size // 2)
    uniform = per_sample_uniform(name, first, count, 2 * pairs)
    radius = np.sqrt(-2 * np.log1p(-uniform[:, :pairs]))
    t = np.tan(np.pi * uniform[:, pairs:])
    radius /= 1 + t * t
    return np.concatenate([radius * (1 - t * t), radius * (2 * t)], axis=1)[:, :size]
