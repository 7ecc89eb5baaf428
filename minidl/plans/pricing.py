"""What a collective takes on links with a latency and a bandwidth, in virtual time.

The model of Hockney, Parallel Computing 20 (1994): a message of n bytes takes
α + n/β seconds, α being the latency and β the bandwidth.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from reprlib import repr as short

from minidl.checks import checked, is_number
from minidl.errors import InputError
from minidl.plans.instructions import Collective, Instruction, Send
from minidl.plans.rendezvous import Seconds, execute


@checked
@dataclass(frozen=True)
class Link:
    """What joins a rank with the network: a message of n bytes takes latency + n/bandwidth.

    Parameters
    ----------
    latency
        Of a message, in seconds.
    bandwidth
        In bytes a second; 1 Gbit/s is 125e6.

    Raises
    ------
    InputError
        If the latency is below 0 or not finite, or the bandwidth is not above 0.
    """

    latency: float
    bandwidth: float

    def __post_init__(self) -> None:
        if not (self.latency >= 0 and is_number(self.latency)):
            raise InputError(f"latency must be at least 0 seconds, not {short(self.latency)}")
        if not (self.bandwidth > 0 and (self.bandwidth == inf or is_number(self.bandwidth))):
            raise InputError(
                f"bandwidth must be above 0 bytes a second, not {short(self.bandwidth)}"
            )


@checked
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
    Link(latency, bandwidth)  # refuses what cannot be
    if not (size >= 0 and is_number(size)):
        raise InputError(f"size must be at least 0 bytes, not {short(size)}")
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


@checked
def predicted_seconds(plan: Collective, size: float, latency: float, bandwidth: float) -> float:
    """How long a collective takes from its start to the last rank's end; see `link_clock`.

    Parameters
    ----------
    plan
        What is carried out.
    size
        The vector's size, in bytes.
    latency
        Of a link, in seconds.
    bandwidth
        Of a link, in bytes a second.

    Raises
    ------
    InputError
        If size or latency is below 0, or bandwidth is not above 0.
    """
    clock = link_clock(plan, size, latency, bandwidth)
    return max((event.stop for event in execute(plan, clock)), default=0.0)
