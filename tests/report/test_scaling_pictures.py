"""What is drawn of scaling is what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.errors import InputError
from minidl.report.scaling import draw_scaling, draw_shares
from minidl.report.style import new_figure
from minidl.train.scaling import Fit, Measured

SHARES = st.lists(st.floats(0, 0.25), min_size=4, max_size=4).map(
    lambda parts: dict(zip(("forward", "backward", "send", "wait"), parts, strict=True))
)


@st.composite
def results(draw: st.DrawFn) -> tuple[Measured, ...]:
    """The serial run, one worker, and several of both modes or of one."""
    rounds = draw(st.integers(1, 3))

    def fits() -> tuple[Fit, ...]:
        reached = draw(st.booleans())
        rates = draw(st.lists(st.floats(1, 100), min_size=rounds, max_size=rounds))
        times = draw(st.lists(st.floats(0.1, 9), min_size=rounds, max_size=rounds))
        return tuple(
            Fit(rate, 0.9, *((3, seconds) if reached else (None, None)), draw(SHARES))
            for rate, seconds in zip(rates, times, strict=True)
        )

    base = fits()
    rows = [Measured("one", "serial", 1, 1, 8, base, base)]
    rows.append(Measured("one", "ring", 1, 1, 8, fits(), base))
    for mode in draw(st.sampled_from([(), ("strong",), ("weak",), ("strong", "weak")])):
        rows += [Measured(mode, "ring", count, count, 8, fits(), base) for count in (2, 3)]
    return tuple(rows)


@settings(max_examples=8)
@given(rows=results())
def test_points_and_bars_are_the_medians(rows: tuple[Measured, ...]) -> None:
    left, _, right = draw_scaling(rows).axes
    modes = [mode for mode in ("strong", "weak") if any(row.mode == mode for row in rows)]
    assert [bars.get_label() for bars in left.containers] == modes
    for container, mode in zip(left.containers, modes, strict=True):
        chosen = [rows[1], *(row for row in rows if row.mode == mode)]
        x, y = container.lines[0].get_data()
        assert list(x) == [1, 2, 3]
        np.testing.assert_allclose(np.asarray(y, float), [row.speedup.median for row in chosen])
    bars = {round(b.get_y() + b.get_height() / 2): b.get_width() for b in right.patches}
    missed = {round(text.get_position()[1]) for text in right.texts}
    for place, row in enumerate(rows):
        assert (place in missed) == (row.seconds is None) == (place not in bars)
        if row.seconds is not None:
            assert bars[place] == pytest.approx(row.seconds.median)
    names = [label.get_text() for label in right.get_yticklabels()]
    assert names[0] == "serial" and len(set(names)) == len(rows)


@settings(max_examples=8)
@given(shares=st.lists(SHARES, min_size=1, max_size=4))
def test_pieces_of_a_bar_lie_end_to_end(shares: list[dict[str, float]]) -> None:
    axes = new_figure(4, 3).subplots()
    draw_shares(axes, {str(number): each for number, each in enumerate(shares)})
    ends = np.zeros(len(shares))
    for container in axes.containers:
        kind = container.get_label()
        np.testing.assert_allclose([bar.get_x() for bar in container], ends, atol=1e-12)
        widths = [bar.get_width() for bar in container]
        np.testing.assert_allclose(widths, [each[kind] for each in shares], atol=1e-12)
        ends += widths
    np.testing.assert_allclose(ends, [sum(each.values()) for each in shares], atol=1e-12)


def test_a_picture_is_saved_and_nothing_is_refused(tmp_path: Path) -> None:
    fits = (Fit(10.0, 0.9, 3, 1.0, {}),)
    draw_scaling([Measured("one", "serial", 1, 1, 8, fits, fits)], tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 5_000
    with pytest.raises(InputError, match="nothing to draw: no rows"):
        draw_scaling([])
