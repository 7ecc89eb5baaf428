"""The table of cases that drives reference, cpu and gpu: each kernel with a strategy.

A strategy draws a kernel's arguments. Arrays come in all layouts, as float32 and float64,
and with repeated values, so that ties occur.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

DTYPES = st.sampled_from([np.float32, np.float64])
BATCH = st.sampled_from([0, 1, 2, 3, 5])
SIZE = st.sampled_from([1, 2, 3, 5, 7])
CHANNELS = st.sampled_from([1, 2, 3, 16, 17, 33])


def _plain(x: np.ndarray) -> np.ndarray:
    return x


def _by_columns(x: np.ndarray) -> np.ndarray:
    return np.asfortranarray(x)


def _with_gaps(x: np.ndarray) -> np.ndarray:
    return np.repeat(x, 2, axis=-1)[..., ::2]


def _backwards(x: np.ndarray) -> np.ndarray:
    return x[::-1].copy()[::-1]


def _read_only(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x


LAYOUTS = st.sampled_from([_plain, _plain, _by_columns, _with_gaps, _backwards, _read_only])


def an_array(draw: Draw, shape: tuple[int, ...], dtype: Any, layout: Any = None) -> np.ndarray:
    """Normal numbers, or few different whole ones, in some layout."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        x = generator.normal(size=shape)
    else:
        x = generator.integers(-2, 3, size=shape).astype(float)
    return (layout or draw(LAYOUTS))(x.astype(dtype))


def _output(size: int, window: int, stride: int, padding: int, dilation: int) -> int:
    return (size + 2 * padding - dilation * (window - 1) - 1) // stride + 1


def a_convolution(draw: Draw) -> dict[str, Any]:
    """Shapes, stride, padding, dilation and groups that go together."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    size, stride, dilation = draw(st.tuples(SIZE, SIZE)), draw(pair), draw(pair)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    height, width = (
        max(1, dilation[k] * (size[k] - 1) + 1 - 2 * padding[k] + draw(st.integers(0, 7)))
        for k in range(2)
    )
    n, c, o = draw(BATCH), draw(CHANNELS), draw(CHANNELS)
    groups = draw(st.sampled_from([1, 1, 2, 3, 17]))
    if groups > 1:
        c, o = draw(st.sampled_from([1, 1, 2, 5])), min(o, 5)
    y_size = [
        _output((height, width)[k], size[k], stride[k], padding[k], dilation[k]) for k in range(2)
    ]
    return {
        "x": (n, height, width, groups * c),
        "w": (*size, c, groups * o),
        "y": (n, *y_size, groups * o),
        "steps": (stride, padding, dilation, groups),
    }


@st.composite
def _matmul(draw: Draw) -> tuple[Any, ...]:
    sizes = st.sampled_from([0, 1, 2, 7, 13, 32, 33, 70])
    m, k, n = draw(sizes), draw(sizes | st.just(1100)), draw(sizes)
    dtype = draw(DTYPES)
    return an_array(draw, (m, k), dtype), an_array(draw, (k, n), dtype)


@st.composite
def _bias_gradient(draw: Draw) -> tuple[Any, ...]:
    rows = draw(st.sampled_from([(0,), (1,), (7,), (3, 5), (2, 40, 40), (900,)]))
    return (an_array(draw, (*rows, draw(CHANNELS | st.just(70))), draw(DTYPES)),)


@st.composite
def _conv2d(draw: Draw) -> tuple[Any, ...]:
    case, dtype = a_convolution(draw), draw(DTYPES)
    bias = an_array(draw, case["w"][-1:], dtype) if draw(st.booleans()) else None
    x, w = an_array(draw, case["x"], dtype), an_array(draw, case["w"], dtype)
    return x, w, bias, *case["steps"]


@st.composite
def _conv2d_input_gradient(draw: Draw) -> tuple[Any, ...]:
    case, dtype = a_convolution(draw), draw(DTYPES)
    dy, w = an_array(draw, case["y"], dtype), an_array(draw, case["w"], dtype)
    return dy, w, case["x"], *case["steps"]


@st.composite
def _conv2d_weight_gradient(draw: Draw) -> tuple[Any, ...]:
    case, dtype = a_convolution(draw), draw(DTYPES)
    dy, x = an_array(draw, case["y"], dtype), an_array(draw, case["x"], dtype)
    return dy, x, case["w"], *case["steps"]


def _a_pool(draw: Draw) -> tuple[Any, ...]:
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    # More padding would make windows without any input.
    padding = tuple(draw(st.integers(0, k // 2)) for k in size)
    height, width = (size[k] + draw(st.integers(0, 6)) for k in range(2))
    shape = (draw(BATCH), height, width, draw(CHANNELS))
    y_shape = (
        shape[0],
        *(_output(shape[1 + k], size[k], stride[k], padding[k], 1) for k in range(2)),
        shape[3],
    )
    return shape, y_shape, size, stride, padding


@st.composite
def _pool(draw: Draw) -> tuple[Any, ...]:
    shape, _, *steps = _a_pool(draw)
    return an_array(draw, shape, draw(DTYPES)), *steps


@st.composite
def _max_pool2d_gradient(draw: Draw) -> tuple[Any, ...]:
    shape, y_shape, size, stride, padding = _a_pool(draw)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    argmax = np.empty(y_shape, np.int32)
    inside = np.zeros((shape[1] + 2 * padding[0], shape[2] + 2 * padding[1]), bool)
    inside[padding[0] : padding[0] + shape[1], padding[1] : padding[1] + shape[2]] = True
    for i, j in np.ndindex(y_shape[1:3]):
        top, left = i * stride[0], j * stride[1]
        cells = np.flatnonzero(inside[top : top + size[0], left : left + size[1]])
        argmax[:, i, j] = generator.choice(cells, (shape[0], shape[3]))
    dy = an_array(draw, y_shape, draw(DTYPES))
    return dy, argmax, shape, size, stride, padding


@st.composite
def _avg_pool2d_gradient(draw: Draw) -> tuple[Any, ...]:
    shape, y_shape, *steps = _a_pool(draw)
    return an_array(draw, y_shape, draw(DTYPES)), shape, *steps


@st.composite
def _batch_norm(draw: Draw) -> tuple[Any, ...]:
    shape, dtype = (draw(BATCH | st.just(1030)), draw(CHANNELS)), draw(DTYPES)
    x, gamma = an_array(draw, shape, dtype), an_array(draw, shape[1:], dtype)
    return x, gamma, an_array(draw, shape[1:], dtype), draw(st.sampled_from([1e-3, 0.1]))


@st.composite
def _batch_norm_gradient(draw: Draw) -> tuple[Any, ...]:
    shape, dtype = (draw(BATCH | st.just(1030)), draw(CHANNELS)), draw(DTYPES)
    dy, x, gamma = (an_array(draw, s, dtype) for s in (shape, shape, shape[1:]))
    return dy, x, gamma, x.sum(axis=0) / max(len(x), 1), an_array(draw, shape[1:], dtype) ** 2


def _labels(draw: Draw, shape: tuple[int, int]) -> np.ndarray:
    kind = draw(st.sampled_from([np.int64, np.int32, np.uint8]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return generator.integers(0, shape[1], shape[0]).astype(kind)


SMOOTHING = st.sampled_from([0.0, 0.1, 1.0])


@st.composite
def _softmax_cross_entropy(draw: Draw) -> tuple[Any, ...]:
    shape, dtype = (draw(BATCH), draw(SIZE)), draw(DTYPES)
    logits = an_array(draw, shape, dtype) * dtype(draw(st.sampled_from([1, 0, 100, 1e4])))
    return logits, _labels(draw, shape), draw(SMOOTHING)


@st.composite
def _softmax_cross_entropy_gradient(draw: Draw) -> tuple[Any, ...]:
    shape, dtype = (draw(BATCH), draw(SIZE)), draw(DTYPES)
    dlosses, p = an_array(draw, shape[:1], dtype), abs(an_array(draw, shape, dtype))
    return dlosses, p, _labels(draw, shape), draw(SMOOTHING)


SHAPES = st.lists(st.sampled_from([1, 2, 3, 5, 17]), max_size=3).flatmap(
    lambda rest: st.tuples(BATCH, *map(st.just, rest))
)


@st.composite
def _elementwise(draw: Draw, count: int, *others: st.SearchStrategy[Any]) -> tuple[Any, ...]:
    shape, dtype = draw(SHAPES), draw(DTYPES)
    scale = dtype(draw(st.sampled_from([1, 1e-4, 30, 1e4])))
    arrays = [an_array(draw, shape, dtype) * scale for _ in range(count)]
    return *arrays, *(draw(other) for other in others)


@st.composite
def _activation_gradient(draw: Draw) -> tuple[Any, ...]:
    shape, dtype = draw(SHAPES), draw(DTYPES)
    return an_array(draw, shape, dtype), np.tanh(an_array(draw, shape, dtype))


@st.composite
def _dropout(draw: Draw) -> tuple[Any, ...]:
    shape = draw(SHAPES)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bits = draw(LAYOUTS)(generator.integers(0, 2**32, shape, dtype=np.uint32))
    threshold = draw(st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**32]))
    return an_array(draw, shape, draw(DTYPES)), bits, threshold, draw(st.sampled_from([1.0, 1.6]))


def _gates(draw: Draw, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.tanh(an_array(draw, shape, dtype))


@st.composite
def _lstm_cell(draw: Draw) -> tuple[Any, ...]:
    (n, h), dtype = (draw(BATCH), draw(CHANNELS)), draw(DTYPES)
    scale = dtype(draw(st.sampled_from([1, 1e-4, 30, 1e4])))
    return an_array(draw, (n, 4 * h), dtype) * scale, an_array(draw, (n, h), dtype)


@st.composite
def _lstm_cell_gradient(draw: Draw) -> tuple[Any, ...]:
    (n, h), dtype = (draw(BATCH), draw(CHANNELS)), draw(DTYPES)
    dh, dc, c, c_next = (an_array(draw, (n, h), dtype) for _ in range(4))
    return dh, dc, _gates(draw, (n, 4 * h), dtype), c, c_next


@st.composite
def _gru_cell(draw: Draw) -> tuple[Any, ...]:
    (n, h), dtype = (draw(BATCH), draw(CHANNELS)), draw(DTYPES)
    scale = dtype(draw(st.sampled_from([1, 1e-4, 30, 1e4])))
    zx, zh = (an_array(draw, (n, 3 * h), dtype) * scale for _ in range(2))
    return zx, zh, an_array(draw, (n, h), dtype)


@st.composite
def _gru_cell_gradient(draw: Draw) -> tuple[Any, ...]:
    (n, h), dtype = (draw(BATCH), draw(CHANNELS)), draw(DTYPES)
    dh_next, before = (an_array(draw, (n, h), dtype) for _ in range(2))
    return dh_next, _gates(draw, (n, 4 * h), dtype), before


STEPS = st.sampled_from([0, 1, 2, 4])
ROWS = st.sampled_from([0, 1, 3, 13, 30])
STATES = CHANNELS | st.just(90)


@st.composite
def _lstm_scan(draw: Draw) -> tuple[Any, ...]:
    (n, h), dtype = (draw(ROWS), draw(CHANNELS)), draw(DTYPES)
    z = an_array(draw, (draw(STEPS), n, 4 * h), dtype)
    u = an_array(draw, (h, 4 * h), dtype)
    return z, u, *(an_array(draw, (n, h), dtype) for _ in range(2))


@st.composite
def _lstm_scan_gradient(draw: Draw) -> tuple[Any, ...]:
    (steps, n, h), dtype = (draw(STEPS), draw(ROWS), draw(STATES)), draw(DTYPES)
    dhs, cs = (an_array(draw, (t, n, h), dtype) for t in (steps, steps + 1))
    dh, dc = (an_array(draw, (n, h), dtype) for _ in range(2))
    u = an_array(draw, (h, 4 * h), dtype)
    return dhs, dh, dc, u, _gates(draw, (steps, n, 4 * h), dtype), cs


@st.composite
def _gru_scan(draw: Draw) -> tuple[Any, ...]:
    (n, h), dtype = (draw(ROWS), draw(CHANNELS)), draw(DTYPES)
    zx, u = (an_array(draw, s, dtype) for s in ((draw(STEPS), n, 3 * h), (h, 3 * h)))
    return zx, u, an_array(draw, (h,), dtype), an_array(draw, (n, h), dtype)


@st.composite
def _gru_scan_gradient(draw: Draw) -> tuple[Any, ...]:
    (steps, n, h), dtype = (draw(STEPS), draw(ROWS), draw(STATES)), draw(DTYPES)
    dhs, hs = (an_array(draw, (t, n, h), dtype) for t in (steps, steps + 1))
    dh, u = (an_array(draw, s, dtype) for s in ((n, h), (h, 3 * h)))
    return dhs, dh, u, _gates(draw, (steps, n, 4 * h), dtype), hs


@st.composite
def _embedding_gradient(draw: Draw) -> tuple[Any, ...]:
    count, vocabulary = draw(BATCH | st.just(70)), draw(SIZE)
    dy = an_array(draw, (count, draw(CHANNELS)), draw(DTYPES))
    return dy, draw(LAYOUTS)(_labels(draw, (count, vocabulary))), vocabulary


PARAMETERS = st.sampled_from([0, 1, 3, 100])
DECAY = st.sampled_from([0.0, 0.01])


@st.composite
def _sgd_step(draw: Draw) -> tuple[Any, ...]:
    count, dtype = draw(PARAMETERS), draw(DTYPES)
    momentum, nesterov = draw(st.sampled_from([(0.0, False), (0.9, False), (0.9, True)]))
    w, g = an_array(draw, (count,), dtype, _plain), an_array(draw, (count,), dtype)
    velocity = an_array(draw, (count if momentum else 0,), dtype, _plain)
    return w, g, velocity, 0.1, momentum, nesterov, draw(DECAY)


@st.composite
def _adam_step(draw: Draw) -> tuple[Any, ...]:
    count, dtype = draw(PARAMETERS), draw(DTYPES)
    w, m, v = (an_array(draw, (count,), dtype, _plain) for _ in range(3))
    g, t = an_array(draw, (count,), dtype), draw(st.integers(1, 2000))
    return w, g, m, abs(v), 0.01, 0.9, 0.999, 1e-4, draw(DECAY), t


@st.composite
def _adagrad_step(draw: Draw) -> tuple[Any, ...]:
    count, dtype = draw(PARAMETERS), draw(DTYPES)
    w, v = (an_array(draw, (count,), dtype, _plain) for _ in range(2))
    return w, an_array(draw, (count,), dtype), abs(v), 0.1, 1e-4, draw(DECAY)


@st.composite
def _rmsprop_step(draw: Draw) -> tuple[Any, ...]:
    count, dtype, momentum = draw(PARAMETERS), draw(DTYPES), draw(st.sampled_from([0.0, 0.9]))
    w, v = (an_array(draw, (count,), dtype, _plain) for _ in range(2))
    velocity = an_array(draw, (count if momentum else 0,), dtype, _plain)
    g = an_array(draw, (count,), dtype)
    return w, g, abs(v), velocity, 0.1, 0.99, momentum, 1e-4, draw(DECAY)


@st.composite
def _lars_step(draw: Draw) -> tuple[Any, ...]:
    count, dtype = draw(PARAMETERS), draw(DTYPES)
    w, velocity = (an_array(draw, (count,), dtype, _plain) for _ in range(2))
    w *= dtype(draw(st.sampled_from([0, 1])))
    g = an_array(draw, (count,), dtype) * dtype(draw(st.sampled_from([0, 1])))
    return w, g, velocity, 0.1, draw(st.sampled_from([0.0, 0.9])), draw(DECAY), 0.02


@st.composite
def _sum_of_squares(draw: Draw) -> tuple[Any, ...]:
    count = draw(PARAMETERS | st.sampled_from([4096, 10_000]))
    return (an_array(draw, (count,), draw(DTYPES)),)


SLOPES = st.sampled_from([0.0, 0.01, 1.5])

CASES: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "matmul": _matmul(),
    "conv2d": _conv2d(),
    "conv2d_input_gradient": _conv2d_input_gradient(),
    "conv2d_weight_gradient": _conv2d_weight_gradient(),
    "max_pool2d": _pool(),
    "max_pool2d_gradient": _max_pool2d_gradient(),
    "avg_pool2d": _pool(),
    "avg_pool2d_gradient": _avg_pool2d_gradient(),
    "batch_norm": _batch_norm(),
    "batch_norm_gradient": _batch_norm_gradient(),
    "softmax_cross_entropy": _softmax_cross_entropy(),
    "softmax_cross_entropy_gradient": _softmax_cross_entropy_gradient(),
    "bias_gradient": _bias_gradient(),
    "relu": _elementwise(1),
    "relu_gradient": _elementwise(2),
    "leaky_relu": _elementwise(1, SLOPES),
    "leaky_relu_gradient": _elementwise(2, SLOPES),
    "tanh": _elementwise(1),
    "tanh_gradient": _activation_gradient(),
    "sigmoid": _elementwise(1),
    "sigmoid_gradient": _activation_gradient(),
    "lstm_cell": _lstm_cell(),
    "lstm_cell_gradient": _lstm_cell_gradient(),
    "lstm_scan": _lstm_scan(),
    "lstm_scan_gradient": _lstm_scan_gradient(),
    "gru_cell": _gru_cell(),
    "gru_cell_gradient": _gru_cell_gradient(),
    "gru_scan": _gru_scan(),
    "gru_scan_gradient": _gru_scan_gradient(),
    "embedding_gradient": _embedding_gradient(),
    "dropout": _dropout(),
    "sgd_step": _sgd_step(),
    "adam_step": _adam_step(),
    "adamw_step": _adam_step(),
    "adagrad_step": _adagrad_step(),
    "rmsprop_step": _rmsprop_step(),
    "lars_step": _lars_step(),
    "sum_of_squares": _sum_of_squares(),
}
