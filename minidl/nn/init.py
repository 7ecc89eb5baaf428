"""Initial values of parameters: functions of a random generator and a shape.

Xavier: Glorot and Bengio 2010, for tanh and sigmoid. He: He et al. 2015, for
ReLU. Both keep the variance of what passes through a layer from growing or
shrinking with depth; they differ in how much of it the activation lets pass.
Orthogonal: Saxe et al. 2014, for weights that are applied over and over again.
Orthogonal: keeps even the length of each single vector.
"""

from __future__ import annotations

from functools import partial
from math import prod, sqrt

import numpy as np

from minidl.checks import checked, whole
from minidl.errors import ShapeError
from minidl.nn.parameters import Initialiser, Shape


def _sizes(shape: Shape) -> Shape:
    """The shape, of an array that can be."""
    return tuple(whole("each size of shape", size, least=0) for size in shape)


@checked
def fans(shape: Shape) -> tuple[int, int]:
    """How many inputs feed one output of a layer, and how many outputs one input feeds.

    Parameters
    ----------
    shape
        Of a weight: ``(D, O)`` of `Linear`, ``(KH, KW, C, O)`` of `Conv2d`.

    Returns
    -------
    fan_in : int
        How many numbers of the input each output is made from.
    fan_out : int
        How many numbers of the output each input goes into.

    Raises
    ------
    ShapeError
        If the shape has fewer than two axes, as a bias has.
    """
    if len(_sizes(shape)) < 2:
        raise ShapeError(
            f"fan-in and fan-out need a weight of two axes or more, not one of shape {shape}"
        )
    *window, inputs, outputs = shape
    return prod(window) * inputs, prod(window) * outputs


@checked
def xavier_uniform(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    """Uniform within ±sqrt(6 / (fan_in + fan_out))."""
    bound = sqrt(6 / max(1, sum(fans(shape))))
    return generator.uniform(-bound, bound, shape)


@checked
def xavier_normal(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    """Normal, of variance 2 / (fan_in + fan_out)."""
    return generator.normal(0, sqrt(2 / max(1, sum(fans(shape)))), shape)


@checked
def he_uniform(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    """Uniform within ±sqrt(6 / fan_in)."""
    bound = sqrt(6 / max(1, fans(shape)[0]))
    return generator.uniform(-bound, bound, shape)


@checked
def he_normal(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    """Normal, of variance 2 / fan_in."""
    return generator.normal(0, sqrt(2 / max(1, fans(shape)[0])), shape)


@checked
def orthogonal(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    """A random rotation: rows or columns, whichever are fewer, are orthonormal (Saxe et al. 2014).

    A weight with more than two axes is one of (fan_in, outputs). Every rotation is as
    likely as any other.
    """
    fan_in, outputs = fans(shape)[0], shape[-1]
    long, short = max(fan_in, outputs), min(fan_in, outputs)
    q, r = np.linalg.qr(generator.normal(size=(long, short)))
    q *= np.where(np.diag(r) < 0, -1, 1)  # else some rotations would come up more often
    return (q if fan_in >= outputs else q.T).reshape(shape)


def blocks(*inits: Initialiser) -> Initialiser:
    """An initialiser that draws equal parts of the last axis, each with its own of `inits`."""
    return partial(_blocks, inits)


def _blocks(
    inits: tuple[Initialiser, ...], generator: np.random.Generator, shape: Shape
) -> np.ndarray:
    *outer, columns = _sizes(shape)
    if columns % len(inits):
        raise ShapeError(f"a last axis of {columns} cannot be drawn in {len(inits)} equal parts")
    part = (*outer, columns // len(inits))
    return np.concatenate([draw(generator, part) for draw in inits], axis=-1)


def normal(deviation: float = 1.0) -> Initialiser:
    """An initialiser that draws normal numbers of this standard deviation, whatever the shape."""
    return partial(_normal, deviation)


@checked
def zeros(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    """All zero."""
    return np.zeros(_sizes(shape))


@checked
def ones(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    """All one."""
    return np.ones(_sizes(shape))


def constant(value: float) -> Initialiser:
    """An initialiser that sets every element to `value`."""
    return partial(_full, value)


def _normal(deviation: float, generator: np.random.Generator, shape: Shape) -> np.ndarray:
    return generator.normal(0, deviation, _sizes(shape))


def _full(value: float, generator: np.random.Generator, shape: Shape) -> np.ndarray:
    return np.full(_sizes(shape), value, np.float64)
