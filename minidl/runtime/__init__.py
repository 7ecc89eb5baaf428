"""Where programs run: worker processes over shared memory, or all ranks in one process."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minidl.runtime.alone import Alone
    from minidl.runtime.base import MakeProgram, Outcome, Runtime, Traffic
    from minidl.runtime.processes import Processes
    from minidl.runtime.requests import (
        Exchange,
        Incoming,
        Launch,
        Loss,
        Lost,
        Outgoing,
        RankContext,
        ReceiveAny,
        Report,
        collective,
    )
    from minidl.runtime.trace import Recorder, Trace
    from minidl.runtime.virtual import Virtual

_HOMES = {
    "Alone": "alone",
    "Exchange": "requests",
    "Incoming": "requests",
    "Launch": "requests",
    "Loss": "requests",
    "Lost": "requests",
    "MakeProgram": "base",
    "Outcome": "base",
    "Outgoing": "requests",
    "Processes": "processes",
    "RankContext": "requests",
    "ReceiveAny": "requests",
    "Recorder": "trace",
    "Report": "requests",
    "Runtime": "base",
    "Trace": "trace",
    "Traffic": "base",
    "Virtual": "virtual",
    "collective": "requests",
}

__all__ = [
    "Alone",
    "Exchange",
    "Incoming",
    "Launch",
    "Loss",
    "Lost",
    "MakeProgram",
    "Outcome",
    "Outgoing",
    "Processes",
    "RankContext",
    "ReceiveAny",
    "Recorder",
    "Report",
    "Runtime",
    "Trace",
    "Traffic",
    "Virtual",
    "collective",
]


def __getattr__(name: str) -> Any:
    """Import a name's module when it is first asked for, to keep ``import minidl`` light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
