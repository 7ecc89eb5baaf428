"""Pictures of plans show what the plans do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from minidl import plans
from minidl.errors import DeadlockError, InputError
from minidl.plans import Collective, Instruction, Plan, Receive, Send
from minidl.report.plans import animate_collective, draw_collective, draw_schedule


@cache
def drawn(make: Callable[[int], Collective], size: int) -> Figure:
    """Drawn once for all tests that look at it."""
    return draw_collective(make(size))


@pytest.mark.parametrize("make", plans.ALL_REDUCES.values(), ids=plans.ALL_REDUCES)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_collective_ends_with_the_sum_in_every_cell(make, size: int) -> None:
    plan = make(size)
    figure = drawn(make, size)
    steps = plans.check_all_reduce(plan).steps
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert len(panels) == steps + 1
    cells = [[text.get_text() for text in panel.texts if text.get_text()] for panel in panels]
    starting = [str(rank) for rank in range(size) for _ in range(plan.chunks)]
    assert cells[0] == starting
    assert cells[-1] == ["Σ" if size > 1 else "0"] * size * plan.chunks


def test_a_collective_draws_an_arrow_for_each_message(tmp_path: Path) -> None:
    plan = plans.ring_all_reduce(3)
    figure = draw_collective(plan, tmp_path / "plan.png")
    assert (tmp_path / "plan.png").stat().st_size > 1000
    arrows = [text for axes in figure.axes for text in axes.texts if not text.get_text()]
    assert len(arrows) == plans.check_all_reduce(plan).messages


@pytest.mark.parametrize(
    ("schedule", "title"),
    [
        (plans.gpipe, "bubble in this picture 42.9%; by formula (p−1)/(m+p−1) = 42.9%"),
        (plans.sequential, "bubble in this picture 75.0%; by formula (p−1)/p = 75.0%"),
    ],
)
def test_a_schedule_states_its_bubble(schedule, title: str, tmp_path: Path) -> None:
    figure = draw_schedule(schedule(4, 4), tmp_path / "schedule.svg")
    assert figure.axes[0].get_title() == title
    passes = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(passes) == sorted("0123" * 8)


def test_unequal_stages_state_no_formula() -> None:
    def seconds(rank: int, instruction: Instruction) -> float:
        return 0.0 if isinstance(instruction, Send) else 1.0 + rank

    title = draw_schedule(plans.gpipe(2, 2), seconds=seconds).axes[0].get_title()
    assert "formula" not in title and title.startswith("bubble in this picture")


def test_what_cannot_be_drawn() -> None:
    swap = (((Send(1, 0),), (Receive(1, 0),)), ((Send(0, 0),), (Receive(0, 0),)))
    with pytest.raises(DeadlockError):
        draw_collective(Collective("swap", swap, 1))
    with pytest.raises(InputError, match="nothing to draw"):
        draw_schedule(Plan("idle", ((), ())))


@pytest.mark.parametrize("name", [name for name in plans.COLLECTIVES if name != "barrier"])
def test_in_the_end_those_it_is_meant_for_have_it(name: str) -> None:
    plan = plans.COLLECTIVES[name](4)
    figure = draw_collective(plan)
    last = [axes for axes in figure.axes if axes.get_title()][-1]
    words = [text.get_text() for text in last.texts if not isinstance(text, Annotation)]
    for rank in range(plan.size):
        for chunk in range(plan.chunks):
            cell = words[rank * plan.chunks + chunk]
            sources = plan.sources[chunk]
            if rank in plan.targets[chunk]:
                assert cell == ("Σ" if len(sources) > 1 else str(*sources))


def test_a_barrier_draws_who_has_heard_of_whom() -> None:
    figure = draw_collective(plans.barrier(5), news=True)
    panels = [axes for axes in figure.axes if axes.get_title()]
    heard = [sum(bool(text.get_text()) for text in panel.texts) for panel in panels]
    assert heard == [5, 10, 20, 25]


def test_arrows_of_different_senders_do_not_lie_on_each_other() -> None:
    # Among 5 ranks trees, the double one too, send past each other in one gap.
    for make in (*plans.ALL_REDUCES.values(), plans.broadcast):
        for axes in drawn(make, 5).axes:
            taken: dict[tuple[float, int], tuple[float, bool]] = {}
            for text in axes.texts:
                if not isinstance(text, Annotation):
                    continue
                (x, to), (_, sender) = text.xy, text.xyann
                for row in range(min(int(to), int(sender)), max(int(to), int(sender))):
                    line = (sender, to > sender)
                    assert taken.setdefault((round(x, 6), row), line) == line


def test_a_film_shows_every_step(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "films" / "tree.gif"
    animate_collective(plans.tree_all_reduce(2), path, step_seconds=0.2)
    with Image.open(path) as film:
        steps = plans.check_all_reduce(plans.tree_all_reduce(2)).steps
        assert film.n_frames == 6 * steps + 1
        durations = []
        for frame in range(film.n_frames):
            film.seek(frame)
            durations.append(film.info["duration"])
    # A step's end is shown, then the next one's five moves; the end is shown longest.
    assert durations == [80, 20, 20, 20, 20, 20] * steps + [400]
    animate_collective(plans.ring_all_reduce(1), path)
    with pytest.raises(InputError, match="has to end in .gif"):
        animate_collective(plans.ring_all_reduce(2), tmp_path / "ring.mp4")
    with pytest.raises(InputError, match="more than 0 seconds"):
        animate_collective(plans.ring_all_reduce(2), path, step_seconds=0)
