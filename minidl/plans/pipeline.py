"""Pipeline schedules as plans: when each stage runs which micro-batch.

Rank s is stage s and holds a slice of the model's layers. A schedule only orders
each stage's work; what is sent follows from it, because every stage but the last
sends on what it computes forward and every stage but the first what it computes
backward. GPipe: Huang et al., arXiv 1811.06965, figure 2.
"""

from __future__ import annotations

from collections.abc import Callable

from minidl.checks import MANY, whole
from minidl.plans.instructions import (
    Activation,
    Backward,
    Forward,
    Gradient,
    Instruction,
    Plan,
    Program,
    Receive,
    Send,
)

Pass = Forward | Backward
Schedule = Callable[[int, int], Plan]
"""A function of (stages, micro_batches)."""


def sequential(stages: int, micro_batches: int) -> Plan:
    """One micro-batch at a time through all stages and back: naive model parallelism.

    Only one stage works at any time, so the bubble is (p - 1)/p however many
    micro-batches there are; a stage keeps the activations of one micro-batch.

    Parameters
    ----------
    stages
        Into how many parts the network is cut, at least 1.
    micro_batches
        Into how many parts the batch is cut, at least 1; may be fewer than stages.

    Raises
    ------
    InputError
        If either is not a whole number of at least 1.
    """
    _require(stages, micro_batches)
    order: list[Pass] = []
    for m in range(micro_batches):
        order += [Forward(m), Backward(m)]
    return _plan("sequential", stages, order)


def gpipe(stages: int, micro_batches: int) -> Plan:
    """All micro-batches forward, then all backward in the opposite order.

    Stage s + 1 runs micro-batch m while stage s runs m + 1. The bubble is
    (p - 1)/(m + p - 1); every stage keeps the activations of all m micro-batches.

    Parameters
    ----------
    stages
        Into how many parts the network is cut, at least 1.
    micro_batches
        Into how many parts the batch is cut, at least 1; may be fewer than stages.

    Raises
    ------
    InputError
        If either is not a whole number of at least 1.
    """
    _require(stages, micro_batches)
    forwards: list[Pass] = [Forward(m) for m in range(micro_batches)]
    backwards: list[Pass] = [Backward(m) for m in reversed(range(micro_batches))]
    return _plan("gpipe", stages, forwards + backwards)


SCHEDULES: dict[str, Schedule] = {"sequential": sequential, "gpipe": gpipe}
"""Every schedule by name."""


def _plan(name: str, stages: int, work: list[Pass]) -> Plan:
    """The plan in which every stage does its work in this order."""
    return Plan(name, tuple(_program(stage, stages, work) for stage in range(stages)))


def _program(stage: int, stages: int, work: list[Pass]) -> Program:
    """One stage's work with the messages it needs, one instruction a step."""
    before = stage - 1 if stage > 0 else None
    after = stage + 1 if stage < stages - 1 else None
    program: list[Instruction] = []
    item: Activation | Gradient
    for instruction in work:
        match instruction:
            case Forward(m):
                source, target, item = before, after, Activation(m)
            case Backward(m):
                source, target, item = after, before, Gradient(m)
        if source is not None:
            program.append(Receive(source, item))
        program.append(instruction)
        if target is not None:
            program.append(Send(target, item))
    return tuple((instruction,) for instruction in program)


def _require(stages: int, micro_batches: int) -> None:
    for name, value in (("stages", stages), ("micro_batches", micro_batches)):
        whole(name, value, most=MANY)
