"""What convolution and pooling take."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.errors import InputError, ShapeError
from minidl.kernels import Array, Pair
from minidl.kernels.contracts.types import floats, misfit

__all__: list[str] = []


def _windows(
    kernel: str, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Pair:
    """How many windows there are, down and across."""
    if not isinstance(x_shape, tuple) or len(x_shape) != 4:
        raise misfit(kernel, "images (N, H, W, C)", x_shape)
    n, height, width, channels = x_shape
    try:
        (kh, kw), (sh, sw), (ph, pw), (dh, dw) = size, stride, padding, dilation
        # Of whole numbers only there is a bitwise or, which costs less than a look at each.
        _ = kh | kw | sh | sw | ph | pw | dh | dw | n | height | width | channels
    except (TypeError, ValueError):
        raise InputError(
            f"{kernel} takes pairs of whole numbers as windows, strides, dilations and paddings, "
            f"not {size}, {stride}, {dilation} and {padding} for images {x_shape}"
        ) from None
    if kh < 1 or kw < 1 or sh < 1 or sw < 1 or dh < 1 or dw < 1 or ph < 0 or pw < 0:
        raise InputError(
            f"{kernel} takes windows, strides and dilations of at least 1 and paddings of at "
            f"least 0, not {size}, {stride}, {dilation} and {padding}"
        )
    rows = (height + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    columns = (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    if rows < 1 or columns < 1:
        raise ShapeError(
            f"{kernel}: a window of {dh * (kh - 1) + 1}×{dw * (kw - 1) + 1} does not fit into "
            f"images of {height + 2 * ph}×{width + 2 * pw}, padding included"
        )
    return rows, columns


def _convolved(
    kernel: str,
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> tuple[int, ...]:
    """The shape of the result of a convolution."""
    tuples = isinstance(w_shape, tuple) and isinstance(x_shape, tuple)
    if not tuples or len(w_shape) != 4 or len(x_shape) != 4:
        raise misfit(kernel, "x (N, H, W, C) and w (KH, KW, C / groups, O)", x_shape, w_shape)
    rows, columns = _windows(kernel, x_shape, w_shape[:2], stride, padding, dilation)
    depth, filters = w_shape[2:]
    try:
        _ = depth | filters | groups
    except TypeError:
        raise InputError(
            f"{kernel} takes whole numbers of channels and groups, not w of shape {w_shape} in "
            f"{groups} groups"
        ) from None
    if not (groups >= 1 and filters and depth) or x_shape[3] != groups * depth or filters % groups:
        wanted = f"w (KH, KW, C / groups, O) for x (N, H, W, C) in {groups} groups"
        raise misfit(kernel, wanted, w_shape, x_shape)
    return x_shape[0], rows, columns, filters


def conv2d(x: Array, w: Array, b: Array | None, *window: Any) -> tuple[Any, ...]:
    if b is None:
        x, w = floats(x, w)
    else:
        x, w, b = floats(x, w, b)
    shape = _convolved("conv2d", x.shape, w.shape, *window)
    if b is not None and b.shape != shape[3:]:
        raise misfit("conv2d", f"a bias of shape {shape[3:]}", b)
    return x, w, b, *window


def conv2d_input_gradient(
    dy: Array, w: Array, x_shape: tuple[int, ...], *window: Any
) -> tuple[Any, ...]:
    dy, w = floats(dy, w)
    name = "conv2d_input_gradient"
    shape = _convolved(name, x_shape, w.shape, *window)
    if dy.shape != shape:
        raise misfit(name, f"a dy of shape {shape}", dy)
    return dy, w, x_shape, *window


def conv2d_weight_gradient(
    dy: Array, x: Array, w_shape: tuple[int, ...], *window: Any
) -> tuple[Any, ...]:
    dy, x = floats(dy, x)
    name = "conv2d_weight_gradient"
    shape = _convolved(name, x.shape, w_shape, *window)
    if dy.shape != shape:
        raise misfit(name, f"a dy of shape {shape}", dy)
    return dy, x, w_shape, *window


def _pooled(
    kernel: str, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> tuple[int, ...]:
    """The shape of the result of pooling."""
    rows, columns = _windows(kernel, x_shape, size, stride, padding, (1, 1))
    if 2 * padding[0] > size[0] or 2 * padding[1] > size[1]:
        raise InputError(
            f"{kernel}: a padding of {padding} is more than half of a window of {size}, "
            "so that some windows would hold nothing else"
        )
    return x_shape[0], rows, columns, x_shape[3]


def max_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Any, ...]:
    (x,) = floats(x)
    _pooled("max_pool2d", x.shape, size, stride, padding)
    return x, size, stride, padding


def avg_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Any, ...]:
    (x,) = floats(x)
    _pooled("avg_pool2d", x.shape, size, stride, padding)
    return x, size, stride, padding


def max_pool2d_gradient(
    dy: Array, argmax: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> tuple[Any, ...]:
    (dy,) = floats(dy)
    shape = _pooled("max_pool2d_gradient", x_shape, size, stride, padding)
    if getattr(argmax, "dtype", None) != np.int32:
        raise InputError(
            f"max_pool2d_gradient takes an argmax of int32, not {getattr(argmax, 'dtype', argmax)}"
        )
    if dy.shape != shape or argmax.shape != shape:
        raise misfit("max_pool2d_gradient", f"dy and argmax of shape {shape}", dy, argmax)
    return dy, argmax, x_shape, size, stride, padding


def avg_pool2d_gradient(
    dy: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> tuple[Any, ...]:
    (dy,) = floats(dy)
    shape = _pooled("avg_pool2d_gradient", x_shape, size, stride, padding)
    if dy.shape != shape:
        raise misfit("avg_pool2d_gradient", f"a dy of shape {shape}", dy)
    return dy, x_shape, size, stride, padding
