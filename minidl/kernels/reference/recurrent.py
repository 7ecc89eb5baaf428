"""Recurrent cells, a step and all steps of a layer."""

from __future__ import annotations

from minidl.kernels import Array, array_module
from minidl.kernels.reference.elementwise import sigmoid


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
    h : (N, H)
        The output.
    c_next : (N, H)
        The cell's state after the step.
    gates : (N, 4 H)
        The values of i, f, g and o, for the gradient.

    References
    ----------
    Hochreiter and Schmidhuber, "Long short-term memory", 1997; Gers et al., "Learning to
    forget", 2000, for the gate f.
    """
    xp = array_module(z)
    i, f, g, o = xp.split(z, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), xp.tanh(g), sigmoid(o)
    c_next = f * c + i * g
    return o * xp.tanh(c_next), c_next, xp.concatenate((i, f, g, o), axis=1)


def lstm_cell_gradient(
    dh: Array, dc_next: Array, gates: Array, c: Array, c_next: Array
) -> tuple[Array, Array]:
    """The gradients of `lstm_cell` by z and c, from those by h and c_next.

    c_next reaches the loss by two ways: through h, and through the next step.
    """
    xp = array_module(gates)
    i, f, g, o = xp.split(gates, 4, axis=1)
    tanh_c = xp.tanh(c_next)
    dc_next = dc_next + dh * o * (1 - tanh_c * tanh_c)
    di, df, dg, do = dc_next * g, dc_next * c, dc_next * i, dh * tanh_c
    dz = (di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o))
    return xp.concatenate(dz, axis=1), dc_next * f


def lstm_scan(z: Array, u: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
    """All steps of a long short-term memory, one after the other.

    Parameters
    ----------
    z
        (T, N, 4 H), what the gates of each step get beside ``h @ u``.
    u
        (H, 4 H), what the state is multiplied by.
    h
        (N, H), the output before the first step.
    c
        (N, H), the cell's state before the first step.

    Returns
    -------
    hs : (T + 1, N, H)
        The outputs, before the first step and after each.
    cs : (T + 1, N, H)
        The cell's states, before the first step and after each.
    gates : (T, N, 4 H)
        As of `lstm_cell`.
    """
    xp = array_module(z)
    hs, cs, gates = [h], [c], xp.empty(z.shape, z.dtype)
    for t in range(len(z)):
        h, c, gates[t] = lstm_cell(z[t] + h @ u, c)
        hs.append(h)
        cs.append(c)
    return xp.stack(hs), xp.stack(cs), gates


def lstm_scan_gradient(
    dhs: Array, dh: Array, dc: Array, u: Array, gates: Array, cs: Array
) -> tuple[Array, Array, Array]:
    """The gradients of `lstm_scan` by z and by the first h and c.

    From those by the h after each step (T, N, H), and by what of the last state goes on.
    """
    xp = array_module(gates)
    dz = xp.empty(gates.shape, gates.dtype)
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
    zx
        (N, 3 H), the products with the input.
    zh
        (N, 3 H), the products with the state.
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
    xp = array_module(zx)
    (xr, xu, xn), (hr, hu, hn) = xp.split(zx, 3, axis=1), xp.split(zh, 3, axis=1)
    r, u = sigmoid(xr + hr), sigmoid(xu + hu)
    n = xp.tanh(xn + r * hn)
    return (1 - u) * n + u * h, xp.concatenate((r, u, n, hn), axis=1)


def gru_cell_gradient(dh_next: Array, gates: Array, h: Array) -> tuple[Array, Array, Array]:
    """The gradients of `gru_cell` by zx, zh and h."""
    xp = array_module(gates)
    r, u, n, hn = xp.split(gates, 4, axis=1)
    dn = dh_next * (1 - u) * (1 - n * n)
    du = dh_next * (h - n) * u * (1 - u)
    dr = dn * hn * r * (1 - r)
    dzx = xp.concatenate((dr, du, dn), axis=1)
    return dzx, xp.concatenate((dr, du, dn * r), axis=1), dh_next * u


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
    xp = array_module(zx)
    hs, gates = [h], xp.empty((*zx.shape[:2], 4 * len(b)), zx.dtype)
    for t in range(len(zx)):
        zh = h @ u
        zh[:, 2 * len(b) :] += b
        h, gates[t] = gru_cell(zx[t], zh, h)
        hs.append(h)
    return xp.stack(hs), gates


def gru_scan_gradient(
    dhs: Array, dh: Array, u: Array, gates: Array, hs: Array
) -> tuple[Array, Array, Array]:
    """The gradients of `gru_scan` by zx, by the products with the states, and by the first h.

    From those by the h after each step (T, N, H), and by what of the last one goes on.
    """
    xp = array_module(dhs)
    steps, n, size = dhs.shape
    dzx, dzh = (xp.empty((steps, n, 3 * size), dhs.dtype) for _ in range(2))
    for t in reversed(range(steps)):
        dzx[t], dzh[t], kept = gru_cell_gradient(dhs[t] + dh, gates[t], hs[t])
        dh = dzh[t] @ u.T + kept
    return dzx, dzh, dh
