"""The curves drawn are the numbers recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from minidl.errors import InputError
from minidl.report.curves import draw_history, draw_learning_rates

FIGURES = st.floats(1e-6, 100)


@dataclass
class Record:
    epoch: int
    train: dict[str, float]
    validation: dict[str, float] | None
    steps: int = 1


@dataclass
class Run:
    epochs: list[Record] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def series(self, name: str) -> list[float]:
        assert name == "loss"
        return self.losses


@st.composite
def runs(draw: st.DrawFn, metrics: tuple[str, ...] | None = None) -> Run:
    """A run of some epochs, from any epoch on, of one or more steps each, not all as many."""
    count, first = draw(st.integers(1, 5)), draw(st.integers(0, 3))
    steps = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    validated = draw(st.booleans())
    if metrics is None:
        metrics = draw(st.sampled_from([("loss",), ("loss", "accuracy"), ("loss", "top5", "auc")]))

    def figures() -> dict[str, float]:
        return {name: draw(FIGURES) for name in metrics}

    epochs = [
        Record(first + number, figures(), figures() if validated else None, steps[number])
        for number in range(count)
    ]
    losses = draw(st.lists(FIGURES, min_size=sum(steps), max_size=sum(steps)))
    return Run(epochs, losses)


def line(axes: Axes, label: str) -> Line2D:
    return next(line for line in axes.get_lines() if line.get_label() == label)


@given(run=runs())
def test_a_panel_for_each_metric_and_a_point_for_each_epoch_and_step(run: Run) -> None:
    figure = draw_history({"": run})
    names = [axes.get_title() for axes in figure.axes]
    assert names[0] == "loss"
    assert sorted(names) == sorted(run.epochs[0].train)
    for axes in figure.axes:
        metric = axes.get_title()
        assert axes.get_ylabel() == metric and axes.get_xlabel() == "epochs"
        training = line(axes, "training")
        np.testing.assert_array_equal(
            training.get_xdata(), [record.epoch + 1 for record in run.epochs]
        )
        np.testing.assert_array_equal(
            training.get_ydata(), [record.train[metric] for record in run.epochs]
        )
        tested = [record.validation[metric] for record in run.epochs if record.validation]
        labels = [each.get_label() for each in axes.get_lines()]
        assert ("validation" in labels) == bool(tested)
        if tested:
            np.testing.assert_array_equal(line(axes, "validation").get_ydata(), tested)
    # The steps of an epoch end where its point lies.
    steps = figure.axes[0].get_lines()[0]
    np.testing.assert_array_equal(steps.get_ydata(), run.losses)
    where = np.asarray(steps.get_xdata())
    last = np.cumsum([record.steps for record in run.epochs]) - 1
    np.testing.assert_allclose(where[last], [record.epoch + 1 for record in run.epochs])
    assert (np.diff(where) > 0).all()
    assert where[0] > run.epochs[0].epoch


@settings(max_examples=10)  # neither colours nor widths depend on figures
@given(first=runs(("loss", "accuracy")), second=runs(("loss", "accuracy")))
def test_runs_are_told_apart(first: Run, second: Run) -> None:
    figure = draw_history({"ring": first, "pipeline": second})
    for axes in figure.axes:
        one, other = line(axes, "ring training"), line(axes, "pipeline training")
        assert one.get_color() != other.get_color()
        assert one.get_linewidth() > other.get_linewidth()  # the last must not hide the first


def test_a_metric_that_only_one_run_has_is_drawn_for_that_run(tmp_path: Path) -> None:
    labelled = Run([Record(0, {"loss": 1.0, "accuracy": 0.5}, None)], [1.0])
    plain = Run([Record(0, {"loss": 2.0}, {"loss": 3.0})], [2.0])
    path = tmp_path / "new" / "curves.png"
    figure = draw_history({"a": labelled, "b": plain}, path)
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    (legend,) = figure.legends
    below = legend.get_window_extent().y1
    assert below < min(axes.get_tightbbox().y0 for axes in figure.axes)
    assert np.isnan(line(figure.axes[1], "b training").get_ydata()).all()
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_is_saved_as_its_name_says(suffix: str, tmp_path: Path) -> None:
    run = Run([Record(0, {"loss": 1.0}, None)], [1.0])
    draw_history({"": run}, tmp_path / f"curves.{suffix}")
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert (tmp_path / f"curves.{suffix}").read_bytes().startswith(start)


def test_a_run_without_an_epoch_is_refused() -> None:
    with pytest.raises(InputError, match="no epoch is done"):
        draw_history({"ring": Run()})


@given(rates=st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_a_schedule_is_drawn_as_it_is(rates: list[float]) -> None:
    schedules = {"given": rates.__getitem__, "other": lambda step: 0.5}
    (axes,) = draw_learning_rates(schedules, len(rates)).axes
    given_line, other = line(axes, "given"), line(axes, "other")
    np.testing.assert_array_equal(given_line.get_xdata(), range(len(rates)))
    np.testing.assert_array_equal(given_line.get_ydata(), rates)
    assert given_line.get_color() != other.get_color()


def test_no_schedule_or_no_step_is_refused() -> None:
    for schedules, steps in (({}, 3), ({"": float}, 0)):
        with pytest.raises(InputError, match="nothing to draw"):
            draw_learning_rates(schedules, steps)
