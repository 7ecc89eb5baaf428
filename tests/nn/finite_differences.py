"""Gradients held to finite differences, in float64.

The scalar that is differentiated is ``(y * dy).sum()`` with a random `dy`: an
upstream gradient of ones is blind to errors that cancel in a sum (a softmax
sums to 1 whatever goes in). Parameters are random too, and none is zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl import nn

STEP = 1e-6


def assert_gradient(
    f: Callable[[], float],
    x: np.ndarray,
    given: np.ndarray,
    what: str,
    generator: np.random.Generator,
) -> None:
    """Hold the gradient of ``f()`` by `x`, which is moved in place and put back.

    The random direction moves every element, by half a `STEP` to one and a half, so that an
    error in any of them shows in the slope.
    """
    assert given.shape == x.shape, what
    way = generator.choice([-1.0, 1.0], x.shape) * generator.uniform(0.5, 1.5, x.shape)
    kept = x.copy()
    x[...] = kept + STEP * way
    above = f()
    x[...] = kept - STEP * way
    below = f()
    x[...] = kept
    assert_close((given * way).sum(), (above - below) / (2 * STEP), what)


def assert_close(given: np.ndarray | float, expected: np.ndarray | float, what: str) -> None:
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6, err_msg=what)


def randomise(buffer: nn.ParameterBuffer, generator: np.random.Generator) -> None:
    """Give every parameter random values that are not near zero, and a gradient to add to."""
    size = buffer.values.shape
    buffer.values[...] = generator.choice([-1.0, 1.0], size) * generator.uniform(0.2, 1.0, size)
    buffer.grads[...] = generator.normal(size=size)


def check_layer(
    layer: nn.Layer, x: np.ndarray, generator: np.random.Generator, mode: nn.Mode | None = None
) -> None:
    """Hold a layer's gradients, by its input and by each parameter, to finite differences.

    Parameters
    ----------
    layer
        Not yet initialised.
    x
        float64, away from the layer's kinks by more than two `STEP`; or whole numbers, which
        have no slope between them.
    """
    mode = mode or nn.Mode(training=True, seed=3, step=5, first=0, batch_size=max(1, len(x)))
    buffer = layer.initialise(x.shape[1:], dtype=np.float64)
    randomise(buffer, generator)
    before = buffer.grads.copy()
    y, saved = layer.forward(x, mode)
    dy = generator.normal(size=y.shape)
    untouched = x.copy(), dy.copy(), y.copy()
    dx = layer.backward(dy, saved)
    for array, copy, what in zip((x, dy, y), untouched, ("x", "dy", "y"), strict=True):
        np.testing.assert_array_equal(array, copy, err_msg=f"backward changed {what}")
    after = buffer.grads.copy()
    buffer.grads[...] = before
    layer.accumulate(dy, saved)
    np.testing.assert_array_equal(buffer.grads, after, err_msg="accumulate differs from backward")
    assert dx.shape == x.shape
    assert dx.dtype == np.float64

    def value() -> float:
        return float((layer.forward(x, mode)[0] * dy).sum())

    if layer.takes_integers:
        assert not dx.any()
    else:
        assert_gradient(value, x, dx, "input", generator)
    for name, parameter in buffer.parameters.items():
        if parameter.trainable:
            added = parameter.grad - before[buffer.index[name]].reshape(parameter.shape)
            assert_gradient(value, parameter.value, added, name, generator)


def check_loss(
    loss: nn.Loss, outputs: np.ndarray, targets: np.ndarray, generator: np.random.Generator
) -> None:
    """Hold a loss's gradient to finite differences, each sample weighted at random."""
    losses, saved = loss.forward(outputs, targets)
    assert losses.shape == (len(outputs),)
    dlosses = generator.normal(size=losses.shape)
    doutputs = loss.backward(dlosses, saved)
    assert doutputs.shape == outputs.shape

    def value() -> float:
        return float((loss.forward(outputs, targets)[0] * dlosses).sum())

    assert_gradient(value, outputs, doutputs, "outputs", generator)


def away_from_ties(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values of which any two differ by far more than `STEP`, and none of which is near 0."""
    count = int(np.prod(shape))
    return (generator.permutation(count) - count // 2 + 0.37).reshape(shape) / max(1, count) * 4
