"""What every kernel is: the definition that the fast versions are held equal to.

Arrays are float32 or float64 and come back as they came. Axis 0 is the batch, the last
axis the features or channels; sizes, strides, paddings and dilations are pairs
(vertical, horizontal). `x` goes in and `y` comes out; `dx` is the loss's gradient by `x`.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray
Pair = tuple[int, int]


def matmul(a: Array, b: Array) -> Array:
    """The product of two matrices, (M, K) and (K, N)."""
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
    """Convolution: what deep learning calls so, a sliding scalar product.

    ``y[n,i,j,o] = b[o] + sum over p,q,c of x[n, i*s + p*d - pad, j*s + q*d - pad, c] w[p,q,c,o]``

    In groups, the channels of x and those of y are cut into as many equal parts; each part of
    y sees one part of x only.

    Parameters
    ----------
    x
        (N, H, W, C), surrounded by `padding` zeros on each side.
    w
        (KH, KW, C / groups, O).
    b
        (O,), or None.
    stride, padding, dilation
        Step between windows, zeros at each border, step within a window.
    groups
        A divisor of C and of O.

    Returns
    -------
    array
        (N, H', W', O) with ``H' = (H + 2 pad - d (KH - 1) - 1) // s + 1``.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    windows = _windows(_pad(x, padding), w.shape[:2], stride, dilation)
    parts = zip(np.split(windows, groups, axis=3), np.split(w, groups, axis=-1), strict=True)
    y = [np.einsum("nijcpq,pqco->nijo", part, v, optimize=True) for part, v in parts]
    whole = np.concatenate(y, axis=-1)
    return whole if b is None else whole + b


def conv2d_input_gradient(
    dy: Array,
    w: Array,
    x_shape: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
) -> Array:
    """The gradient of `conv2d` by x: each output gives back to the inputs it was made of."""
    dx = _pad(np.zeros(x_shape, dy.dtype), padding)
    for p, q in np.ndindex(w.shape[:2]):
        parts = zip(np.split(dy, groups, axis=-1), np.split(w[p, q], groups, axis=-1), strict=True)
        given = np.concatenate([part @ v.T for part, v in parts], axis=-1)
        _at(dx, p, q, dy.shape, stride, dilation)[...] += given
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
    """The gradient of `conv2d` by w: inputs times the outputs they went into."""
    windows = _windows(_pad(x, padding), (w_shape[0], w_shape[1]), stride, dilation)
    parts = zip(np.split(windows, groups, axis=3), np.split(dy, groups, axis=-1), strict=True)
    dw = [np.einsum("nijcpq,nijo->pqco", part, u, optimize=True) for part, u in parts]
    return np.concatenate(dw, axis=-1)


def max_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """The maximum of each window of x (N, H, W, C).

    Returns
    -------
    y : (N, H', W', C)
    argmax : (N, H', W', C), int32
        Where in its window, counted row by row, the first maximum stands. Padding never wins.
    """
    windows = _windows(_pad(x, padding, -np.inf), size, stride, (1, 1))
    inside = _windows(_pad(np.ones(x.shape, bool), padding), size, stride, (1, 1))
    y = windows.max(axis=(-2, -1))
    winners = (windows == y[..., None, None]) & inside
    return y, winners.reshape(*y.shape, size[0] * size[1]).argmax(axis=-1).astype(np.int32)


def max_pool2d_gradient(
    dy: Array, argmax: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """The gradient of `max_pool2d`: it goes to the winner of each window."""
    dx = _pad(np.zeros(x_shape, dy.dtype), padding)
    for p, q in np.ndindex(size):
        won = argmax == p * size[1] + q
        _at(dx, p, q, dy.shape, stride, (1, 1))[...] += np.where(won, dy, 0)
    return _crop(dx, padding)


def avg_pool2d(x: Array, size: Pair, stride: Pair, padding: Pair) -> Array:
    """The mean of each window of x (N, H, W, C), zeros of the padding counted."""
    return _windows(_pad(x, padding), size, stride, (1, 1)).mean(axis=(-2, -1))


def avg_pool2d_gradient(
    dy: Array, x_shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair
) -> Array:
    """The gradient of `avg_pool2d`: every cell of a window gets the same share."""
    dx = _pad(np.zeros(x_shape, dy.dtype), padding)
    for p, q in np.ndindex(size):
        _at(dx, p, q, dy.shape, stride, (1, 1))[...] += dy / (size[0] * size[1])
    return _crop(dx, padding)


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
    """Normalise each column of x (M, C) to mean 0 and variance 1, then scale and shift.

    Returns
    -------
    y : (M, C)
    mean, inv_std : (C,)
        Of the columns: the mean, and 1 / sqrt(biased variance + eps).

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", 2015.
    """
    count = max(len(x), 1)
    mean = x.sum(axis=0) / count
    inv_std = 1 / np.sqrt(((x - mean) ** 2).sum(axis=0) / count + x.dtype.type(eps))
    return gamma * (x - mean) * inv_std + beta, mean, inv_std


def batch_norm_gradient(
    dy: Array, x: Array, gamma: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """The gradients of `batch_norm` by x, gamma and beta.

    The mean and the variance depend on x too: so dx has neither mean nor a part along x.
    """
    count = max(len(x), 1)
    normal = (x - mean) * inv_std
    dgamma = (dy * normal).sum(axis=0)
    dbeta = dy.sum(axis=0)
    dx = gamma * inv_std * (dy - dbeta / count - normal * dgamma / count)
    return dx, dgamma, dbeta


def softmax_cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """Cross entropy between the softmax of each row and its label.

    Parameters
    ----------
    logits
        (M, C).
    labels
        (M,), whole numbers from 0 to C - 1.
    smoothing
        The part of the label's weight that is spread evenly over all classes.

    Returns
    -------
    losses : (M,)
    probabilities : (M, C)

    References
    ----------
    Szegedy et al., "Rethinking the Inception architecture", 2016, for the smoothing.
    """
    z = logits - logits.max(axis=1, keepdims=True)
    logs = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    losses = -(_targets(logits, labels, smoothing) * logs).sum(axis=1)
    return losses, np.exp(logs)


def softmax_cross_entropy_gradient(
    dlosses: Array, probabilities: Array, labels: Array, smoothing: float
) -> Array:
    """The gradient of `softmax_cross_entropy` by the logits: what is predicted, less what is."""
    return dlosses[:, None] * (probabilities - _targets(probabilities, labels, smoothing))


def bias_gradient(dy: Array) -> Array:
    """The gradient by what is added along the last axis: the sum over all others."""
    return dy.reshape(-1, dy.shape[-1]).sum(axis=0)


def relu(x: Array) -> Array:
    """The larger of x and 0."""
    return np.maximum(x, 0)


def relu_gradient(dy: Array, y: Array) -> Array:
    """The gradient of `relu`, from its output."""
    return np.where(y > 0, dy, 0)


def leaky_relu(x: Array, slope: float) -> Array:
    """x where it is positive, `slope` times x elsewhere."""
    return np.where(x > 0, x, x * x.dtype.type(slope))


def leaky_relu_gradient(dy: Array, x: Array, slope: float) -> Array:
    """The gradient of `leaky_relu`, from its input."""
    return np.where(x > 0, dy, dy * x.dtype.type(slope))


def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x)


def tanh_gradient(dy: Array, y: Array) -> Array:
    """The gradient of `tanh`, from its output."""
    return dy * (1 - y * y)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), in two forms so that exp never overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def sigmoid_gradient(dy: Array, y: Array) -> Array:
    """The gradient of `sigmoid`, from its output."""
    return dy * y * (1 - y)


def lstm_cell(z: Array, c: Array) -> tuple[Array, Array, Array]:
    """One step of a long short-term memory, from its gates' arguments.

    ``c_next = f c + i g`` and ``h = o tanh(c_next)``, where i, f and o are sigmoids and g is a
    tanh of the four quarters of z, in the order i, f, g, o.

    Parameters
    ----------
    z
        (N, 4 H).
    c
        (N, H), the cell's memory before the step.

    Returns
    -------
    h, c_next : (N, H)
    gates : (N, 4 H)
        The values of i, f, g and o, for the gradient.

    References
    ----------
    Hochreiter and Schmidhuber, "Long short-term memory", 1997; Gers et al., "Learning to
    forget", 2000, for the gate f.
    """
    i, f, g, o = np.split(z, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c_next = f * c + i * g
    return o * np.tanh(c_next), c_next, np.concatenate((i, f, g, o), axis=1)


def lstm_cell_gradient(
    dh: Array, dc_next: Array, gates: Array, c: Array, c_next: Array
) -> tuple[Array, Array]:
    """The gradients of `lstm_cell` by z and c, from those by h and c_next.

    c_next reaches the loss by two ways: through h, and through the next step.
    """
    i, f, g, o = np.split(gates, 4, axis=1)
    tanh_c = np.tanh(c_next)
    dc_next = dc_next + dh * o * (1 - tanh_c * tanh_c)
    di, df, dg, do = dc_next * g, dc_next * c, dc_next * i, dh * tanh_c
    dz = (di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o))
    return np.concatenate(dz, axis=1), dc_next * f


def lstm_scan(z: Array, u: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
    """All steps of a long short-term memory, one after the other.

    Parameters
    ----------
    z
        (T, N, 4 H), what the gates of each step get beside ``h @ u``.
    u
        (H, 4 H), what the state is multiplied by.
    h, c
        (N, H), the state before the first step.

    Returns
    -------
    hs, cs : (T + 1, N, H)
        The states before the first step and after each.
    gates : (T, N, 4 H)
        As of `lstm_cell`.
    """
    hs, cs, gates = [h], [c], np.empty(z.shape, z.dtype)
    for t in range(len(z)):
        h, c, gates[t] = lstm_cell(z[t] + h @ u, c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs), gates


def lstm_scan_gradient(
    dhs: Array, dh: Array, dc: Array, u: Array, gates: Array, cs: Array
) -> tuple[Array, Array, Array]:
    """The gradients of `lstm_scan` by z and by the first h and c.

    From those by the h after each step (T, N, H), and by what of the last state goes on.
    """
    dz = np.empty(gates.shape, gates.dtype)
    for t in reversed(range(len(gates))):
        dz[t], dc = lstm_cell_gradient(dhs[t] + dh, dc, gates[t], cs[t], cs[t + 1])
        dh = dz[t] @ u.T
    return dz, dh, dc


def gru_cell(zx: Array, zh: Array, h: Array) -> tuple[Array, Array]:
    """One step of a gated recurrent unit, from its products with the input and with h.

    With the three thirds of zx and zh, ``r = sigmoid(zx + zh)``, ``u = sigmoid(zx + zh)`` and
    ``n = tanh(zx + r zh)``; ``h_next = (1 - u) n + u h``.

    Parameters
    ----------
    zx, zh
        (N, 3 H).
    h
        (N, H), the state before the step.

    Returns
    -------
    h_next : (N, H)
    gates : (N, 4 H)
        The values of r, u, n and of zh's last third, for the gradient.

    References
    ----------
    Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014. There r
    multiplies h before the product; here, as in cuDNN and PyTorch, what comes out of it, so
    that one product serves all three.
    """
    (xr, xu, xn), (hr, hu, hn) = np.split(zx, 3, axis=1), np.split(zh, 3, axis=1)
    r, u = sigmoid(xr + hr), sigmoid(xu + hu)
    n = np.tanh(xn + r * hn)
    return (1 - u) * n + u * h, np.concatenate((r, u, n, hn), axis=1)


def gru_cell_gradient(dh_next: Array, gates: Array, h: Array) -> tuple[Array, Array, Array]:
    """The gradients of `gru_cell` by zx, zh and h."""
    r, u, n, hn = np.split(gates, 4, axis=1)
    dn = dh_next * (1 - u) * (1 - n * n)
    du = dh_next * (h - n) * u * (1 - u)
    dr = dn * hn * r * (1 - r)
    dzx = np.concatenate((dr, du, dn), axis=1)
    return dzx, np.concatenate((dr, du, dn * r), axis=1), dh_next * u


def gru_scan(zx: Array, u: Array, b: Array, h: Array) -> tuple[Array, Array]:
    """All steps of a gated recurrent unit, one after the other.

    Parameters
    ----------
    zx
        (T, N, 3 H), the products with the inputs.
    u
        (H, 3 H), what the state is multiplied by.
    b
        (H,), what the last third of that product is given.
    h
        (N, H), the state before the first step.

    Returns
    -------
    hs : (T + 1, N, H)
        The states before the first step and after each.
    gates : (T, N, 4 H)
        As of `gru_cell`.
    """
    hs, gates = [h], np.empty((*zx.shape[:2], 4 * len(b)), zx.dtype)
    for t in range(len(zx)):
        zh = h @ u
        zh[:, 2 * len(b) :] += b
        h, gates[t] = gru_cell(zx[t], zh, h)
        hs.append(h)
    return np.stack(hs), gates


def gru_scan_gradient(
    dhs: Array, dh: Array, u: Array, gates: Array, hs: Array
) -> tuple[Array, Array, Array]:
    """The gradients of `gru_scan` by zx, by the products with the states, and by the first h.

    From those by the h after each step (T, N, H), and by what of the last one goes on.
    """
    steps, n, size = dhs.shape
    dzx, dzh = (np.empty((steps, n, 3 * size), dhs.dtype) for _ in range(2))
    for t in reversed(range(steps)):
        dzx[t], dzh[t], kept = gru_cell_gradient(dhs[t] + dh, gates[t], hs[t])
        dh = dzh[t] @ u.T + kept
    return dzx, dzh, dh


def embedding_gradient(dy: Array, indices: Array, vocabulary: int) -> Array:
    """The gradient of ``w[indices]`` by w: each row gathers from wherever it was looked up.

    Parameters
    ----------
    dy
        (M, C).
    indices
        (M,), whole numbers from 0 to vocabulary - 1.
    vocabulary
        The number of rows of w.
    """
    dw = np.zeros((vocabulary, dy.shape[1]), dy.dtype)
    np.add.at(dw, indices, dy)
    return dw


def dropout(x: Array, bits: Array, threshold: int, scale: float) -> Array:
    """x times `scale` where a random number is at least `threshold`, 0 elsewhere.

    The gradient is the same function of dy.

    Parameters
    ----------
    x, bits
        Of one shape; `bits` are uniform uint32.
    threshold
        The probability of dropping, times 2**32.
    scale
        1 / (1 - that probability), so that the mean stays.
    """
    return np.where(bits >= threshold, x * x.dtype.type(scale), 0)


def sgd_step(
    w: Array,
    g: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """One step of stochastic gradient descent, in place.

    Parameters
    ----------
    w, g
        Weights and their gradient, (P,).
    velocity
        (P,), zero before the first step; empty if there is no momentum.
    lr, momentum, nesterov, weight_decay
        As in ``torch.optim.SGD``: the learning rate multiplies the velocity, and the
        decay is added to the gradient.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum", 2013.
    """
    g = g + weight_decay * w
    if momentum:
        velocity[...] = momentum * velocity + g
        g = g + momentum * velocity if nesterov else velocity
    w -= lr * g


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
    """One step of Adam, in place.

    Parameters
    ----------
    w, g
        Weights and their gradient, (P,).
    m, v
        Running means of the gradient and of its square, (P,), zero before the first step.
    lr, beta1, beta2, eps, weight_decay
        As in ``torch.optim.Adam``: the decay is added to the gradient.
    t
        The number of this step, from 1.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """
    g = g + weight_decay * w
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w -= lr * m_hat / (np.sqrt(v_hat) + eps)


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
    """One step of Adam with decoupled weight decay, in place.

    Parameters as for `adam_step`, but as in ``torch.optim.AdamW``: the weights shrink by
    themselves, and m and v do not know of it.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    """
    w *= 1 - lr * weight_decay
    adam_step(w, g, m, v, lr, beta1, beta2, eps, 0, t)


def adagrad_step(w: Array, g: Array, v: Array, lr: float, eps: float, weight_decay: float) -> None:
    """One step of Adagrad, in place.

    Parameters
    ----------
    w, g
        Weights and their gradient, (P,).
    v
        The sum of all squares of the gradient, (P,), zero before the first step.
    lr, eps, weight_decay
        As in ``torch.optim.Adagrad``: the decay is added to the gradient.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", 2011.
    """
    g = g + weight_decay * w
    v += g * g
    w -= lr * g / (np.sqrt(v) + eps)


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
    """One step of RMSprop, in place.

    Parameters
    ----------
    w, g
        Weights and their gradient, (P,).
    v
        The running mean of the gradient's square, (P,), zero before the first step.
    velocity
        (P,), zero before the first step; empty if there is no momentum.
    lr, alpha, momentum, eps, weight_decay
        As in ``torch.optim.RMSprop``: `alpha` is how much v keeps of itself, the decay is
        added to the gradient.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5: rmsprop", Neural networks for machine learning, 2012.
    """
    g = g + weight_decay * w
    v[...] = alpha * v + (1 - alpha) * g * g
    g = g / (np.sqrt(v) + eps)
    if momentum:
        velocity[...] = momentum * velocity + g
        g = velocity
    w -= lr * g


def lars_step(
    w: Array,
    g: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    weight_decay: float,
    trust: float,
) -> None:
    """One step of LARS for one parameter, in place.

    Parameters
    ----------
    w, g
        All weights of the parameter, and their gradient, (P,).
    velocity
        (P,), zero before the first step.
    lr, momentum, weight_decay
        As in the paper: the learning rate is part of the velocity.
    trust
        η: by what part of its length w moves in a step with lr = 1.

    References
    ----------
    You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017,
    algorithm 1. Where w, or g and the decay, are zero, the ratio is 1.
    """
    w_norm, g_norm = np.sqrt(sum_of_squares(w)), np.sqrt(sum_of_squares(g))
    against = g_norm + weight_decay * w_norm
    ratio = float(trust * w_norm / against) if w_norm and against else 1.0
    velocity[...] = momentum * velocity + lr * ratio * (g + weight_decay * w)
    w -= velocity


def sum_of_squares(x: Array) -> Array:
    """Of all elements of x (P,), as an array without axes, in float64."""
    return np.asarray(np.square(x, dtype=np.float64).sum())


def _pad(x: Array, padding: Pair, value: float = 0) -> Array:
    (top, left) = padding
    return np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)), constant_values=value)


def _crop(x: Array, padding: Pair) -> Array:
    (top, left), (_, height, width, _) = padding, x.shape
    return x[:, top : height - top, left : width - left]


def _windows(x: Array, size: Pair, stride: Pair, dilation: Pair) -> Array:
    """All windows of x (N, H, W, C), as a view (N, H', W', C, KH, KW)."""
    spans = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    every = sliding_window_view(x, spans, axis=(1, 2))
    return every[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]


def _at(x: Array, p: int, q: int, y_shape: tuple[int, ...], stride: Pair, dilation: Pair) -> Array:
    """What stands at (p, q) of every window of x, as a view of the output's shape."""
    rows, columns = (
        slice(k * d, k * d + s * (count - 1) + 1, s)
        for k, d, s, count in zip((p, q), dilation, stride, y_shape[1:3], strict=True)
    )
    return x[:, rows, columns]


def _targets(like: Array, labels: Array, smoothing: float) -> Array:
    """The distributions that `labels` stand for, (M, C)."""
    classes = like.shape[1]
    q = np.full(like.shape, smoothing / classes, like.dtype)
    q[np.arange(len(labels)), labels] += 1 - smoothing
    return q
