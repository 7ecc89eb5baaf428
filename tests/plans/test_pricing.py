"""Collectives in virtual time: what the textbooks' formulas in latency and bandwidth say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import plans
from minidl.errors import InputError
from minidl.plans import predicted_seconds

TIMES: dict[str, Callable[[int, float, float, float], float]] = {
    "ring": lambda p, n, a, b: 2 * (p - 1) * (a + n / p / b),
    "server": lambda p, n, a, b: (p - 1) * (a + n / b) + (a + (p - 1) * n / b) * (p > 1),
    "full": lambda p, n, a, b: (p - 1) * (a + n / p / b) + (a + (p - 1) * n / p / b) * (p > 1),
    "halving-doubling": lambda p, n, a, b: (
        2 * (p.bit_length() - 1) * a + 2 * n * (q - 1) / q / b + (p > q) * 2 * (a + n / b)
        if (q := 1 << (p.bit_length() - 1))
        else 0
    ),
    "broadcast": lambda p, n, a, b: (p - 1).bit_length() * (a + n / b),
    "all-to-all": lambda p, n, a, b: (p - 1) * (a + n / p**2 / b),
    "scatter": lambda p, n, a, b: (p - 1) * (a + n / p / b),
}
positive = st.floats(1e-3, 1e3)


@pytest.mark.parametrize("name", TIMES)
@given(size=st.integers(1, 12), n=st.floats(0, 1e6), latency=positive, bandwidth=positive)
def test_time_by_formula(name: str, size: int, n: float, latency: float, bandwidth: float) -> None:
    plan = {**plans.ALL_REDUCES, **plans.COLLECTIVES}[name](size)
    predicted = predicted_seconds(plan, n, latency, bandwidth)
    assert predicted == pytest.approx(TIMES[name](size, n, latency, bandwidth), rel=1e-9)


@given(st.integers(1, 5), st.integers(1, 5), st.floats(0, 1e6), positive, positive)
def test_a_torus_has_the_rings_bytes_and_fewer_latencies(
    x: int, y: int, n: float, latency: float, bandwidth: float
) -> None:
    plan = plans.torus_all_reduce(x * y, (x, y))
    by_formula = (2 * (x - 1) + 2 * (y - 1)) * latency + 2 * n * (x * y - 1) / (x * y) / bandwidth
    assert predicted_seconds(plan, n, latency, bandwidth) == pytest.approx(by_formula, rel=1e-9)


@given(st.sampled_from(list(plans.ALL_REDUCES)), st.integers(1, 9))
def test_where_only_latency_counts_time_is_steps(name: str, size: int) -> None:
    plan = plans.all_reduce(size, name)
    assert predicted_seconds(plan, 0, 1, 1) == plans.check_all_reduce(plan).steps


def test_pieces_bring_two_trees_close_to_the_least_possible() -> None:
    # Latency is nothing: 2N(P - 1)/P over a rank's link is the bound for every all-reduce.
    bound = 2 * 15 / 16
    many = predicted_seconds(plans.double_tree_all_reduce(16, pieces=64), 1, 0, 1)
    assert bound <= many < 1.2 * bound
    one = predicted_seconds(plans.tree_all_reduce(16, pieces=64), 1, 0, 1)
    assert one > 1.8 * bound


@pytest.mark.parametrize("wrong", [(-1, 0, 1), (1, -1, 1), (1, 1, 0), (float("nan"), 0, 1)])
def test_impossible_links_are_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="must be"):
        predicted_seconds(plans.ring_all_reduce(2), *wrong)
