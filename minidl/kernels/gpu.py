"""The kernels for GPUs: the functions of `reference` on CuPy's arrays.

Every function is written with what CuPy and NumPy have in common, so it can also be tried
where there is no GPU. Products are left to cuBLAS; windows are views, copied only for it.
Nothing is added up by threads that race for one place, so results repeat.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.errors import InputError

try:
    import cupy as cp
except ImportError as error:
    raise InputError(
        "arrays on a GPU need CuPy, which is not installed: pip install minidl[gpu]"
    ) from error

Array = Any
Pair = tuple[int, int]
ONE_HOT = 1 << 24
"""Elements of the largest table of zeros and ones that may be made at once."""


def matmul(a: Array, b: Array) -> Array:
    """See `reference.matmul`."""
    return a @ b


def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """See `reference.conv2d`."""
    kh, kw, c, o = w.shape
    windows = _windows(_pad(x, padding), (kh, kw), stride, dilation)
    weights = _parts(w, groups).reshape(groups, kh * kw * c, o // groups)
    y = _whole(_parts(windows, groups).reshape(groups, -1, kh * kw * c) @ weights)
    if b is not None:
        y += b
    return y.reshape(*windows.shape[:3], o)


def conv2d_input_gradient(
    dy: Array,
    w: Array,
    x_shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """See `reference.conv2d_input_gradient`."""
    dx = _pad(cp.zeros(x_shape, dy.dtype), padding)
    kh, kw, _, o = w.shape
    flat = _parts(dy.reshape(-1, o), groups)
    for p, q in np.ndindex(kh, kw):
        given = _whole(flat @ _parts(w[p, q], groups).swapaxes(1, 2))
        place = _at(p, q, dy.shape, stride, dilation)
        dx[place] += given.reshape(*dy.shape[:3], x_shape[3])
    return _crop(dx, padding)


def conv2d_weight_gradient(
    dy: Array,
    x: Array,
    w_shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """See `reference.conv2d_weight_gradient`."""
    kh, kw, c, o = w_shape
    windows = _windows(_pad(x, padding), (kh, kw), stride, dilation)
    rows = _parts(windows, groups).reshape(groups, -1, kh * kw * c)
    return _whole(rows.swapaxes(1, 2) @ _parts(dy.reshape(-1, o), groups)).reshape(w_shape)


def max_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """See `reference.max_pool2d`."""
    shape = _pooled(x.shape, size, stride, padding)
    inside = _pad(cp.ones(x.shape, bool), padding)
    x = _pad(x, padding)
    y, argmax = cp.zeros(shape, x.dtype), cp.zeros(shape, np.int32)
    touched = cp.zeros(shape, bool)
    for p, q in np.ndindex(size):
        place = _at(p, q, shape, stride, (1, 1))
        value = x[place]
        wins = inside[place] & ((value > y) | (value != value) | ~touched)
        y = cp.where(wins, value, y)
        argmax = cp.where(wins, np.int32(p * size[1] + q), argmax)
        touched |= inside[place]
    return y, argmax


def max_pool2d_gradient(
    dy: Array, argmax: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """See `reference.max_pool2d_gradient`."""
    dx = _pad(cp.zeros(x_shape, dy.dtype), padding)
    for p, q in np.ndindex(size):
        won = argmax == p * size[1] + q
        dx[_at(p, q, dy.shape, stride, (1, 1))] += cp.where(won, dy, dy.dtype.type(0))
    return _crop(dx, padding)


def avg_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """See `reference.avg_pool2d`."""
    shape = _pooled(x.shape, size, stride, padding)
    x = _pad(x, padding)
    y = cp.zeros(shape, x.dtype)
    for p, q in np.ndindex(size):
        y += x[_at(p, q, shape, stride, (1, 1))]
    return y * x.dtype.type(1 / (size[0] * size[1]))


def avg_pool2d_gradient(
    dy: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """See `reference.avg_pool2d_gradient`."""
    dx = _pad(cp.zeros(x_shape, dy.dtype), padding)
    share = dy * dy.dtype.type(1 / (size[0] * size[1]))
    for p, q in np.ndindex(size):
        dx[_at(p, q, dy.shape, stride, (1, 1))] += share
    return _crop(dx, padding)


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
    """See `reference.batch_norm`."""
    count = x.dtype.type(max(len(x), 1))
    mean = x.sum(axis=0) / count
    off = x - mean
    inv_std = 1 / cp.sqrt((off * off).sum(axis=0) / count + x.dtype.type(eps))
    return off * (gamma * inv_std) + beta, mean, inv_std


def batch_norm_gradient(
    dy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """See `reference.batch_norm_gradient`."""
    count = x.dtype.type(max(len(x), 1))
    normal = (x - mean) * inv_std
    dgamma = (dy * normal).sum(axis=0)
    dbeta = dy.sum(axis=0)
    dx = gamma * inv_std * (dy - dbeta / count - normal * (dgamma / count))
    return dx, dgamma, dbeta


def softmax_cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """See `reference.softmax_cross_entropy`."""
    z = logits - logits.max(axis=1, keepdims=True)
    logs = z - cp.log(cp.exp(z).sum(axis=1, keepdims=True))
    losses = -(_targets(logits, labels, smoothing) * logs).sum(axis=1)
    return losses, cp.exp(logs)


def softmax_cross_entropy_gradient(
    dlosses: Array, probabilities: Array, labels: Array, smoothing: float
) -> Array:
    """See `reference.softmax_cross_entropy_gradient`."""
    return dlosses[:, None] * (probabilities - _targets(probabilities, labels, smoothing))


def bias_gradient(dy: Array) -> Array:
    """See `reference.bias_gradient`."""
    return dy.reshape(-1, dy.shape[-1]).sum(axis=0)


def relu(x: Array) -> Array:
    """See `reference.relu`."""
    return cp.maximum(x, x.dtype.type(0))


def relu_gradient(dy: Array, y: Array) -> Array:
    """See `reference.relu_gradient`."""
    return cp.where(y > 0, dy, dy.dtype.type(0))


def leaky_relu(x: Array, slope: float) -> Array:
    """See `reference.leaky_relu`."""
    return cp.where(x > 0, x, x * x.dtype.type(slope))


def leaky_relu_gradient(dy: Array, x: Array, slope: float) -> Array:
    """See `reference.leaky_relu_gradient`."""
    return cp.where(x > 0, dy, dy * dy.dtype.type(slope))


def tanh(x: Array) -> Array:
    """See `reference.tanh`."""
    return cp.tanh(x)


def tanh_gradient(dy: Array, y: Array) -> Array:
    """See `reference.tanh_gradient`."""
    return dy * (1 - y * y)


def sigmoid(x: Array) -> Array:
    """See `reference.sigmoid`."""
    e = cp.exp(-abs(x))
    return cp.where(x >= 0, x.dtype.type(1), e) / (1 + e)


def sigmoid_gradient(dy: Array, y: Array) -> Array:
    """See `reference.sigmoid_gradient`."""
    return dy * y * (1 - y)


def lstm_cell(z: Array, c: Array) -> tuple[Array, Array, Array]:
    """See `reference.lstm_cell`."""
    i, f, g, o = cp.split(z, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), cp.tanh(g), sigmoid(o)
    c_next = f * c + i * g
    return o * cp.tanh(c_next), c_next, cp.concatenate((i, f, g, o), axis=1)


def lstm_cell_gradient(
    dh: Array, dc_next: Array, gates: Array, c: Array, c_next: Array
) -> tuple[Array, Array]:
    """See `reference.lstm_cell_gradient`."""
    i, f, g, o = cp.split(gates, 4, axis=1)
    tanh_c = cp.tanh(c_next)
    dc_next = dc_next + dh * o * (1 - tanh_c * tanh_c)
    di, df, dg, do = dc_next * g, dc_next * c, dc_next * i, dh * tanh_c
    dz = (di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o))
    return cp.concatenate(dz, axis=1), dc_next * f


def lstm_scan(z: Array, u: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
    """See `reference.lstm_scan`."""
    hs, cs, gates = [h], [c], cp.empty(z.shape, z.dtype)
    for t in range(len(z)):
        h, c, gates[t] = lstm_cell(z[t] + h @ u, c)
        hs.append(h)
        cs.append(c)
    return cp.stack(hs), cp.stack(cs), gates


def lstm_scan_gradient(
    dhs: Array, dh: Array, dc: Array, u: Array, gates: Array, cs: Array
) -> tuple[Array, Array, Array]:
    """See `reference.lstm_scan_gradient`."""
    dz = cp.empty(gates.shape, gates.dtype)
    for t in reversed(range(len(gates))):
        dz[t], dc = lstm_cell_gradient(dhs[t] + dh, dc, gates[t], cs[t], cs[t + 1])
        dh = dz[t] @ u.T
    return dz, dh, dc


def gru_cell(zx: Array, zh: Array, h: Array) -> tuple[Array, Array]:
    """See `reference.gru_cell`."""
    (xr, xu, xn), (hr, hu, hn) = cp.split(zx, 3, axis=1), cp.split(zh, 3, axis=1)
    r, u = sigmoid(xr + hr), sigmoid(xu + hu)
    n = cp.tanh(xn + r * hn)
    return (1 - u) * n + u * h, cp.concatenate((r, u, n, hn), axis=1)


def gru_cell_gradient(dh_next: Array, gates: Array, h: Array) -> tuple[Array, Array, Array]:
    """See `reference.gru_cell_gradient`."""
    r, u, n, hn = cp.split(gates, 4, axis=1)
    dn = dh_next * (1 - u) * (1 - n * n)
    du = dh_next * (h - n) * u * (1 - u)
    dr = dn * hn * r * (1 - r)
    dzx = cp.concatenate((dr, du, dn), axis=1)
    return dzx, cp.concatenate((dr, du, dn * r), axis=1), dh_next * u


def gru_scan(zx: Array, u: Array, b: Array, h: Array) -> tuple[Array, Array]:
    """See `reference.gru_scan`."""
    hs, gates = [h], cp.empty((*zx.shape[:2], 4 * len(b)), zx.dtype)
    for t in range(len(zx)):
        zh = h @ u
        zh[:, 2 * len(b) :] += b
        h, gates[t] = gru_cell(zx[t], zh, h)
        hs.append(h)
    return cp.stack(hs), gates


def gru_scan_gradient(
    dhs: Array, dh: Array, u: Array, gates: Array, hs: Array
) -> tuple[Array, Array, Array]:
    """See `reference.gru_scan_gradient`."""
    steps, n, size = dhs.shape
    dzx, dzh = (cp.empty((steps, n, 3 * size), dhs.dtype) for _ in range(2))
    for t in reversed(range(steps)):
        dzx[t], dzh[t], kept = gru_cell_gradient(dhs[t] + dh, gates[t], hs[t])
        dh = dzh[t] @ u.T + kept
    return dzx, dzh, dh


def embedding_gradient(dy: Array, indices: Array, vocabulary: int) -> Array:
    """See `reference.embedding_gradient`."""
    dw = cp.zeros((vocabulary, dy.shape[1]), dy.dtype)
    rows = cp.arange(vocabulary)[:, None]
    part = max(1, ONE_HOT // vocabulary)
    for start in range(0, len(dy), part):
        looked_up = rows == indices[start : start + part]
        dw += looked_up.astype(dy.dtype) @ dy[start : start + part]
    return dw


def dropout(x: Array, bits: Array, threshold: int, scale: float) -> Array:
    """See `reference.dropout`."""
    return cp.where(bits >= threshold, x * x.dtype.type(scale), x.dtype.type(0))


def sgd_step(
    w: Array,
    g: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """See `reference.sgd_step`."""
    number = w.dtype.type
    g = g + number(weight_decay) * w
    if momentum:
        velocity *= number(momentum)
        velocity += g
        g = g + number(momentum) * velocity if nesterov else velocity
    w -= number(lr) * g


def adam_step(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    t: int,
) -> None:
    """See `reference.adam_step`."""
    number = w.dtype.type
    g = g + number(weight_decay) * w
    m *= number(beta1)
    m += number(1 - beta1) * g
    v *= number(beta2)
    v += number(1 - beta2) * g * g
    width = cp.sqrt(v * number(1 / (1 - beta2**t))) + number(eps)
    w -= number(lr / (1 - beta1**t)) * m / width


def adamw_step(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    t: int,
) -> None:
    """See `reference.adamw_step`."""
    w *= w.dtype.type(1 - lr * weight_decay)
    adam_step(w, g, m, v, lr, beta1, beta2, eps, 0, t)


def adagrad_step(w: Array, g: Array, v: Array, lr: float, eps: float, weight_decay: float) -> None:
    """See `reference.adagrad_step`."""
    number = w.dtype.type
    g = g + number(weight_decay) * w
    v += g * g
    w -= number(lr) * g / (cp.sqrt(v) + number(eps))


def rmsprop_step(
    w: Array,
    g: Array,
    v: Array,
    velocity: Array,
    lr: float,
    alpha: float,
    momentum: float,
    eps: float,
    weight_decay: float,
) -> None:
    """See `reference.rmsprop_step`."""
    number = w.dtype.type
    g = g + number(weight_decay) * w
    v *= number(alpha)
    v += number(1 - alpha) * g * g
    g = g / (cp.sqrt(v) + number(eps))
    if momentum:
        velocity *= number(momentum)
        velocity += g
        g = velocity
    w -= number(lr) * g


def lars_step(
    w: Array,
    g: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    weight_decay: float,
    trust: float,
) -> None:
    """See `reference.lars_step`."""
    number = w.dtype.type
    # The ratio stays on the device, which need not be waited for.
    w_norm, g_norm = cp.sqrt(sum_of_squares(w)), cp.sqrt(sum_of_squares(g))
    against = g_norm + weight_decay * w_norm
    ratio = cp.where(w_norm * against > 0, trust * w_norm / cp.where(against > 0, against, 1), 1)
    velocity *= number(momentum)
    velocity += (lr * ratio).astype(w.dtype) * (g + number(weight_decay) * w)
    w -= velocity


def sum_of_squares(x: Array) -> Array:
    """See `reference.sum_of_squares`."""
    return cp.asarray(cp.square(x, dtype=np.float64).sum())


def _parts(x: Array, groups: int) -> Array:
    """x (..., C) by groups of its channels: (groups, ..., C / groups)."""
    parts = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    return cp.ascontiguousarray(cp.moveaxis(parts, -2, 0))


def _whole(parts: Array) -> Array:
    """Matrices (groups, M, C / groups), side by side: (M, C)."""
    groups, rows, each = parts.shape
    return cp.moveaxis(parts, 0, 1).reshape(rows, groups * each)


def _pad(x: Array, padding: Pair) -> Array:
    (top, left), (n, height, width, c) = padding, x.shape
    if top == left == 0:
        return x
    out = cp.zeros((n, height + 2 * top, width + 2 * left, c), x.dtype)
    out[:, top : top + height, left : left + width] = x
    return out


def _crop(x: Array, padding: Pair) -> Array:
    (top, left), (_, height, width, _) = padding, x.shape
    return cp.ascontiguousarray(x[:, top : height - top, left : width - left])


def _pooled(shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair) -> tuple[int, ...]:
    height, width = ((shape[1 + k] + 2 * padding[k] - size[k]) // stride[k] + 1 for k in range(2))
    return shape[0], height, width, shape[3]


def _windows(x: Array, size: Pair, stride: Pair, dilation: Pair) -> Array:
    """All windows of x (N, H, W, C), as a view (N, H', W', KH, KW, C)."""
    x = cp.ascontiguousarray(x)
    n, height, width, c = x.shape
    rows, columns = (
        (length - d * (k - 1) - 1) // s + 1
        for length, k, s, d in zip((height, width), size, stride, dilation, strict=True)
    )
    image, row, pixel, number = x.strides
    return cp.lib.stride_tricks.as_strided(
        x,
        (n, rows, columns, *size, c),
        (
            *(image, stride[0] * row, stride[1] * pixel),
            *(dilation[0] * row, dilation[1] * pixel, number),
        ),
    )


def _at(
    p: int, q: int, y_shape: tuple[int, ...], stride: Pair, dilation: Pair
) -> tuple[slice, slice, slice]:
    """Where (p, q) of every window stands."""
    rows, columns = (
        slice(k * d, k * d + s * (count - 1) + 1, s)
        for k, d, s, count in zip((p, q), dilation, stride, y_shape[1:3], strict=True)
    )
    return slice(None), rows, columns


def _targets(like: Array, labels: Array, smoothing: float) -> Array:
    """The distributions that `labels` stand for, (M, C)."""
    classes = like.shape[1]
    right = labels[:, None] == cp.arange(classes)
    number = like.dtype.type
    return cp.where(right, number(1 - smoothing + smoothing / classes), number(smoothing / classes))
