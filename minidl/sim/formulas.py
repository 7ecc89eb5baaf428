"""What theory says of a parameter server: time per update, staleness, and what it does to SGD.

P is the number of learners, K the number of gradients in an update, τ the staleness of a
gradient: how many updates it has missed. Dutta et al., "Slow and stale gradients can win
the race", arXiv 1803.01113; the tests hold the simulator to these formulas.
"""

from __future__ import annotations

from math import inf, pi, sin

import numpy as np

from minidl.errors import InputError
from minidl.plans.server import FullySync, KAsync, KBatchSync, KSync, Rule, Threshold
from minidl.sim.laws import Constant, Exponential, Law, ShiftedExponential


def seconds_per_update(rule: Rule, law: Law, learners: int) -> float | None:
    """The mean time between updates in the long run, or None where no formula is known.

    K-sync waits for the K-th of P times, E[X_(K:P)]; so does K-async if times have no
    memory. Where nobody waits or is stopped, every learner delivers at its own rate, and K
    gradients take K E[X]/P under any law. K-batch-sync is like that without memory only.

    Parameters
    ----------
    rule
        One of `minidl.plans`.
    law
        Of the service times, in seconds.
    learners
        P, their number.
    """
    if not isinstance(rule, Threshold):
        return None
    k, memoryless = rule.gradients(learners), isinstance(law, Exponential)
    if k == learners and rule.waits:
        return order_statistic(law, k, learners)
    if isinstance(rule, KSync) or (isinstance(rule, KAsync) and memoryless):
        return order_statistic(law, k, learners)
    # Who delivers the only gradient of an update waits for nobody.
    if (rule.waits and k > 1) or (isinstance(rule, KBatchSync) and not memoryless):
        return None
    means = [law.mean(learner) for learner in range(learners)]
    rate = sum(1 / mean if mean else inf for mean in means)
    return k / rate if rate else inf


def order_statistic(law: Law, k: int, learners: int) -> float | None:
    """E[X_(K:P)], the mean of the k-th smallest of so many times; None if not known.

    For exponential times (H_P - H_(P-K))/rate, with a shift upon it if there is one.
    """
    rising = harmonic(learners) - harmonic(learners - k)
    match law:
        case Constant(seconds):
            return float(seconds)
        case Exponential(rate):
            return rising / rate
        case ShiftedExponential(shift, rate):
            return shift + rising / rate
    return None


def wasted_share(rule: Rule, law: Law, learners: int) -> float | None:
    """The share of the learners' working time that is cancelled, in the long run; None if unknown.

    Nothing is where the rule cancels nothing. In K-sync the P - K stopped learners worked
    until the K-th was done, E[X_(K:P)] each, the others E[X_(1:P)] to E[X_(K:P)]. In
    K-batch-sync with exponential times, a gradient comes of every 1/rate of working time,
    and who does not push last has worked (1 - (1 - 1/P)^K)/rate since its own last push.

    Parameters
    ----------
    rule
        When the server makes an update.
    law
        How long a mini-batch takes.
    learners
        How many there are, P.
    """
    if not isinstance(rule, Threshold):
        return None
    k = rule.gradients(learners)
    if not rule.cancels:
        return 0.0
    if isinstance(rule, KSync):
        spent = [order_statistic(law, i, learners) for i in range(1, k + 1)]
        known = [seconds for seconds in spent if seconds is not None]
        if not known:
            return None
        lost = (learners - k) * known[-1]
        return lost / (lost + sum(known)) if lost else 0.0
    if isinstance(law, Exponential):
        return (learners - 1) * (1 - (1 - 1 / learners) ** k) / k
    return None


def harmonic(n: int) -> float:
    """H_n = 1 + 1/2 + ... + 1/n."""
    return sum(1 / i for i in range(1, n + 1))


def mean_staleness(rule: Rule, learners: int) -> float | None:
    """How many updates a gradient misses on average; None for a rule not known.

    None is stale in the synchronous rules. In K-async (P - K)/K, in K-batch-async (P - 1)/K,
    which for n-softsync is n(P - 1)/P, all under any law: so many learners miss an update.

    Parameters
    ----------
    rule
        One of `minidl.plans`.
    learners
        P, their number.
    """
    match rule:
        case FullySync() | KSync() | KBatchSync():
            return 0.0
        case KAsync(k):
            return (learners - k) / k
        case Threshold():
            return (learners - 1) / rule.gradients(learners)
    return None


def staleness_law(rule: Rule, learners: int, count: int) -> np.ndarray | None:
    """How probable each staleness is where service times are exponential; None if not known.

    K-async is geometric: an update has each learner at work among its K with probability
    p = K/P, so that P(τ = s) = p (1 - p)^s. Without waiting, the number N of others' gradients
    between two of one learner is geometric with p = 1/P, and τ = ⌊(r + N)/K⌋, where r, how many
    gradients waited when the learner began, is any of 0 to K - 1 alike.

    Parameters
    ----------
    rule
        When the server makes an update.
    learners
        How many there are, P.
    count
        How many probabilities.

    Returns
    -------
    ndarray of float64, shape (count,)
        Of a staleness of 0 to ``count - 1``.
    """
    s = np.arange(count)
    match rule:
        case FullySync() | KSync() | KBatchSync():
            return (s == 0).astype(float)
        case KAsync(k):
            return k / learners * (1 - k / learners) ** s
        case Threshold():
            k = rule.gradients(learners)
            q = 1 - 1 / learners
            at_least = q ** np.maximum(0.0, np.arange(count + 1)[:, None] * k - np.arange(k))
            return -np.diff(at_least.mean(axis=1))
    return None


def error_floor(lr: float, curvature: float, variance: float) -> float:
    """Where the mean of F(w) = c w²/2 ends under SGD with noisy gradients: η s²/(2(2 - ηc)).

    Parameters
    ----------
    lr
        η, the learning rate.
    curvature
        c, of the loss.
    variance
        s², of the mean of an update's gradients: σ²/(Km) for K mini-batches of m samples.

    Raises
    ------
    InputError
        If ηc is 2 or more, where SGD diverges.
    """
    if lr * curvature >= 2:
        raise InputError(f"SGD diverges unless lr × curvature is below 2, not {lr} × {curvature}")
    return lr * variance / (2 * (2 - lr * curvature))


def stability_edge(staleness: int) -> float:
    """Below which ηc gradient descent on c w²/2 converges if all gradients are that stale.

    The recursion w ← w - ηc w_(-τ) is stable iff ηc < 2 sin(π/(2(2τ + 1))).

    Parameters
    ----------
    staleness
        τ, at least 0; without it the edge is 2.
    """
    return 2 * sin(pi / (2 * (2 * staleness + 1)))
