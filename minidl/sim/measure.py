"""What is measured in virtual time: means with their standard errors, and a descent to measure."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

from minidl.plans import Async, Push, Rule
from minidl.rng import stream
from minidl.sim.laws import Constant, Law
from minidl.sim.server import Apply, Start, server_events

BATCHES = 10
"""Into how many parts a run is cut to see how far its mean is off."""


def standard_error(runs: Sequence[np.ndarray]) -> float:
    """Of the mean over runs, from the means of batches of neighbouring values.

    Neighbours depend on each other, so that the values' own spread would say too little;
    the batches' means hardly do. NaN for fewer than two values a batch.
    """
    if any(len(run) < 2 * BATCHES for run in runs):
        return float("nan")
    means = [part.mean() for run in runs for part in np.array_split(run, BATCHES)]
    return float(np.std(means, ddof=1)) / sqrt(len(means))


def settled_mean(runs: Sequence[np.ndarray]) -> tuple[float, float]:
    """The mean and its standard error, once a tenth is left out in which each run settles.

    Parameters
    ----------
    runs
        The values of each run in their order; runs from several seeds.
    """
    settled = [run[len(run) // 10 :] for run in runs]
    return float(np.concatenate(settled).mean()), standard_error(settled)


def descend(
    rule: Rule,
    law: Law,
    learners: int,
    updates: int,
    *,
    lr: float,
    curvature: float = 1.0,
    noise: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """SGD on F(w) = c w²/2 from w = 1, at the moments of a simulated server.

    Parameters
    ----------
    rule
        When the server makes an update.
    law
        How long a mini-batch takes.
    learners
        How many there are.
    updates
        How many the server makes.
    seed
        Decides how long each mini-batch takes.
    lr
        The learning rate.
    curvature
        c, of the loss.
    noise
        The standard deviation of what is added to a mini-batch's gradient c w.

    Returns
    -------
    ndarray of float64, shape (updates,)
        w after each update.
    """
    numbers, w = stream(seed, "noise"), 1.0
    path: list[float] = []
    held: dict[Push, float] = {}
    for event in server_events(rule, law, learners, seed=seed):
        if len(path) == updates:
            break
        match event:
            case Start(push=push):
                held[push] = w
            case Apply(pushes=pushes):
                gradient = curvature * sum(held.pop(push) for push in pushes) / len(pushes)
                if noise:
                    gradient += noise * float(numbers.normal(size=len(pushes)).mean())
                w -= lr * gradient
                path.append(w)
    return np.array(path)


def measured_edge(staleness: int) -> tuple[float, float]:
    """The learning rate between shrinking and growing, by bisection, and how far off it may be.

    On learners in lock step, one update each: all gradients are P - 1 updates old.

    Parameters
    ----------
    staleness
        P - 1, at least 0.
    """
    low, high, learners = 0.01, 4.0, staleness + 1
    while high / low > 1.01:
        lr, steps = sqrt(low * high), 200 * learners
        path = np.abs(descend(Async(), Constant(1.0), learners, steps, lr=lr))
        shrinks = path[-steps // 10 :].max() < path[steps // 2 : steps // 2 + steps // 10].max()
        low, high = (lr, high) if shrinks else (low, lr)
    return sqrt(low * high), (high - low) / 2
