"""Convolution and its two gradients, each one sum of products over steps through memory.

Nothing is unfolded: images get a border of zeros, and the core walks over them. Groups of
channels are walked over one by one, for they see nothing of each other.
"""

from __future__ import annotations

from itertools import product
from math import gcd
from typing import Any, NamedTuple

import numba
import numpy as np

from minidl.kernels.cpu import depthwise
from minidl.kernels.cpu.cache import njit
from minidl.kernels.cpu.calls import ready, share
from minidl.kernels.cpu.dense import matmul, pack
from minidl.kernels.cpu.products import Product, panel_width, run, slack

Array = np.ndarray
Pair = tuple[int, int]

PIXELS = 512
"""Pixels whose products are summed into a weight's gradient at a time; they stay cached."""

DEPTH = 2048
"""Numbers of a window that are summed at a time, for the same reason."""


def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """Convolution; see `reference.conv2d`. Rows are output pixels, summands window cells."""
    images, height, width, channels = x.shape
    kh, kw, c, filters = w.shape
    o = filters // groups
    y_height = (height + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    y_width = (width + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    if channels == groups > 1:
        y = depthwise.conv2d(x, w, (y_height, y_width), stride, padding, dilation)
        return y if b is None else np.add(y, b, out=y)
    x = _bordered(x, (padding[0], padding[0]), (padding[1], padding[1]))
    row, image = x.shape[2] * channels, x.shape[1] * x.shape[2] * channels
    y = slack(images * y_height * y_width * filters, x.dtype)
    for group in range(groups):
        part = slice(group * o, (group + 1) * o)
        run(
            Product(
                rows=(images, y_height, y_width),
                a_rows=(image, stride[0] * row, stride[1] * channels),
                c_rows=(y_height * y_width * filters, y_width * filters, filters),
                columns=o,
                a_start=group * c,
                c_start=group * o,
                **_window((kh, kw, c), row, channels, dilation, x.dtype),
            ),
            x.reshape(-1),
            pack(ready(w[..., part]).reshape(kh * kw * c, o)),
            y,
            None if b is None else b[part],
        )
    return y.reshape(images, y_height, y_width, filters)


def conv2d_weight_gradient(
    dy: Array,
    x: Array,
    w_shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """See `reference.conv2d_weight_gradient`. Rows are cells of w, summands output pixels."""
    channels = x.shape[3]
    if channels == groups > 1:
        return depthwise.conv2d_weight_gradient(dy, x, w_shape, stride, padding, dilation)
    kh, kw, c, filters = w_shape
    o = filters // groups
    images, y_height, y_width, _ = dy.shape
    x = _bordered(x, (padding[0], padding[0]), (padding[1], padding[1]))
    row, image = x.shape[2] * channels, x.shape[1] * x.shape[2] * channels
    flat = ready(dy).reshape(-1)
    if o % panel_width(x.dtype):
        flat = slack(dy.size, x.dtype)
        flat.reshape(dy.shape)[...] = dy
    size = kh * kw * c * o
    dw = slack(groups * size, x.dtype)
    for group in range(groups):
        run(
            Product(
                rows=(kh, kw, c),
                a_rows=(dilation[0] * row, dilation[1] * channels, 1),
                c_rows=(kw * c * o, c * o, o),
                sums=(images, y_height, y_width),
                a_sums=(image, stride[0] * row, stride[1] * channels),
                b_sums=(y_height * y_width * filters, y_width * filters, filters),
                columns=o,
                panel=panel_width(x.dtype),
                a_start=group * c,
                block=(max(1, PIXELS // (y_height * y_width)), max(1, PIXELS // y_width)),
                shared=True,
            ),
            x.reshape(-1),
            flat[group * o :],
            dw[group * size : (group + 1) * size],
        )
    return np.moveaxis(dw.reshape(groups, kh, kw, c, o), 0, 3).reshape(w_shape)


def conv2d_input_gradient(
    dy: Array,
    w: Array,
    x_shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """See `reference.conv2d_input_gradient`: convolution of dy with w turned around.

    With a stride, input pixels fall into as many phases as it has steps, and those of one
    phase meet the same cells of w; for each phase it is a convolution without a stride.
    Its columns are channels of x: few of them would leave vectors empty, so then all cells
    of w are columns, and what they give is added up afterwards.
    """
    images, height, width, channels = x_shape
    if channels == groups > 1:
        return depthwise.conv2d_input_gradient(dy, w, x_shape, stride, padding, dilation)
    if groups == 1 and 8 * channels <= panel_width(dy.dtype):
        return _input_gradient_by_folding(dy, w, x_shape, stride, padding, dilation)
    kh, kw, c, filters = w.shape
    o = filters // groups
    down, right = (
        _phases(*numbers)
        for numbers in zip(x_shape[1:3], (kh, kw), stride, padding, dilation, strict=True)
    )
    border = [_border(phases, dy.shape[1 + axis]) for axis, phases in enumerate((down, right))]
    dy = _bordered(dy, *border)
    row, image = dy.shape[2] * filters, dy.shape[1] * dy.shape[2] * filters
    dx = slack(images * height * width * channels, dy.dtype)
    if len(down) < stride[0] or len(right) < stride[1]:
        dx[:] = 0
    line = width * channels
    for i, j, group in product(down, right, range(groups)):
        cells = w[i.taps, j.taps, :, group * o : (group + 1) * o]
        cells = cells[::-1, ::-1].transpose(0, 1, 3, 2)
        start = (i.start + border[0][0]) * row + (j.start + border[1][0]) * filters
        run(
            Product(
                rows=(images, i.length, j.length),
                a_rows=(image, row, filters),
                c_rows=(height * line, stride[0] * line, stride[1] * channels),
                columns=c,
                a_start=start + group * o,
                c_start=i.first * line + j.first * channels + group * c,
                **_window((*cells.shape[:2], o), row, filters, (i.step, j.step), dy.dtype),
            ),
            dy.reshape(-1),
            pack(ready(cells).reshape(-1, c)),
            dx,
        )
    return dx.reshape(x_shape)


def _input_gradient_by_folding(
    dy: Array, w: Array, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    images, height, width, c = x_shape
    kh, kw, _, o = w.shape
    cells = matmul(ready(w).reshape(-1, o), ready(dy).reshape(-1, o).T)
    dx = np.zeros((images, height, width * c), dy.dtype)
    planes = cells.reshape(kh, kw, c, *dy.shape[:3])
    share(_fold, cells.size, planes, dx, *stride, *padding, *dilation)
    return dx.reshape(x_shape)


@njit(parallel=True, nogil=True)
def _fold(planes: Array, dx: Array, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int) -> None:
    kh, kw, channels, _, y_height, y_width = planes.shape
    width = dx.shape[2] // channels
    for index in numba.prange(dx.shape[0]):
        n = np.int64(index)
        for i in range(y_height):
            for p in range(kh):
                line = i * sh + p * dh - ph
                if line < 0 or line >= dx.shape[1]:
                    continue
                for q in range(kw):
                    left = q * dw - pw
                    first = max(0, -(left // sw))
                    end = min(y_width, (width - 1 - left) // sw + 1)
                    for c in range(channels):
                        for j in range(first, end):
                            place = (left + j * sw) * channels + c
                            dx[n, line, place] += planes[p, q, c, n, i, j]


class _Phase(NamedTuple):
    """Input positions, along one axis, that meet the same cells of the kernel."""

    first: int
    length: int
    taps: slice
    cells: int
    start: int
    """The output position that the last of the cells takes the first input position to."""
    step: int
    """Between the output positions that two neighbours among these cells take it to."""


def _phases(length: int, k: int, stride: int, padding: int, dilation: int) -> list[_Phase]:
    """Solve ``i + padding = s * stride + p * dilation`` for i by i's phase."""
    common = gcd(stride, dilation)
    every = stride // common
    phases = []
    for p in range(min(k, every)):
        first = (p * dilation - padding) % stride
        if first >= length:
            continue
        cells = (k - 1 - p) // every + 1
        last = p + (cells - 1) * every
        phases.append(
            _Phase(
                first=first,
                length=-(-(length - first) // stride),
                taps=slice(p, None, every),
                cells=cells,
                start=(first + padding - last * dilation) // stride,
                step=dilation // common,
            )
        )
    return phases


def _border(phases: list[_Phase], length: int) -> Pair:
    """The zeros needed before and after outputs, along one axis, for all phases."""
    if not phases:
        return 0, 0
    ends = [f.start + f.length - 1 + (f.cells - 1) * f.step for f in phases]
    before = max(-f.start for f in phases)
    return max(0, before), max(0, max(ends) - (length - 1))


def _window(
    extents: tuple[int, int, int], row: int, pixel: int, steps: Pair, dtype: np.dtype
) -> dict[str, Any]:
    """The summands of a window: rows, columns and channels; the latter two at once if whole."""
    (kh, kw, c), width = extents, panel_width(dtype)
    panel = kh * kw * c * width
    if steps[1] == 1 and pixel == c:
        return {
            "sums": (1, kh, kw * c),
            "a_sums": (0, steps[0] * row, 1),
            "b_sums": (0, kw * c * width, width),
            "panel": panel,
            "block": (1, max(1, DEPTH // (kw * c))),
        }
    return {
        "sums": (kh, kw, c),
        "a_sums": (steps[0] * row, steps[1] * pixel, 1),
        "b_sums": (kw * c * width, c * width, width),
        "panel": panel,
    }


def _bordered(x: Array, rows: Pair, columns: Pair) -> Array:
    """x (N, H, W, C), contiguous, with so many zeros before and after rows and columns."""
    x = ready(x)
    if rows == columns == (0, 0):
        return x
    n, height, width, c = x.shape
    out = np.empty((n, height + sum(rows), width + sum(columns), c), x.dtype)
    lines = out.reshape(n, out.shape[1], out.shape[2] * c)
    share(_surround, out.size, x.reshape(n, height, width * c), lines, rows[0], columns[0] * c)
    return out


@njit(parallel=True, nogil=True)
def _surround(x: Array, out: Array, top: int, left: int) -> None:
    n, height, width = x.shape
    for line in numba.prange(n * out.shape[1]):
        image, i = divmod(np.int64(line), out.shape[1])
        if i < top or i >= top + height:
            for j in range(out.shape[2]):
                out[image, i, j] = 0
        else:
            for j in range(left):
                out[image, i, j] = 0
            for j in range(width):
                out[image, i, left + j] = x[image, i - top, j]
            for j in range(left + width, out.shape[2]):
                out[image, i, j] = 0
