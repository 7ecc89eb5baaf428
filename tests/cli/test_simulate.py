"""``minidl simulate``: formulas beside what is simulated or counted; bad input in one message."""

from __future__ import annotations

import json
from math import sqrt
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from minidl.cli.main import app
from minidl.cli.simulate import Beside, collective_rows, server_rows, service_law
from minidl.plans import ALL_REDUCES
from minidl.sim import Constant, Exponential, ShiftedExponential

RULES = ("fully sync", "4-sync", "4-batch-sync", "4-async", "4-batch-async", "2-softsync",
         "fully async")  # fmt: skip


def simulate(*words: object) -> Any:
    """Run the command line in this process."""
    return CliRunner().invoke(app, ["simulate", *map(str, words)])


def agree(figure: Beside, updates: int, learners: int = 8) -> bool:
    """Within five standard errors of a mean over independent updates, or of a bound from above.

    What is at work at the end, and the start with fresh weights, is not of the long run.
    """
    if figure.formula is None:
        return True
    error = (figure.formula + 1) * (5 / sqrt(updates) + learners / updates)
    below = figure.measured >= figure.formula - error
    return figure.measured <= figure.formula + error and (below or figure.at_most)


@given(
    learners=st.integers(1, 9),
    k=st.integers(1, 9),
    shift=st.sampled_from([0.0, 1.0]),
    name=st.sampled_from(["exponential", "constant"]),
)
@example(8, 4, 0.0, "exponential")
@settings(max_examples=12)  # each simulates seven rules
def test_what_is_simulated_agrees_with_the_formulas(
    learners: int, k: int, shift: float, name: str
) -> None:
    law = service_law(name, 2.0, shift)
    for row in server_rows(law, learners, min(k, learners), 400, seed=1):
        for figure in (row.seconds, row.staleness, row.cancelled):
            assert agree(figure, 400, learners), (row.rule, figure)


@pytest.mark.parametrize(
    ("shift", "published"),
    [(0, (0.6345, 0.5, 0.6345, 0.5)), (1, (1.6345, 1.630, 1.240, 1.0))],
)
def test_the_table_of_eight_learners_and_k_of_four(
    shift: float, published: tuple[float, ...]
) -> None:
    found = simulate("server", "--shift", shift, "--updates", 2000, "--json")
    rows = {row["rule"]: row for row in json.loads(found.stdout)}
    assert tuple(rows) == RULES
    for rule, wanted in zip(RULES[1:5], published, strict=True):
        seconds = rows[rule]["seconds"]
        assert seconds["measured"] == pytest.approx(wanted, abs=0.015)
        if seconds["formula"] is not None and not seconds["at_most"]:
            assert seconds["formula"] == pytest.approx(wanted, abs=5e-5)
    assert rows["4-async"]["seconds"]["at_most"] == bool(shift)
    if shift:
        return
    # Work in vain: (P-K)(H_P - H_{P-K})/K and (P-1)(1 - (1-1/P)^K)/K, within one per cent.
    vain = {rule: row["cancelled"] for rule, row in rows.items()}
    assert vain["4-sync"]["formula"] == pytest.approx(0.6345, abs=5e-5)
    assert vain["4-batch-sync"]["formula"] == pytest.approx(7 * (1 - (7 / 8) ** 4) / 4)
    for rule, figure in vain.items():
        assert figure["measured"] == pytest.approx(figure["formula"], rel=0.01), rule
        assert (figure["measured"] > 0) == (rule in ("4-sync", "4-batch-sync"))


@given(ranks=st.integers(1, 13), chunks=st.integers(0, 3), latency=st.sampled_from([0.0, 1e-4]))
def test_all_reduces_are_counted_as_the_formulas_say(
    ranks: int, chunks: int, latency: float
) -> None:
    size = 27720 * 169 * chunks  # every number of chunks divides it
    rows = collective_rows(ranks, latency, 1e6, size)
    assert [row.algorithm for row in rows] == list(ALL_REDUCES)
    for row in rows:
        assert row.messages.formula == row.messages.measured
        assert row.sent.formula == pytest.approx(row.sent.measured)
        assert row.sent.measured >= 2 * (ranks - 1) / ranks * size - 1e-6
        assert row.steps.measured <= row.steps.formula
        assert row.steps.at_most or row.steps.measured == row.steps.formula
        assert row.bus_bandwidth is None or row.bus_bandwidth <= 1e6 * (1 + 1e-9)
    ring = rows[0]
    assert ring.seconds == pytest.approx(2 * (ranks - 1) * (latency + size / ranks / 1e6))


def test_laws_by_name() -> None:
    assert service_law("exponential", 2.0, 0.0) == Exponential(2.0)
    assert service_law("exponential", 2.0, 0.5) == ShiftedExponential(0.5, 2.0)
    assert service_law("constant", 2.0, 0.5) == Constant(1.0)


@pytest.mark.parametrize("words", ["--ranks 12", "--ranks 36 --bytes 100000000000"])
def test_a_narrow_terminal_shortens_nothing(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = simulate("collectives", *words.split()).stdout
    assert "…" not in said and max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("command", ["server", "collectives"])
def test_tables_and_json_show_the_same_rows(command: str) -> None:
    words = (command, "--updates", 100) if command == "server" else (command,)
    shown, plain = simulate(*words), simulate(*words, "--json")
    assert shown.exit_code == plain.exit_code == 0
    for row in json.loads(plain.stdout):
        name = row.get("rule") or row["algorithm"]
        assert sum(line.startswith(name + " ") for line in shown.stdout.splitlines()) == 1
    assert simulate(*words).stdout == shown.stdout
    assert "…" not in shown.stdout
    if command == "server":
        assert simulate(*words, "--seed", 1).stdout != shown.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("server --k 0", "k is a whole number from 1 to the 8 learners, not 0"),
        ("server --k 9", "k is a whole number from 1 to the 8 learners, not 9"),
        ("server --learners 0", "a server needs at least 1 learner, not 0"),
        ("server --updates 0", "updates must be a whole number of at least 1, not 0"),
        ("server --rate 0", "rate is a finite number above 0, not 0.0"),
        ("server --rate nan", "rate is a finite number above 0, not nan"),
        ("server --shift -1", "shift is a finite number of at least 0, not -1.0"),
        ("server --law constant --shift -1", "shift is a finite number of at least 0, not -1.0"),
        ("server --law weibull", "unknown law 'weibull'"),
        ("collectives --ranks 0", "from 1 to 256 ranks, not 0"),
        ("collectives --ranks 257", "from 1 to 256 ranks, not 257"),
        ("collectives --latency -1", "latency must be at least 0 seconds, not -1.0"),
        ("collectives --bandwidth 0", "bandwidth must be above 0 bytes a second, not 0.0"),
        ("collectives --bytes -1", "size must be at least 0 bytes, not -1"),
    ],
)
def test_bad_input_is_one_clear_message(words: str, message: str) -> None:
    for more in ("", " --json"):
        result = simulate(*(words + more).split())
        assert result.exit_code == 2 and result.stdout == ""
        assert message in " ".join(result.stderr.split())
        assert result.stderr.startswith("error:") and "Traceback" not in result.output
