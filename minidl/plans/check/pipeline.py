"""Proofs about pipeline schedules: each stage's order of work, and that all stages finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minidl.checks import checked, whole
from minidl.errors import InputError, PlanError
from minidl.plans.instructions import (
    Activation,
    Backward,
    Forward,
    Gradient,
    Plan,
    Receive,
    Send,
)
from minidl.plans.rendezvous import Work, execute, wrong


@dataclass(frozen=True)
class PipelineCosts:
    """What a pipeline schedule costs, when each pass takes one unit and a message nothing.

    Parameters
    ----------
    makespan
        Units from the first pass's start to the last one's end.
    bubble
        The idle fraction of all stages' time.
    in_flight
        The most micro-batches whose activations each stage keeps at once.
    """

    makespan: int
    bubble: float
    in_flight: tuple[int, ...]


@checked
def check_pipeline(
    plan: Plan, stages: int, micro_batches: int, in_flight: Sequence[int] | None = None
) -> PipelineCosts:
    """Prove that a schedule trains right: the same work as without a pipeline.

    Every stage runs each micro-batch forward once and later backward once; it has
    received the activations or gradients in a step before it uses them, and sends on
    what it computed in a step after; every send has its receive; the plan ends without
    any buffering.

    Parameters
    ----------
    plan
        What to prove; rank s is stage s.
    stages
        How many stages the plan is meant for.
    micro_batches
        How many micro-batches the plan is meant for.
    in_flight
        The most micro-batches each stage may keep activations of; no bound if None.

    Returns
    -------
    PipelineCosts
        To compare with `minidl.plans.formulas`.

    Raises
    ------
    DeadlockError
        If stages wait for each other in a circle.
    PlanError
        If anything else above does not hold; the message shows the plan and the place.
    """
    whole("check_pipeline: micro_batches", micro_batches)
    if plan.size != stages:
        raise PlanError(f"{plan.name}: has programs for {plan.size} stages, not {stages}")
    if in_flight is not None and len(in_flight) != stages:
        raise InputError(f"in_flight needs a bound for each of {stages} stages, not {in_flight!r}")
    kept = tuple(_check_stage(plan, stage, micro_batches) for stage in range(stages))
    for stage, (most, step) in enumerate(kept):
        if in_flight is not None and most > in_flight[stage]:
            raise wrong(
                plan,
                f"stage {stage} keeps the activations of {most} micro-batches in step {step}; "
                f"{in_flight[stage]} are allowed",
                [(stage, step)],
            )
    work = [event for event in execute(plan) if isinstance(event, Work)]
    makespan = int(max((event.stop for event in work), default=0))
    busy = 2 * stages * micro_batches
    return PipelineCosts(
        makespan=makespan,
        bubble=(makespan * stages - busy) / (makespan * stages) if makespan else 0.0,
        in_flight=tuple(most for most, _ in kept),
    )


def _check_stage(plan: Plan, stage: int, micro_batches: int) -> tuple[int, int]:
    """Check one stage's program; the most activations it keeps, and in which step."""
    wanted = _wanted(stage, plan.size, micro_batches)
    done: set[object] = set()
    most, most_at = 0, 0
    for step, instructions in enumerate(plan.programs[stage]):
        here = [(stage, step)]
        for instruction in instructions:
            if instruction not in wanted:
                raise wrong(
                    plan,
                    f"stage {stage} does {instruction} in step {step}, which is no part of a "
                    f"pipeline of {plan.size} stages and {micro_batches} micro-batches",
                    here,
                )
            if instruction in done or instructions.count(instruction) > 1:
                raise wrong(plan, f"stage {stage} does {instruction} twice", here)
            missing = [before for before in wanted[instruction] if before not in done]
            if missing:
                raise wrong(
                    plan,
                    f"stage {stage} does {instruction} in step {step}, but {missing[0]} has to "
                    f"come in a step before",
                    here,
                )
        done.update(instructions)
        kept = sum(
            1 if isinstance(i, Forward) else -1 for i in done if isinstance(i, Forward | Backward)
        )
        if kept > most:
            most, most_at = kept, step
    for left in wanted:
        if left not in done:
            end = (stage, len(plan.programs[stage]))
            raise wrong(plan, f"stage {stage} never does {left}", [end])
    return most, most_at


def _wanted(stage: int, stages: int, micro_batches: int) -> dict[object, list[object]]:
    """All that a stage has to do, and what has to come before each of it."""
    wanted: dict[object, list[object]] = {}
    for m in range(micro_batches):
        forward, backward = Forward(m), Backward(m)
        wanted[forward], wanted[backward] = [], [forward]
        if stage > 0:
            source = Receive(stage - 1, Activation(m))
            wanted[source] = []
            wanted[forward].append(source)
            wanted[Send(stage - 1, Gradient(m))] = [backward]
        if stage < stages - 1:
            source = Receive(stage + 1, Gradient(m))
            wanted[source] = []
            wanted[backward].append(source)
            wanted[Send(stage + 1, Activation(m))] = [forward]
    return wanted
