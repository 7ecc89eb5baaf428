"""What theory says of parameter servers comes out of virtual time, within statistical error.

Seeds are fixed, so that a test cannot fail by chance; the errors allowed are four standard
errors of the measured mean, from means over batches of neighbouring values.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from math import inf, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import InputError
from minidl.plans import (
    Async,
    FullySync,
    KAsync,
    KBatchAsync,
    KBatchSync,
    KSync,
    Rule,
    Softsync,
    State,
)
from minidl.sim import (
    Constant,
    Exponential,
    Law,
    Pareto,
    ServerRun,
    ShiftedExponential,
    SlowWorkers,
    TruncatedNormal,
    simulate_server,
)
from minidl.sim.formulas import (
    error_floor,
    harmonic,
    mean_staleness,
    order_statistic,
    seconds_per_update,
    stability_edge,
    staleness_law,
    wasted_share,
)
from minidl.sim.measure import descend, settled_mean

SEEDS = 4
EXP, SHIFTED, NORMAL = Exponential(), ShiftedExponential(1.0), TruncatedNormal(1.0, 0.25)
SLOW = SlowWorkers(Exponential(), {0: 4.0, 1: 2.0})


def simulate(rule: Rule, law: Law, learners: int = 8, mini_batches: int = 4000) -> list[ServerRun]:
    """Runs from several seeds, of about so many mini-batches each."""
    return _simulate(Named(rule), Named(law), learners, mini_batches)


class Named:
    """A rule or a law, equal to others of the same text: some hold a dict and have no hash."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and repr(self.what) == repr(other.what)

    def __hash__(self) -> int:
        return hash(repr(self.what))


@cache
def _simulate(rule: Named, law: Named, learners: int, mini_batches: int) -> list[ServerRun]:
    """Several laws are read off the same runs."""
    updates = mini_batches // max(learners, rule.what.gradients(learners))
    runs = range(SEEDS)
    return [simulate_server(rule.what, law.what, learners, updates, seed=seed) for seed in runs]


def time_per_update(
    rule: Rule, law: Law, learners: int = 8, mini_batches: int = 4000
) -> tuple[float, float]:
    runs = simulate(rule, law, learners, mini_batches)
    return settled_mean([np.diff(run.times, prepend=0.0) for run in runs])


def close(found: tuple[float, float], expected: float) -> bool:
    mean, error = found
    assert error < 0.03 * expected, "the run is too short to tell"
    return abs(mean - expected) <= 4 * error + 1e-9


@pytest.mark.parametrize(
    ("rule", "law", "published"),
    [
        (KSync(4), EXP, 0.6345),
        (KBatchSync(4), EXP, 0.5),
        (KAsync(4), EXP, 0.6345),
        (KBatchAsync(4), EXP, 0.5),
        (KSync(4), SHIFTED, 1.6345),
        (KBatchAsync(4), SHIFTED, 1.0),
    ],
)
def test_the_table_of_eight_learners_and_k_of_four(rule: Rule, law: Law, published: float) -> None:
    theory = seconds_per_update(rule, law, 8)
    assert theory == pytest.approx(published, abs=5e-5)
    assert close(time_per_update(rule, law), theory)


@pytest.mark.parametrize(("rule", "published"), [(KBatchSync(4), 1.630), (KAsync(4), 1.240)])
def test_where_no_formula_is_known(rule: Rule, published: float) -> None:
    """With a shift; the published values are simulated, too, to three digits."""
    assert seconds_per_update(rule, SHIFTED, 8) is None
    mean, error = time_per_update(rule, SHIFTED, mini_batches=12_000)
    assert error < 0.005
    assert mean == pytest.approx(published, abs=4 * error + 0.001)


@pytest.mark.parametrize(
    ("rule", "law"),
    [
        (FullySync(), EXP),
        (FullySync(), SHIFTED),
        (FullySync(), Constant(2.0)),
        (KSync(1), EXP),
        (KSync(7), SHIFTED),
        (KAsync(8), SHIFTED),
        (KAsync(1), NORMAL),
        (KBatchSync(20), EXP),
        (KBatchSync(3), SLOW),
        (KBatchAsync(20), NORMAL),
        (KBatchAsync(3), SLOW),
        (KBatchAsync(3), Pareto(0.5, 3.0)),
        (Async(), SHIFTED),
        (Softsync(2), NORMAL),
        (Softsync(3), Exponential(5.0)),
    ],
    ids=repr,
)
def test_the_mean_time_of_an_update(rule: Rule, law: Law) -> None:
    theory = seconds_per_update(rule, law, 8)
    if rule == KBatchSync(3) and law == SLOW:
        assert theory is None  # not without memory as a whole: no formula is claimed
        return
    assert theory is not None
    assert close(time_per_update(rule, law), theory)


@pytest.mark.parametrize("law", [NORMAL, Pareto(0.5, 3.0)], ids=repr)
def test_k_sync_waits_for_the_kth_of_p_times_under_any_law(law: Law) -> None:
    times = np.array([law.draws(7, learner, 0, 4000) for learner in range(8)])
    kth = np.sort(times, axis=0)[3]
    mean, error = time_per_update(KSync(4), law)
    assert abs(mean - kth.mean()) <= 4 * (error + kth.std() / sqrt(4000))
    assert order_statistic(law, 4, 8) is None
    if (
        law == NORMAL
    ):  # new-longer-than-used: what is left of a mini-batch is shorter than a new one
        assert time_per_update(KAsync(4), law)[0] < mean - 8 * error


@pytest.mark.parametrize(("k", "mini_batches"), [(1, 4000), (2, 4000), (4, 4000), (7, 12_000)])
def test_k_async_beats_k_sync_where_a_part_of_the_time_is_fixed(k: int, mini_batches: int) -> None:
    """Strictly less for K < P: what is carried on need not be begun again."""
    (sync, e), (async_, f) = (
        time_per_update(rule, SHIFTED, mini_batches=mini_batches) for rule in (KSync(k), KAsync(k))
    )
    assert async_ < sync - 4 * sqrt(e**2 + f**2)


@pytest.mark.parametrize("learners", [1, 2, 8, 30])
def test_fully_sync_takes_p_times_h_p_longer_than_fully_async(learners: int) -> None:
    expected = learners * harmonic(learners)
    theory = [seconds_per_update(rule, EXP, learners) for rule in (FullySync(), Async())]
    assert theory[0] / theory[1] == pytest.approx(expected)
    (sync, e), (async_, f) = (
        time_per_update(rule, EXP, learners) for rule in (FullySync(), Async())
    )
    assert abs(sync / async_ / expected - 1) <= 4 * sqrt((e / sync) ** 2 + (f / async_) ** 2)


@pytest.mark.parametrize(
    ("rule", "law", "learners", "expected"),
    [
        (FullySync(), EXP, 8, 0.0),
        (KSync(3), SHIFTED, 8, 0.0),
        (KBatchSync(3), SHIFTED, 8, 0.0),
        (KAsync(4), EXP, 8, 1.0),
        (KAsync(3), EXP, 8, 5 / 3),
        (KAsync(8), SHIFTED, 8, 0.0),
        (KBatchAsync(4), EXP, 8, 7 / 4),
        (KBatchAsync(4), SHIFTED, 8, 7 / 4),
        (KBatchAsync(16), SHIFTED, 8, 7 / 16),
        (Async(), EXP, 8, 7.0),
        (Async(), SHIFTED, 8, 7.0),
        (Softsync(1), NORMAL, 30, 29 / 30),
        (Softsync(2), NORMAL, 30, 2 * 29 / 30),
        (Softsync(10), NORMAL, 30, 10 * 29 / 30),
        (Softsync(30), NORMAL, 30, 29.0),
    ],
    ids=repr,
)
def test_mean_staleness(rule: Rule, law: Law, learners: int, expected: float) -> None:
    assert mean_staleness(rule, learners) == pytest.approx(expected)
    mini_batches = 4000
    runs = simulate(rule, law, learners, mini_batches)
    mean, error = settled_mean([run.staleness for run in runs])
    assert error < 0.03 * max(1, expected)
    # What the learners hold when a run ends is not counted: of so many mini-batches, P.
    assert abs(mean - expected) <= 4 * error + learners * (1 + expected) / mini_batches


@pytest.mark.parametrize(
    ("rule", "law", "learners", "expected"),
    [
        (KSync(4), EXP, 8, 4 * (harmonic(8) - harmonic(4)) / 4),
        (KSync(3), Exponential(5.0), 8, 5 * (harmonic(8) - harmonic(5)) / 3),
        (KSync(2), SHIFTED, 5, None),
        (KSync(2), Constant(1.0), 5, 3 / 5),
        (KSync(5), SHIFTED, 5, 0.0),
        (KBatchSync(1), EXP, 8, 7 / 8),
        (KBatchSync(4), EXP, 8, None),
        (KBatchSync(4), Exponential(0.2), 3, None),
        (KBatchSync(3), EXP, 1, 0.0),
        (FullySync(), NORMAL, 6, 0.0),
        (KAsync(2), NORMAL, 6, 0.0),
        (Async(), SHIFTED, 6, 0.0),
    ],
    ids=repr,
)
def test_the_share_of_work_in_vain(
    rule: Rule, law: Law, learners: int, expected: float | None
) -> None:
    theory = wasted_share(rule, law, learners)
    assert expected is None or theory == pytest.approx(expected)
    found = [run.wasted for run in simulate(rule, law, learners)]
    # Four standard errors of the most variable case, in which a run has 1000 updates.
    assert np.mean(found) == pytest.approx(theory, rel=0.04, abs=1e-9)


@pytest.mark.parametrize(
    ("rule", "learners"),
    [(KAsync(4), 8), (KAsync(1), 5), (KAsync(7), 8), (KBatchAsync(4), 8), (KBatchAsync(11), 3),
     (Async(), 6), (Softsync(3), 12), (KSync(2), 4), (KBatchAsync(2), 1)],
    ids=repr,
)  # fmt: skip
def test_the_law_of_staleness(rule: Rule, learners: int) -> None:
    """In total variation, of some 16,000 gradients."""
    count = 60
    law = staleness_law(rule, learners, count)
    assert (law >= 0).all() and 1 - 1e-4 < law.sum() <= 1 + 1e-12
    assert law @ np.arange(count) == pytest.approx(mean_staleness(rule, learners), abs=0.01)
    runs = simulate(rule, EXP, learners)
    staleness = np.concatenate([run.staleness[len(run.staleness) // 10 :] for run in runs])
    found = np.bincount(staleness, minlength=count)[:count]
    distance = np.abs(found / found.sum() - law).sum() / 2
    # What independent gradients would be off by on average, and half as much again for those
    # of one update, which depend on each other.
    assert distance <= 1.5 * np.sqrt(law * (1 - law) / found.sum()).sum() / 2 + 0.002


def test_formulas_say_when_they_know_nothing() -> None:
    class Own:
        def start(self, learners: int) -> State: ...

    assert seconds_per_update(Own(), EXP, 4) is None
    assert mean_staleness(Own(), 4) is None
    assert wasted_share(Own(), EXP, 4) is None
    assert wasted_share(KBatchSync(2), SHIFTED, 4) is wasted_share(KSync(2), NORMAL, 4) is None
    assert staleness_law(Own(), 4, 3) is None
    assert seconds_per_update(Async(), Pareto(1.0, 1.0), 4) == inf
    assert seconds_per_update(Async(), Constant(0), 4) == 0


@pytest.mark.parametrize(("lr", "curvature"), [(0.1, 1.0), (0.5, 1.0), (0.5, 2.4)])
def test_the_error_floor_on_a_quadratic(lr: float, curvature: float) -> None:
    """Of K = 3 mini-batches of noise 0.7 each."""
    k, noise = 3, 0.7
    # The slower the descent, the longer neighbours depend on each other.
    updates = 8000
    w = descend(KSync(k), EXP, 5, updates, lr=lr, curvature=curvature, noise=noise)
    mean, error = settled_mean([curvature * w**2 / 2])
    assert error < 0.1 * mean
    assert abs(mean - error_floor(lr, curvature, noise**2 / k)) <= 4 * error


def test_there_is_no_floor_where_descent_diverges() -> None:
    with pytest.raises(InputError, match="below 2, not 0.5 × 4"):
        error_floor(0.5, 4.0, 1.0)


@pytest.mark.parametrize(("staleness", "edge"), [(0, 2.0), (15, 0.1013), (30, 0.0515)])
def test_the_stability_edge_of_a_constant_delay(staleness: int, edge: float) -> None:
    """Learners in lock step, one update each: all gradients are P - 1 updates old."""
    assert stability_edge(staleness) == pytest.approx(edge, abs=5e-5)
    learners = staleness + 1
    settled = simulate_server(Async(), Constant(1), learners, 5 * learners).staleness[learners:]
    assert (settled == staleness).all()
    steps = 400 * learners
    below, above = (
        np.abs(descend(Async(), Constant(1), learners, steps, lr=lr, noise=0.0))
        for lr in (0.95 * stability_edge(staleness), 1.05 * stability_edge(staleness))
    )
    end = slice(-steps // 10, None)
    assert below[end].max() < 1e-3 < 1e3 < above[end].max()


@given(k=st.integers(1, 9), more=st.integers(0, 9), rate=st.floats(0.1, 10))
def test_order_statistics_rise_from_the_least_to_the_greatest(
    k: int, more: int, rate: float
) -> None:
    learners = k + more
    law = Exponential(rate)
    values = [order_statistic(law, i, learners) for i in range(1, learners + 1)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(1 / (rate * learners))
    assert sum(values) / learners == pytest.approx(law.mean())
    shifted = ShiftedExponential(2.0, rate)
    assert order_statistic(shifted, k, learners) == pytest.approx(2 + values[k - 1])
    assert list(islice(map(harmonic, range(3)), 3)) == [0, 1, 1.5]
