"""``minidl simulate formulas``: all hold, as measured; one that does not is seen and told."""

from __future__ import annotations

import json
from math import nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from minidl import sim
from minidl.cli import formulas as command
from minidl.cli.formulas import TOPICS
from minidl.cli.main import app
from minidl.cli.simulate import SPREAD, Beside
from minidl.sim.measure import BATCHES, measured_edge, settled_mean, standard_error


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["simulate", "formulas", *words])


@pytest.mark.slow
def test_every_formula_holds() -> None:
    result = run("--json")
    assert result.exit_code == 0, result.stdout
    found = json.loads(result.stdout)
    names = [(each["topic"], each["what"]) for each in found]
    assert len(set(names)) == len(names) > 80
    for each in found:
        figure = each["figure"]
        assert figure["formula"] is not None
        if figure["error"] is not None and figure["formula"]:  # precise enough to mean something
            assert figure["error"] < 0.05 * abs(figure["formula"]), each
    exact = {topic for topic, _ in names if "P = 12" in topic or "p = 4" in topic or "kn" in topic}
    assert len(exact) == 4
    assert all(each["figure"]["error"] is None for each in found if each["topic"] in exact)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is simulated."""
    quick = tuple(topic for topic in TOPICS if topic.__name__ in ("pipeline_lines", "batch_lines"))
    assert len(quick) == 2
    monkeypatch.setattr(command, "TOPICS", quick)


@pytest.mark.usefixtures("brief")
def test_one_that_does_not_hold_is_exit_status_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run()
    assert shown.exit_code == 0 and "9 of 9 agree" in shown.stdout and "NO" not in shown.stdout
    assert run("--seed", "3").stdout == shown.stdout
    monkeypatch.setattr(command.costs, "gpipe_bubble", lambda p, m: p / (m + p))
    shown, plain = run(), run("--json")
    assert shown.exit_code == plain.exit_code == 1
    assert "8 of 9 agree" in shown.stdout
    (line,) = (line for line in shown.stdout.splitlines() if line.endswith("NO"))
    assert line.startswith("gpipe: bubble") and "0.3333" in line and "0.2727" in line
    assert len(json.loads(plain.stdout)) == 9


@given(
    formula=st.floats(-1e6, 1e6),
    off=st.floats(-20, 20),
    error=st.floats(0, 10),
    bound=st.booleans(),
)
def test_a_figure_holds_within_its_error(
    formula: float, off: float, error: float, bound: bool
) -> None:
    figure = Beside(formula, formula + off * error, bound, error)
    if abs(abs(off) - SPREAD) > 0.01 and (error == 0 or error > 1e-2):
        far = off if bound else abs(off)
        assert figure.holds == (far < SPREAD or error == 0)
    assert Beside(formula, formula).holds and not Beside(formula, nan, bound, error).holds
    assert not Beside(formula, formula + max(1.0, abs(formula)) * 1e-6, bound).holds
    assert Beside(formula, formula - 1.0, bound).holds == bound
    assert Beside(None, off).holds


@given(seed=st.integers(0, 99), runs=st.integers(1, 4), repeat=st.sampled_from([1, 5]))
def test_the_standard_error_sees_that_neighbours_are_alike(
    seed: int, runs: int, repeat: int
) -> None:
    """Of numbers that each come several times in a row, as of as many fewer."""
    draws = np.random.default_rng(seed).normal(3.0, 2.0, (runs, 40 * BATCHES))
    values = [np.repeat(run, repeat) for run in draws]
    error = standard_error(values)
    assert error == pytest.approx(standard_error(list(draws)))
    assert 0.25 < error / (2.0 / np.sqrt(draws.size)) < 2.5
    shifted = [np.concatenate([np.full(len(run) // 9, 1e6), run]) for run in values]
    mean, spread = settled_mean(shifted)  # the first tenth counts for nothing
    assert (mean, spread) == (pytest.approx(draws.mean()), pytest.approx(error))
    assert np.isnan(standard_error([np.ones(2 * BATCHES - 1)]))


@pytest.mark.parametrize("staleness", [0, 1, 4])
def test_the_edge_is_found_where_the_formula_says(staleness: int) -> None:
    edge, error = measured_edge(staleness)
    assert 0 < error < 0.01 * edge
    assert abs(edge - sim.formulas.stability_edge(staleness)) <= 2 * error
