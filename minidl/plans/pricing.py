"""What a collective takes on links with a latency and a bandwidth, in virtual time.

The model of Hockney, Parallel Computing 20 (1994): a message of n bytes takes
α + n/β seconds, α being the latency and β the bandwidth.
"""

from __future__ import annotations

from math import isfinite

from minidl.errors import InputError
from minidl.plans.instructions import Collective, Instruction, Send
from minidl.plans.rendezvous import Seconds, execute


def link_clock(plan: Collective, size: float, latency: float, bandwidth: float) -> Seconds:
    """A clock for `execute` on which every rank has one link into a network without limits.

    What a rank sends in one step shares its bandwidth; what it receives meanwhile does
    not, as links carry both directions at once.

    Parameters
    ----------
    plan
        The plan that the clock is for.
    size
        The vector's size, in bytes.
    latency
        Of a message, in seconds.
    bandwidth
        Of a rank's link, in bytes a second.

    Raises
    ------
    InputError
        If size or latency is below 0, or bandwidth is not above 0.
    """
    for name, value in (("size", size), ("latency", latency)):
        if not (value >= 0 and isfinite(value)):
            raise InputError(f"{name} must be at least 0, not {value!r}")
    if not bandwidth > 0:
        raise InputError(f"bandwidth must be above 0, not {bandwidth!r}")
    together: list[dict[Instruction, int]] = [{} for _ in plan.programs]
    for sends, program in zip(together, plan.programs, strict=True):
        for step in program:
            count = sum(isinstance(instruction, Send) for instruction in step)
            for instruction in step:
                # A message that a plan sends twice is priced by the busier of its steps.
                sends[instruction] = max(count, sends.get(instruction, 0))

    def seconds(rank: int, instruction: Instruction) -> float:
        if not (isinstance(instruction, Send) and plan.has(instruction.item)):
            return 0.0
        carried = size * len(plan.chunks_of(instruction.item)) / plan.chunks
        return latency + together[rank][instruction] * carried / bandwidth

    return seconds


def predicted_seconds(plan: Collective, size: float, latency: float, bandwidth: float) -> float:
    """How long a collective takes from its start to the last rank's end; see `link_clock`.

    Parameters
    ----------
    plan
        What is carried out.
    size
        The vector's size, in bytes.
    latency, bandwidth
        Of a link, in seconds and bytes a second.

    Raises
    ------
    InputError
        If size or latency is below 0, or bandwidth is not above 0.
    """
    clock = link_clock(plan, size, latency, bandwidth)
    return max((event.stop for event in execute(plan, clock)), default=0.0)
