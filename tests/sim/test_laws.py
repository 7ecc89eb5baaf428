"""Service times follow their law, and depend on seed, learner and number alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from math import exp, inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minidl.errors import InputError
from minidl.sim import (
    Constant,
    Exponential,
    Law,
    Pareto,
    Recorded,
    ShiftedExponential,
    SlowWorkers,
    TruncatedNormal,
)
from minidl.sim.laws import BLOCK

positive = st.floats(0.01, 100)
plain = st.one_of(
    st.builds(Constant, st.floats(0, 100)),
    st.builds(Exponential, positive),
    st.builds(ShiftedExponential, st.floats(0, 100), positive),
    st.builds(Pareto, positive, st.floats(0.5, 10)),
    st.builds(TruncatedNormal, st.floats(0, 100), positive),
    st.builds(Recorded, st.lists(st.floats(0, 100), min_size=1).map(tuple)),
)
laws = plain | st.builds(SlowWorkers, plain, st.dictionaries(st.integers(0, 3), st.floats(0, 10)))
seeds, learners = st.integers(0, 2**32), st.integers(0, 5)


@given(law=laws, seed=seeds, learner=learners, first=st.integers(0, 200), count=st.integers(0, 9))
def test_a_time_depends_on_seed_learner_and_number_alone(
    law: Law, seed: int, learner: int, first: int, count: int
) -> None:
    times = law.draws(seed, learner, first, count)
    assert times.shape == (count,) and times.dtype == np.float64
    assert np.isfinite(times).all() and (times >= 0).all()
    assert times.tolist() == [law.draw(seed, learner, first + i) for i in range(count)]
    assert times.tolist() == list(islice(law.stream(seed, learner), first, first + count))
    assert times.tolist() == list(islice(law.stream(seed, learner, first), count))


def test_seeds_learners_and_numbers_differ() -> None:
    law = Exponential()
    times = {law.draw(s, i, n) for s in range(5) for i in range(5) for n in range(200)}
    assert len(times) > 4990  # of 5000; a float of 32 random bits may come twice


@given(law=laws, seed=seeds, learner=learners)
def test_slow_workers_are_slower_by_their_factor(law: Law, seed: int, learner: int) -> None:
    slow = SlowWorkers(law, {1: 3.0})
    factor = 3.0 if learner == 1 else 1.0
    np.testing.assert_array_equal(
        slow.draws(seed, learner, 0, 20), factor * law.draws(seed, learner, 0, 20)
    )
    assert slow.mean(learner) == factor * law.mean(learner)


@pytest.mark.parametrize(
    "law",
    [
        Constant(0.3),
        Exponential(4.0),
        ShiftedExponential(1.0, 0.5),
        Pareto(0.2, 5.0),
        TruncatedNormal(1.0, 0.1),
        TruncatedNormal(1.0, 2.0),
        TruncatedNormal(0.0, 1.0),
        SlowWorkers(Exponential(1.0), {0: 4.0}),
        Recorded((1.0, 2.0, 6.0)),
    ],
    ids=repr,
)
def test_the_mean_of_many_times_is_the_laws(law: Law) -> None:
    times = law.draws(0, 0, 0, 40_000)
    error = times.std() / 200
    assert abs(times.mean() - law.mean()) <= 4 * error + 1e-12


@pytest.mark.parametrize(
    ("law", "share"),
    [
        (Exponential(2.0), lambda t: 1 - exp(-2 * t)),
        (ShiftedExponential(0.5, 2.0), lambda t: 1 - exp(-2 * max(0, t - 0.5))),
        (Pareto(0.5, 1.5), lambda t: 1 - min(1, 0.5 / t) ** 1.5),
        (Recorded((1.0, 0.25, 0.5, 0.5)), lambda t: ((t >= 0.25) + 2 * (t >= 0.5) + (t >= 1)) / 4),
    ],
    ids=lambda value: repr(value) if isinstance(value, Law) else "",
)
def test_shares_below_a_time_are_the_laws(law: Law, share: object) -> None:
    """Kolmogorov's distance of 40,000 draws exceeds 2/200 with a probability of 0.0007."""
    times = law.draws(1, 2, 3, 40_000)
    for t in np.linspace(0.01, 4, 50):
        assert (times <= t).mean() == pytest.approx(share(t), abs=0.01)


def test_where_there_is_no_mean() -> None:
    assert Pareto(1.0, 1.0).mean() == Pareto(1.0, 0.5).mean() == inf
    assert Pareto(1.0, 2.0).mean() == 2.0


def test_the_greatest_uniform_number_is_no_infinite_time() -> None:
    top = np.array([1 - 2.0**-32])
    for law in (Exponential(), Pareto(1.0, 1.0), TruncatedNormal(1, 1), Recorded((1.0, 2.0))):
        assert np.isfinite(law.quantile(top)).all()
        assert (law.quantile(top) > law.quantile(np.array([0.0]))).all()


@given(times=st.lists(st.floats(0, 1e6), min_size=1, max_size=20), between=st.sampled_from(", \n"))
def test_times_are_read_from_a_file(
    times: list[float], between: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("times") / "times.txt"
    path.write_text(between.join(map(repr, times)) + "\n")
    law = Recorded.load(path)
    assert law == Recorded(tuple(times))
    assert set(law.draws(0, 0, 0, 50)) <= set(times)


@pytest.mark.parametrize("text", ["", "1 two 3", "1 -2", "nan"])
def test_files_that_are_no_list_of_times(text: str, tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text(text)
    with pytest.raises(InputError):
        Recorded.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        Recorded.load(tmp_path / "none.txt")


@pytest.mark.parametrize("law", [
    Constant(1), Exponential(1), ShiftedExponential(1, 1), Pareto(1, 1), TruncatedNormal(1, 1),
], ids=repr)  # fmt: skip
def test_settings_that_no_law_has(law: Law) -> None:
    for name in vars(law):
        for value in (-1.0, -1e-9, inf, nan, "1", None):
            with pytest.raises(InputError, match=f"{type(law).__name__}: {name} is a finite"):
                replace(law, **{name: value})
        if name in ("rate", "spread", "least", "shape"):
            with pytest.raises(InputError, match="above 0, not 0"):
                replace(law, **{name: 0})


def test_negative_times_and_factors_are_refused() -> None:
    with pytest.raises(InputError, match="time number 1 is a finite number of at least 0, not -2"):
        Recorded((1.0, -2.0))
    with pytest.raises(InputError, match="factor of learner 3 .* not -1"):
        SlowWorkers(Constant(1), {3: -1})
    with pytest.raises(InputError, match="SlowWorkers: law must be a Law, not 0.1"):
        SlowWorkers(0.1, {3: 2})  # type: ignore[arg-type]


@example(law=TruncatedNormal(10.0, 1.0), u=[1])
@given(law=plain, u=st.lists(st.integers(0, 2**32 - 1), min_size=1))
def test_times_rise_with_the_share_that_stays_below_them(law: Law, u: list[int]) -> None:
    """Whatever may be drawn: multiples of 2⁻³², 0 among them."""
    times = law.quantile(np.array([0, *sorted(u)]) * 2.0**-32)
    assert np.isfinite(times).all() and times[0] >= 0
    assert (np.diff(times) >= 0).all()


@pytest.mark.parametrize("wrong", [-1e-9, nan, inf, -inf])
@given(number=st.integers(0, 200), learner=learners)
def test_a_law_of_ones_own_that_draws_no_time_is_told_when(
    wrong: float, number: int, learner: int
) -> None:
    class Own(Constant):
        def draws(self, seed: int, learner: int, first: int, count: int) -> np.ndarray:
            return np.where(np.arange(first, first + count) == number, wrong, 1.0)

    law = Own(1.0)
    message = f"Own: learner {learner}'s time for mini-batch {number} is a finite .* not {wrong}"
    with pytest.raises(InputError, match=message):
        law.draw(0, learner, number)
    with pytest.raises(InputError, match=message):
        list(islice(law.stream(0, learner), number + 1))
    if number < BLOCK:
        with pytest.raises(InputError, match=f"Own: learner 0's time for mini-batch {number} "):
            law.check(0, 1)
    law.check(0, 0)
