"""One call of every kernel, for machines that have nothing but NumPy and CuPy.

The tests draw many more, of all sizes and layouts, but need Hypothesis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels import reference


def calls() -> dict[str, tuple[Any, ...]]:
    """The arguments of each kernel, by its name; all in float32."""
    numbers = np.random.default_rng(0)

    def a(*shape: int) -> np.ndarray:
        return numbers.standard_normal(shape).astype(np.float32)

    n, h, steps = 5, 7, 3
    image, filters, y = a(n, 9, 8, 4), a(3, 3, 2, 6), (n, 5, 3, 6)
    convolution = ((2, 2), (1, 0), (1, 1), 2)
    pooling = ((3, 2), (2, 2), (1, 0))
    labels = numbers.integers(0, h, n)
    softmax = abs(a(n, h))
    softmax /= softmax.sum(axis=1, keepdims=True)
    x = a(40, h)
    bits = numbers.integers(0, 2**32, (n, h), dtype=np.uint32)
    w, positive = a(100), abs(a(100))
    gates = np.tanh(a(steps, n, 4 * h))
    return {
        "matmul": (a(33, 70), a(70, 13)),
        "bias_gradient": (a(n, 9, h),),
        "conv2d": (image, filters, a(6), *convolution),
        "conv2d_input_gradient": (a(*y), filters, image.shape, *convolution),
        "conv2d_weight_gradient": (a(*y), image, filters.shape, *convolution),
        "max_pool2d": (image, *pooling),
        "max_pool2d_gradient": (
            a(n, 5, 4, 4), reference.max_pool2d(image, *pooling)[1], image.shape, *pooling,
        ),
        "avg_pool2d": (image, *pooling),
        "avg_pool2d_gradient": (a(n, 5, 4, 4), image.shape, *pooling),
        "batch_norm": (x, a(h), a(h), 1e-3),
        "batch_norm_gradient": (a(40, h), x, a(h), x.mean(axis=0), abs(a(h))),
        "softmax_cross_entropy": (a(n, h), labels, 0.1),
        "softmax_cross_entropy_gradient": (a(n), softmax, labels, 0.1),
        "relu": (a(n, h),),
        "relu_gradient": (a(n, h), a(n, h)),
        "leaky_relu": (a(n, h), 0.1),
        "leaky_relu_gradient": (a(n, h), a(n, h), 0.1),
        "tanh": (a(n, h),),
        "tanh_gradient": (a(n, h), np.tanh(a(n, h))),
        "sigmoid": (a(n, h),),
        "sigmoid_gradient": (a(n, h), abs(np.tanh(a(n, h)))),
        "lstm_cell": (a(n, 4 * h), a(n, h)),
        "lstm_cell_gradient": (a(n, h), a(n, h), gates[0], a(n, h), a(n, h)),
        "lstm_scan": (a(steps, n, 4 * h), a(h, 4 * h), a(n, h), a(n, h)),
        "lstm_scan_gradient": (
            a(steps, n, h), a(n, h), a(n, h), a(h, 4 * h), gates, a(steps + 1, n, h),
        ),
        "gru_cell": (a(n, 3 * h), a(n, 3 * h), a(n, h)),
        "gru_cell_gradient": (a(n, h), gates[0], a(n, h)),
        "gru_scan": (a(steps, n, 3 * h), a(h, 3 * h), a(h), a(n, h)),
        "gru_scan_gradient": (
            a(steps, n, h), a(n, h), a(h, 3 * h), gates, a(steps + 1, n, h),
        ),
        "embedding_gradient": (a(n, h), labels, h),
        "dropout": (a(n, h), bits, 2**31, 2.0),
        "sgd_step": (w, a(100), a(100), 0.1, 0.9, True, 0.01),
        "adam_step": (w, a(100), a(100), positive, 0.01, 0.9, 0.999, 1e-4, 0.01, 3),
        "adamw_step": (w, a(100), a(100), positive, 0.01, 0.9, 0.999, 1e-4, 0.01, 3),
        "adagrad_step": (w, a(100), positive, 0.1, 1e-4, 0.01),
        "rmsprop_step": (w, a(100), positive, a(100), 0.1, 0.99, 0.9, 1e-4, 0.01),
        "lars_step": (w, a(100), a(100), 0.1, 0.9, 0.01, 0.02),
        "sum_of_squares": (a(10_000),),
    }  # fmt: skip


def difference(found: Any, wanted: Any) -> float:
    """How far two results are apart, relative to the largest number of the latter.

    Infinite where they are not of one kind.
    """
    if isinstance(wanted, tuple | list):
        return max((difference(*pair) for pair in zip(found, wanted, strict=True)), default=0.0)
    if not isinstance(wanted, np.ndarray):
        return 0.0 if found == wanted else float("inf")
    found = found.get()
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return float("inf")
    apart = abs(found.astype(float) - wanted.astype(float)).max(initial=0.0)
    apart /= max(1.0, abs(wanted.astype(float)).max(initial=0.0))
    return float(apart) if apart >= 0 else float("inf")  # not of NaN
