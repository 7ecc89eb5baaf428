"""A parameter server's rules, as state machines that do nothing themselves."""

from minidl.plans.server.interface import (
    Decision,
    LastingRule,
    Push,
    Rule,
    State,
    answer_of,
    require_push,
    require_unused,
)
from minidl.plans.server.rules import (
    Async,
    FullySync,
    KAsync,
    KBatchAsync,
    KBatchSync,
    KSync,
    Softsync,
    Threshold,
)

__all__ = [
    "Async",
    "Decision",
    "FullySync",
    "KAsync",
    "KBatchAsync",
    "KBatchSync",
    "KSync",
    "LastingRule",
    "Push",
    "Rule",
    "Softsync",
    "State",
    "Threshold",
    "answer_of",
    "require_push",
    "require_unused",
]
