"""Laws of the kernels: gradients are derivatives and adjoints, and what holds at the edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import a_convolution

from minidl import kernels
from minidl.kernels import cpu, reference

STEP = 1e-6
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@pytest.fixture(params=kernels.CHOICES)
def k(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    with kernels.using(request.param):
        yield kernels.of(np.zeros(1))


def assert_derivative(
    f: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray,
    generator: np.random.Generator,
) -> None:
    """Along a random direction, f changes as dx says, weighed by the upstream gradient dy."""
    assert dx.shape == x.shape
    way = generator.normal(size=x.shape)
    slope = ((f(x + STEP * way) - f(x - STEP * way)) * dy).sum() / (2 * STEP)
    np.testing.assert_allclose((dx * way).sum(), slope, rtol=1e-5, atol=1e-5)


def apart(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that differ, and differ from 0, by more than a finite difference nudges them."""
    size = int(np.prod(shape))
    return (generator.permutation(size).reshape(shape) - size / 2 + 0.25) / (size + 1)


@st.composite
def convolutions(draw: Any) -> dict[str, Any]:
    case = a_convolution(draw)
    generator = draw(generators)
    return case | {"generator": generator} | {n: generator.normal(size=case[n]) for n in "xwy"}


@given(case=convolutions())
def test_convolution_gradients_are_derivatives(case: dict[str, Any]):
    x, w, dy, steps, generator = (case[n] for n in ("x", "w", "y", "steps", "generator"))
    b = generator.normal(size=w.shape[-1])
    dx = reference.conv2d_input_gradient(dy, w, x.shape, *steps)
    dw = reference.conv2d_weight_gradient(dy, x, w.shape, *steps)
    assert_derivative(lambda x: reference.conv2d(x, w, b, *steps), x, dy, dx, generator)
    assert_derivative(lambda w: reference.conv2d(x, w, b, *steps), w, dy, dw, generator)
    db = dy.sum(axis=(0, 1, 2))
    assert_derivative(lambda b: reference.conv2d(x, w, b, *steps), b, dy, db, generator)


@given(case=convolutions())
def test_convolution_gradients_are_adjoints(k: ModuleType, case: dict[str, Any]):
    x, w, dy, steps = (case[n] for n in ("x", "w", "y", "steps"))
    whole = (k.conv2d(x, w, None, *steps) * dy).sum()
    dx = k.conv2d_input_gradient(dy, w, x.shape, *steps)
    dw = k.conv2d_weight_gradient(dy, x, w.shape, *steps)
    np.testing.assert_allclose((dx * x).sum(), whole, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose((dw * w).sum(), whole, rtol=1e-9, atol=1e-9)


@given(case=convolutions())
def test_convolution_of_a_sample_ignores_the_others(case: dict[str, Any]):
    x, w, steps = case["x"], case["w"], case["steps"]
    whole = cpu.conv2d(x, w, None, *steps)
    for i in range(len(x)):
        np.testing.assert_array_equal(cpu.conv2d(x[i : i + 1], w, None, *steps), whole[i : i + 1])


@given(generator=generators, size=pairs, stride=pairs, n=st.integers(0, 3), c=st.integers(1, 3))
def test_pool_gradients_are_derivatives(
    generator: np.random.Generator, size: Any, stride: Any, n: int, c: int
):
    padding = (size[0] // 2, size[1] // 2)
    x = apart(generator, (n, size[0] + 2, size[1] + 3, c))
    y, argmax = reference.max_pool2d(x, size, stride, padding)
    dy = generator.normal(size=y.shape)
    dx = reference.max_pool2d_gradient(dy, argmax, x.shape, size, stride, padding)
    assert_derivative(
        lambda x: reference.max_pool2d(x, size, stride, padding)[0], x, dy, dx, generator
    )
    dx = reference.avg_pool2d_gradient(dy, x.shape, size, stride, padding)
    assert_derivative(
        lambda x: reference.avg_pool2d(x, size, stride, padding), x, dy, dx, generator
    )


@given(generator=generators, m=st.integers(0, 5), c=st.integers(1, 4))
def test_batch_norm_gradients_are_derivatives(generator: np.random.Generator, m: int, c: int):
    x, gamma, beta = (generator.normal(size=shape) for shape in ((m, c), (c,), (c,)))
    dy = generator.normal(size=(m, c))
    _, mean, inv_std = reference.batch_norm(x, gamma, beta, 0.1)
    gradients = reference.batch_norm_gradient(dy, x, gamma, mean, inv_std)
    for place, dx in enumerate(gradients):

        def f(value: np.ndarray, place: int = place) -> np.ndarray:
            given = [x, gamma, beta]
            given[place] = value
            return reference.batch_norm(*given, 0.1)[0]

        assert_derivative(f, (x, gamma, beta)[place], dy, dx, generator)


@given(
    generator=generators,
    m=st.integers(0, 4),
    c=st.integers(1, 5),
    smoothing=st.floats(0, 1),
)
def test_loss_gradient_is_its_derivative(
    generator: np.random.Generator, m: int, c: int, smoothing: float
):
    logits, dlosses = generator.normal(size=(m, c)), generator.normal(size=m)
    labels = generator.integers(0, c, m)
    _, p = reference.softmax_cross_entropy(logits, labels, smoothing)
    dlogits = reference.softmax_cross_entropy_gradient(dlosses, p, labels, smoothing)
    assert_derivative(
        lambda z: reference.softmax_cross_entropy(z, labels, smoothing)[0],
        logits,
        dlosses,
        dlogits,
        generator,
    )
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "sigmoid"])
@given(generator=generators, shape=st.tuples(st.integers(0, 3), st.integers(1, 9)))
def test_activation_gradients_are_derivatives(
    name: str, generator: np.random.Generator, shape: tuple[int, int]
):
    x = 4 * apart(generator, shape)
    dy = generator.normal(size=shape)
    more = (0.3,) if name == "leaky_relu" else ()
    f = getattr(reference, name)
    saved = x if name == "leaky_relu" else f(x, *more)
    dx = getattr(reference, f"{name}_gradient")(dy, saved, *more)
    assert_derivative(lambda x: f(x, *more), x, dy, dx, generator)


@given(generator=generators, m=st.integers(0, 9), rows=st.integers(1, 4), c=st.integers(1, 3))
def test_the_embedding_gradient_is_the_adjoint_of_looking_up(
    k: ModuleType, generator: np.random.Generator, m: int, rows: int, c: int
):
    w, dy = generator.normal(size=(rows, c)), generator.normal(size=(m, c))
    indices = generator.integers(0, rows, m)
    dw = k.embedding_gradient(dy, indices, rows)
    np.testing.assert_allclose((dw * w).sum(), (dy * w[indices]).sum(), atol=1e-12)


@given(m=st.integers(0, 3), c=st.integers(1, 9), level=st.sampled_from([0.0, 1e4, -1e4]))
def test_equal_logits_mean_equal_probabilities(k: ModuleType, m: int, c: int, level: float):
    for dtype in (np.float32, np.float64):
        losses, p = k.softmax_cross_entropy(np.full((m, c), level, dtype), np.zeros(m, int), 0.1)
        np.testing.assert_allclose(p, 1 / c, rtol=1e-6)
        np.testing.assert_allclose(losses, np.log(c), rtol=1e-5, atol=1e-6)


def test_a_certain_prediction_costs_what_it_is_worth(k: ModuleType):
    logits = np.array([[1e4, -1e4], [1e4, -1e4]], np.float32)
    losses, p = k.softmax_cross_entropy(logits, np.array([0, 1]), 0.0)
    np.testing.assert_array_equal(losses, np.array([0, 2e4], np.float32))
    np.testing.assert_array_equal(p, np.array([[1, 0], [1, 0]], np.float32))


@given(size=pairs, stride=pairs, level=st.sampled_from([-np.inf, -1.0, 0.0]))
def test_of_equal_numbers_the_first_inside_wins(
    k: ModuleType, size: Any, stride: Any, level: float
):
    padding = (size[0] // 2, size[1] // 2)
    x = np.full((2, 4, 5, 3), level)
    y, argmax = k.max_pool2d(x, size, stride, padding)
    assert (y == level).all()
    for i, j in np.ndindex(y.shape[1:3]):
        p = max(0, padding[0] - i * stride[0])
        q = max(0, padding[1] - j * stride[1])
        assert (argmax[:, i, j] == p * size[1] + q).all()
    dy = np.ones(y.shape)
    dx = k.max_pool2d_gradient(dy, argmax, x.shape, size, stride, padding)
    assert dx.sum() == dy.sum()


def test_nan_is_not_lost(k: ModuleType):
    x = np.ones((1, 4, 4, 2))
    x[0, 1, 2, 1] = np.nan
    y, _ = k.max_pool2d(x, (2, 2), (2, 2), (0, 0))
    assert np.isnan(y[0, 0, 1, 1]) and np.isnan(y).sum() == 1
    for name in ("relu", "tanh", "sigmoid"):
        assert np.isnan(getattr(k, name)(x)).sum() == 1, name
    losses, _ = k.softmax_cross_entropy(x[0, 1], np.zeros(4, int), 0.0)
    assert np.isnan(losses[2]) and np.isnan(losses).sum() == 1


@given(generator=generators, mean=st.sampled_from([0.0, 1e3, -1e6]))
def test_batch_norm_bears_large_means(k: ModuleType, generator: np.random.Generator, mean: float):
    x = mean + generator.normal(size=(600, 2))
    y, _, _ = k.batch_norm(x, np.ones(2), np.zeros(2), 1e-12)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=1e-8)


@pytest.mark.parametrize(("dtype", "close"), [(np.float32, 4e-7), (np.float64, 1e-15)])
def test_exponentials_are_accurate(dtype: Any, close: float):
    x = np.concatenate([s * np.logspace(-8, 1.9, 5000) for s in (1, -1)]).astype(dtype)
    long = x.astype(np.longdouble)
    np.testing.assert_allclose(cpu.tanh(x), np.tanh(long).astype(dtype), rtol=close)
    np.testing.assert_allclose(cpu.sigmoid(x), (1 / (1 + np.exp(-long))).astype(dtype), rtol=close)


@given(generator=generators, steps=st.tuples(pairs, pairs, pairs))
def test_threads_change_nothing_but_rounding(generator: np.random.Generator, steps: Any):
    x, w = generator.normal(size=(6, 17, 16, 5)), generator.normal(size=(3, 2, 5, 40))
    before = numba.get_num_threads()
    results = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        try:
            y = cpu.conv2d(x, w, None, *steps)
            dw = cpu.conv2d_weight_gradient(y, x, w.shape, *steps)
            results.append((y, cpu.conv2d_input_gradient(y, w, x.shape, *steps), dw))
        finally:
            numba.set_num_threads(before)
    one, many = results
    np.testing.assert_array_equal(one[0], many[0])
    np.testing.assert_array_equal(one[1], many[1])
    np.testing.assert_allclose(one[2], many[2], rtol=1e-10, atol=1e-8)
