"""Pipeline schedules: proved for all small shapes, timed against the formulas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import plans
from minidl.errors import InputError, PlanError
from minidl.plans import Forward, Instruction, Plan, formulas
from minidl.plans.rendezvous import execute

STAGES = range(1, 7)
MICRO_BATCHES = range(1, 13)
TIMES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6)


def makespan(plan: Plan, times: list[tuple[int, int]]) -> float:
    """How long the plan takes with these (forward, backward) times of the stages."""

    def seconds(rank: int, instruction: Instruction) -> float:
        if isinstance(instruction, Forward):
            return times[rank][0]
        return times[rank][1] if isinstance(instruction, plans.Backward) else 0

    return max(event.stop for event in execute(plan, seconds))


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("micro_batches", MICRO_BATCHES)
def test_gpipe(stages: int, micro_batches: int) -> None:
    costs = plans.check_pipeline(plans.gpipe(stages, micro_batches), stages, micro_batches)
    assert costs.makespan == 2 * (micro_batches + stages - 1)
    assert costs.bubble == formulas.gpipe_bubble(stages, micro_batches)
    assert costs.in_flight == formulas.gpipe_in_flight(stages, micro_batches)


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("micro_batches", MICRO_BATCHES)
def test_sequential(stages: int, micro_batches: int) -> None:
    costs = plans.check_pipeline(plans.sequential(stages, micro_batches), stages, micro_batches)
    assert costs.makespan == 2 * micro_batches * stages
    assert costs.bubble == formulas.sequential_bubble(stages)
    assert costs.in_flight == formulas.sequential_in_flight(stages)


@given(TIMES, st.integers(1, 12))
def test_unequal_stages_take_what_the_formulas_say(
    times: list[tuple[int, int]], micro_batches: int
) -> None:
    forward, backward = zip(*times, strict=True)
    for schedule, formula in (
        (plans.gpipe, formulas.gpipe_makespan),
        (plans.sequential, formulas.sequential_makespan),
    ):
        plan = schedule(len(times), micro_batches)
        assert makespan(plan, times) == formula(forward, backward, micro_batches)


def test_more_micro_batches_shrink_the_bubble_to_nothing() -> None:
    bubbles = [formulas.gpipe_bubble(4, m) for m in (1, 4, 16, 1000)]
    assert bubbles == sorted(bubbles, reverse=True) and bubbles[-1] < 0.01
    assert formulas.gpipe_bubble(4, 1) == formulas.sequential_bubble(4)


@pytest.mark.parametrize("schedule", plans.SCHEDULES.values(), ids=plans.SCHEDULES)
@pytest.mark.parametrize(
    ("stages", "micro_batches"), [(0, 1), (1, 0), (-2, 3), (2, 1.5), (True, 2)]
)
def test_impossible_shapes_are_refused(
    schedule: plans.Schedule, stages: int, micro_batches: int
) -> None:
    with pytest.raises(InputError, match="must be a whole number of at least 1, not"):
        schedule(stages, micro_batches)


def test_too_many_activations_are_found() -> None:
    plans.check_pipeline(plans.gpipe(2, 4), 2, 4, in_flight=(4, 4))
    with pytest.raises(PlanError, match="stage 1 keeps the activations of 4 micro-batches"):
        plans.check_pipeline(plans.gpipe(2, 4), 2, 4, in_flight=(4, 3))
    with pytest.raises(InputError, match="a bound for each of 2 stages"):
        plans.check_pipeline(plans.gpipe(2, 4), 2, 4, in_flight=(4,))
