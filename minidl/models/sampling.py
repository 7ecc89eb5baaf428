"""Sequences that a network makes up, each of its answers being its next input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minidl import rng
from minidl.checks import checked, naming, number, whole
from minidl.errors import InputError, ShapeError
from minidl.nn.layer import EVALUATE, Layer
from minidl.nn.parameters import Array
from minidl.nn.recurrent import Recurrent
from minidl.nn.recurrent.cell import State
from minidl.nn.sequential import Sequential

States = list[State | None]
"""For each layer of a `Sequential` its state, None standing for zeros or for no state at all."""


@checked
def forward_from(
    network: Sequential, x: np.ndarray, states: Sequence[State | None] | None = None
) -> tuple[Array, States]:
    """The outputs for a piece of a sequence, and the states from which the next piece goes on.

    So a sequence may come in pieces of any length; see `Recurrent.forward_from`.

    Parameters
    ----------
    network
        Its layers other than recurrent ones look at each step by itself, as `Embedding`
        and `Linear` do.
    x
        (N, T) or (N, T, D).
    states
        What the piece before has returned; None at the beginning.
    """
    after: States = []
    before = [None] * len(network) if states is None else states
    if x.ndim < 2:
        raise ShapeError(f"forward_from: x must be (N, T) or (N, T, D), not of shape {x.shape}")
    if len(before) != len(network):
        raise InputError(f"{len(network)} layers need as many states, not {len(before)}")
    with naming("forward_from: x"):
        network.check_integers(x)
    for layer, state in zip(network, before, strict=True):
        if isinstance(layer, Recurrent):
            x, state, _ = layer.forward_from(x, state, EVALUATE)
        else:
            x, _ = layer.forward(x, EVALUATE)
        after.append(state)
    return x, after


@checked
def sample(
    network: Layer, start: np.ndarray, count: int, *, temperature: float = 1.0, seed: int = 0
) -> np.ndarray:
    """A sequence continued by what the network holds likely.

    Parameters
    ----------
    network
        A `Sequential` such as `char_lstm`, from numbers (N, T) to logits (N, T, C).
    start
        The beginning, (T,) whole numbers with T at least 1.
    count
        How many to add.
    temperature
        What the logits are divided by: at 1 as likely as the network says, below 1 bolder
        for what is likely, at 0 always the likeliest.
    seed
        Equal seeds draw equal sequences.

    Returns
    -------
    ndarray of int64, shape (count,)
        What follows `start`.

    Raises
    ------
    InputError
        If the network is no `Sequential`, `start` is empty, or a number cannot be used.

    Notes
    -----
    The largest of ``logits / temperature`` plus Gumbel noise is distributed as their softmax
    (the Gumbel-max trick); multiplied by the temperature, the limit 0 needs no case of its own.
    """
    if not isinstance(network, Sequential):
        raise InputError(f"sample: the network must be a Sequential, not {type(network).__name__}")
    given = np.asarray(start)
    if given.ndim != 1 or not given.size:
        raise InputError(f"sample: start must have shape (T,), T at least 1, not {given.shape}")
    with naming("sample: start"):
        network.check_integers(given)
    temperature = number("sample: temperature", temperature, least=0)
    noise = rng.stream(seed, "sample")
    made = np.empty(whole("sample: count", count, least=0), np.int64)
    x, states = given[np.newaxis], None
    for place in range(count):
        logits, states = forward_from(network, x, states)
        last = logits[0, -1]
        made[place] = np.argmax(last + temperature * noise.gumbel(size=last.shape))
        x = made[np.newaxis, place : place + 1]
    return made
