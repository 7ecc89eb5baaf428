"""Pictures of servers show every mini-batch with its fate, and every staleness with its share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from minidl.errors import InputError
from minidl.plans import Async, FullySync, KAsync, KBatchSync, KSync, Rule
from minidl.report.servers import FATES, draw_server_runs, draw_staleness, draw_trade_off
from minidl.sim import Constant, Exponential, SlowWorkers, simulate_server
from minidl.sim.formulas import staleness_law
from minidl.sim.server import CANCELLED, ServerRun


def bars(axes: Axes) -> list[tuple[int, int, float, float]]:
    """Every bar of a panel: its learner, fate, start and stop."""
    found = []
    for fate, container in zip(FATES, axes.containers, strict=True):
        for bar in container:
            assert bool(bar.get_hatch()) == (fate == CANCELLED)
            middle = bar.get_y() + bar.get_height() / 2
            stop = bar.get_x() + bar.get_width()
            found.append((round(middle), fate, round(bar.get_x(), 6), round(stop, 6)))
    return sorted(found)


@given(
    rule=st.sampled_from([FullySync(), KSync(2), KBatchSync(3), KAsync(2), Async()]),
    learners=st.integers(2, 5),
    updates=st.integers(1, 6),
    share=st.floats(0.2, 1.0),
)
def test_every_mini_batch_and_update_is_drawn(
    rule: Rule, learners: int, updates: int, share: float
) -> None:
    run = simulate_server(rule, Exponential(), learners, updates)
    end = float(run.times[-1]) * share
    (axes,) = draw_server_runs({"one": run}, until=end).axes
    begun = run.work[run.work["start"] < end]
    assert bars(axes) == sorted(
        (w["learner"], w["fate"], round(w["start"], 6), round(w["stop"], 6)) for w in begun
    )
    (lines,) = axes.collections
    where = sorted(segment[0][0] for segment in lines.get_segments())
    np.testing.assert_allclose(where, run.times[run.times <= end])
    lengths = [(w["fate"], min(w["stop"], end) - w["start"]) for w in begun]
    lost = sum(s for fate, s in lengths if fate == CANCELLED) / sum(s for _, s in lengths)
    assert axes.texts[-1].get_text() == f"{len(where)} updates\n{lost:.0%} cancelled"
    assert axes.get_xlim() == (0, pytest.approx(end))


def test_runs_stand_below_each_other_and_end_with_the_first(tmp_path: Path) -> None:
    law = SlowWorkers(Constant(1), {0: 3})
    runs = {
        "sync": simulate_server(KSync(2), law, 3, 2),
        "async": simulate_server(Async(), law, 3, 9),
    }
    path = tmp_path / "servers.png"
    figure = draw_server_runs(runs, path)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["sync", "async"]
    notes = [[text.get_text() for text in axes.texts][-1] for axes in figure.axes]
    assert notes == ["2 updates\n33% cancelled", "4 updates\n0% cancelled"]
    assert all(axes.get_xlim() == (0, 2) for axes in figure.axes)
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["applied", "cancelled", "not used yet", "update"]
    assert path.read_bytes().startswith(b"\x89PNG")


def test_shares_of_staleness_stand_under_their_theory(tmp_path: Path) -> None:
    law = staleness_law(KAsync(2), 4, 6)
    figure = draw_staleness(
        {"a": [0, 0, 1, 3], "b": np.array([5])}, tmp_path / "new" / "s.png", theory={"a": law}
    )
    first, second = figure.axes
    heights = [bar.get_height() for bar in first.containers[0]]
    assert heights == [0.5, 0.25, 0, 0.25]
    curve, mean = first.lines
    assert curve.get_ydata().tolist() == law.tolist()
    assert list(mean.get_xdata()) == [1, 1]
    assert [bar.get_height() for bar in second.containers[0]] == [0, 0, 0, 0, 0, 1]
    assert len(second.lines) == 1
    assert second.get_title() == "b: mean 5.00"
    assert (tmp_path / "new" / "s.png").exists()


def test_nothing_cannot_be_drawn() -> None:
    for nothing in ({}, {"a": []}):
        with pytest.raises(InputError, match="nothing to draw"):
            draw_staleness(nothing)
    with pytest.raises(InputError, match="nothing to draw"):
        draw_server_runs({})
    still: dict[str, ServerRun] = {"a": simulate_server(Async(), Constant(0), 2, 3)}
    with pytest.raises(InputError, match="lasts longer than 0.0 s"):
        draw_server_runs(still)


@given(
    gaps=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=30), min_size=2, max_size=4),
    points=st.integers(1, 7),
)
def test_error_against_time_keeps_every_update_in_its_window(
    gaps: list[list[int]], points: int
) -> None:
    curves = {
        f"rule {i}": (np.cumsum(each) / 7, np.linspace(1, 2, len(each)))
        for i, each in enumerate(gaps)
    }
    names = list(curves)
    runs = {"real": curves, "virtual": {names[1]: curves[names[1]]}}
    figure = draw_trade_off(runs, points=points)
    end = min(times[-1] for times, _ in curves.values())
    assert [axes.get_title() for axes in figure.axes] == ["real", "virtual"]
    for axes, panel in zip(figure.axes, runs.values(), strict=True):
        assert axes.get_xlim() == (0, pytest.approx(end))
        for line, (times, errors) in zip(axes.lines, panel.values(), strict=True):
            middles, means = line.get_data()
            half = end / points / 2
            np.testing.assert_allclose(middles, half * (2 * np.arange(points) + 1))
            for middle, mean in zip(middles, means, strict=True):
                slack = 1e-9  # a time on an edge may be counted on either side
                sure = (times > middle - half + slack) & (times < middle + half - slack)
                may = (times > middle - half - slack) & (times < middle + half + slack)
                if sure.any() and (sure == may).all():
                    assert mean == pytest.approx(errors[sure].mean())
                elif not may.any():
                    assert np.isnan(mean)
    first, second = figure.axes
    assert first.lines[1].get_color() == second.lines[0].get_color()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names


@pytest.mark.parametrize(
    "runs", [{}, {"real": {}}, {"real": {"a": ([], [])}}, {"real": {"a": ([1.0, 2.0], [1.0])}}]
)
def test_no_curve_is_no_picture(
    runs: dict[str, dict[str, tuple[list[float], list[float]]]],
) -> None:
    with pytest.raises(InputError, match="as many times as errors, and at least one"):
        draw_trade_off(runs)
