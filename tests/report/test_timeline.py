"""A timeline shows every span of the steps asked for, in its place, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from minidl.errors import InputError
from minidl.report.style import SPAN_COLOURS
from minidl.report.timeline import (
    BUSY,
    ON_ITS_WAY,
    busy_share,
    draw_timeline,
    draw_timelines,
    hidden_share,
)
from minidl.runtime.trace import BESIDE, KINDS, SPAN, Trace


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Ranks that do one thing after the other, with pauses; some may do nothing at all."""
    ranks = []
    begin = draw(st.floats(0, 1000))
    for _ in range(draw(st.integers(1, 4))):
        count = draw(st.integers(0, 8))
        now, spans = begin + draw(st.floats(0, 0.01)), []
        steps = sorted(draw(st.lists(st.integers(0, 6), min_size=count, max_size=count)))
        for step in steps:
            stop = now + draw(st.floats(1e-5, 0.01))
            spans.append((now, stop, draw(st.integers(0, len(KINDS) - 1)), step, -1))
            now = stop + draw(st.floats(0, 0.001))
        ranks.append(np.array(spans, SPAN))
    return Trace(tuple(ranks), tuple(f"worker {rank}" for rank in range(len(ranks))))


def drawn(axes: Axes) -> list[tuple[int, float, float, str]]:
    """Every bar of a panel: its row, start and stop in milliseconds, and colour."""
    bars = []
    for collection in axes.collections:
        assert isinstance(collection, PolyCollection)
        colour = to_hex(collection.get_facecolor()[0]).upper()
        for path in collection.get_paths():
            (left, bottom), (right, top) = path.vertices.min(axis=0), path.vertices.max(axis=0)
            bars.append((round((bottom + top) / 2), left, right, colour))
    return sorted(bars)


@given(trace=traces(), data=st.data())
def test_every_span_is_drawn_in_its_place(trace: Trace, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, 6))
    last = data.draw(st.integers(first, 6))
    part = trace.steps(first, last)
    if not any(len(spans) for spans in part.ranks):
        with pytest.raises(InputError, match=f"nothing of steps {first} to {last}"):
            draw_timeline(trace, steps=(first, last))
        return
    (axes,) = draw_timeline(trace, steps=(first, last)).axes
    expected = sorted(
        (
            rank,
            (span["start"] - part.start) * 1e3,
            (span["stop"] - part.start) * 1e3,
            SPAN_COLOURS[KINDS[span["kind"]]].upper(),
        )
        for rank, spans in enumerate(part.ranks)
        for span in spans
    )
    found = drawn(axes)
    assert [(bar[0], bar[3]) for bar in found] == [(bar[0], bar[3]) for bar in expected]
    np.testing.assert_allclose(
        [bar[1:3] for bar in found], [bar[1:3] for bar in expected], atol=1e-6
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == list(trace.names)
    left, right = axes.get_xlim()
    assert left == 0 and right >= max(bar[2] for bar in expected) - 1e-6
    low, high = sorted(axes.get_ylim())
    assert low < 0 and high > len(trace.names) - 1 - 0.5


@given(trace=traces())
def test_shares_of_busy_time_are_shares(trace: Trace) -> None:
    whole = max((float(s["stop"].max()) for s in trace.ranks if len(s)), default=0) - trace.start
    for rank, spans in enumerate(trace.ranks):
        share = busy_share(trace, rank)
        assert 0 <= share <= 1 + 1e-9
        busy = sum(float(s["stop"] - s["start"]) for s in spans if KINDS[s["kind"]] in BUSY)
        if busy:
            assert share == pytest.approx(busy / whole)
        else:
            assert share == 0


def spans(*parts: tuple[str, float, float, int]) -> np.ndarray:
    return np.array([(a, b, KINDS.index(kind), step, -1) for kind, a, b, step in parts], SPAN)


def test_the_busy_share_is_written_beside_each_row() -> None:
    trace = Trace(
        (
            spans(("forward", 5, 6, 0), ("wait", 6, 8, 0), ("backward", 8, 9, 0)),
            spans(("wait", 5, 7, 0), ("update", 7, 8, 0)),
            spans(),
        ),
        ("a", "b", "c"),
    )
    (axes,) = draw_timeline(trace, steps=(0, 0)).axes
    assert [text.get_text() for text in axes.texts] == ["50% busy", "25% busy", "0% busy"]


@pytest.mark.parametrize(("steps", "shown"), [(1, {0}), (2, {0}), (3, {0, 1}), (9, {5, 6, 7})])
def test_by_default_the_last_steps_but_one_are_drawn(steps: int, shown: set[int]) -> None:
    """The last one ends with an evaluation, beside which a step is short."""
    trace = Trace(
        (spans(*(("forward", step, step + 0.5, step) for step in range(steps))),), ("alone",)
    )
    (axes,) = draw_timeline(trace).axes
    starts = {round(bar[1] / 1e3) + min(shown) for bar in drawn(axes)}
    assert starts == shown


def test_several_runs_stand_below_each_other(tmp_path: Path) -> None:
    one = Trace((spans(("forward", 0, 1, 0)),), ("serial",))
    two = Trace((spans(("send", 3, 4, 0)), spans(("receive", 3, 5, 0))), ("stage 0", "stage 1"))
    path = tmp_path / "new" / "timelines.png"
    figure = draw_timelines({"one": one, "two": two}, path)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["one", "two"]
    assert [axes.get_xlim() for axes in figure.axes] == [(0, 2040)] * 2  # the longer one's, of 2 s
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["forward", "send", "receive"]
    assert path.read_bytes().startswith(b"\x89PNG")


def test_an_empty_trace_is_refused() -> None:
    with pytest.raises(InputError, match="the trace holds nothing"):
        draw_timeline(Trace((spans(),), ("alone",)))


def test_work_that_was_cancelled_is_hatched_and_nothing_else_is() -> None:
    trace = Trace((spans(("forward", 0, 1, 0), ("cancelled", 1, 3, 0), ("wait", 3, 4, 0)),), ("a",))
    figure = draw_timeline(trace, steps=(0, 0))
    (axes,), (legend,) = figure.axes, figure.legends
    hatched = {to_hex(c.get_facecolor()[0]).upper() for c in axes.collections if c.get_hatch()}
    assert hatched == {SPAN_COLOURS["cancelled"]}
    marks = {
        text.get_text(): bool(patch.get_hatch())
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    assert marks == {"forward": False, "wait": False, "cancelled": True}


@given(trace=traces(), first=st.floats(0, 0.02), length=st.floats(1e-4, 0.02))
def test_seconds_show_what_lies_between_them(trace: Trace, first: float, length: float) -> None:
    last, zero = first + length, trace.start
    expected = [
        (rank, (s["start"] - zero - first) * 1e3, (s["stop"] - zero - first) * 1e3)
        for rank, spans in enumerate(trace.ranks)
        for s in spans
        if s["start"] < zero + last and s["stop"] > zero + first
    ]
    if not expected:
        with pytest.raises(InputError, match="nothing of seconds"):
            draw_timeline(trace, seconds=(first, last))
        return
    (axes,) = draw_timeline(trace, seconds=(first, last)).axes
    found = [bar[:3] for bar in drawn(axes)]
    np.testing.assert_allclose(sorted(found), sorted(expected), atol=1e-6)
    assert axes.get_xlim() == (0, pytest.approx(1e3 * length))


def test_every_kind_has_a_colour_of_its_own() -> None:
    assert set(SPAN_COLOURS) == set(KINDS)
    assert len(set(SPAN_COLOURS.values())) == len(KINDS)


@given(
    exchanges=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    waits=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_what_a_program_waits_for_is_not_hidden(exchanges: list[int], waits: list[bool]) -> None:
    """Exchanges follow each other; for some of them the program waits from begin to end."""
    own, beside, now = [], [], 100.0
    for length, waited in zip(exchanges, waits, strict=False):
        beside.append((now, now + length, KINDS.index("wait"), 0, -1))
        own.append((now, now + length, KINDS.index("wait" if waited else "backward"), 0, -1))
        now += length + 1
    ranks = (np.array(own, SPAN), np.array(beside, SPAN))
    trace = Trace.woven(ranks[:1], ranks[1:], ["worker"])
    assert trace.names == ("worker", f"worker{BESIDE}")
    exposed = sum(n for n, waited in zip(exchanges, waits, strict=False) if waited)
    assert hidden_share(trace) == pytest.approx(1 - exposed / sum(exchanges))
    assert np.isnan(hidden_share(Trace(ranks[:1], ("worker",))))
    (axes,) = draw_timeline(trace).axes
    assert {colour for row, _, _, colour in drawn(axes) if row == 1} == {ON_ITS_WAY.upper()}
