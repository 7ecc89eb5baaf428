"""Strategies: who computes what, while the training call stays the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from minidl.checks import checked
from minidl.errors import InputError, unknown_name
from minidl.strategy.all_reduce import AllReduce, RingAllReduce
from minidl.strategy.base import Layout, Listener, Strategy
from minidl.strategy.clocked import VirtualServer
from minidl.strategy.compression import Compression, Compressor, Float16, TopK
from minidl.strategy.job import EpochDone, Event, Job, StepDone, Verdict
from minidl.strategy.parameter_server import ParameterServer
from minidl.strategy.partition import Stage, partition
from minidl.strategy.pipeline import Pipeline
from minidl.strategy.serial import Serial

__all__ = [
    "AllReduce",
    "Compression",
    "Compressor",
    "EpochDone",
    "Event",
    "Float16",
    "Job",
    "Layout",
    "Listener",
    "ParameterServer",
    "Pipeline",
    "RingAllReduce",
    "Serial",
    "Stage",
    "StepDone",
    "Strategy",
    "TopK",
    "Verdict",
    "VirtualServer",
    "known",
    "make",
    "partition",
]

_MAKERS: dict[str, Callable[[int], Strategy]] = {
    "serial": lambda workers: Serial(),
    "server": lambda workers: ParameterServer(workers),
    "ring": lambda workers: RingAllReduce(workers),
    "pipeline": lambda workers: Pipeline(workers),
}


def known() -> tuple[str, ...]:
    """The names that `make` takes."""
    return tuple(_MAKERS)


@checked
def make(name: str, workers: int, servers: int = 1) -> Strategy:
    """The strategy of this name, on so many workers or stages, and servers if it has any.

    Raises
    ------
    UnknownNameError
        If there is none; the message lists those there are.
    InputError
        If it has no servers, and there is not to be 1.
    """
    if name not in _MAKERS:
        raise unknown_name("strategy", name, _MAKERS)
    made = _MAKERS[name](workers)
    if servers == 1:
        return made
    if not isinstance(made, ParameterServer):
        raise InputError(f"the strategy {name!r} has no servers, so there cannot be {servers}")
    return replace(made, servers=servers)
