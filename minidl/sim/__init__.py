"""Plans in virtual time: what a distributed run would take, without running it."""

from minidl.sim.laws import (
    Constant,
    Exponential,
    Law,
    Pareto,
    Recorded,
    ShiftedExponential,
    SlowWorkers,
    TruncatedNormal,
)
from minidl.sim.server import (
    Apply,
    Arrive,
    Cancel,
    Event,
    ServerRun,
    Start,
    server_events,
    simulate_server,
)

__all__ = [
    "Apply",
    "Arrive",
    "Cancel",
    "Constant",
    "Event",
    "Exponential",
    "Law",
    "Pareto",
    "Recorded",
    "ServerRun",
    "ShiftedExponential",
    "SlowWorkers",
    "Start",
    "TruncatedNormal",
    "server_events",
    "simulate_server",
]
