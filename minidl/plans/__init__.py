"""Distributed algorithms as plain data: collectives, pipeline schedules, server rules."""

from minidl.plans.check import bytes_sent, check_all_reduce, check_pipeline, grid
from minidl.plans.collectives import ALL_REDUCES, ring_all_reduce, server_reduce
from minidl.plans.instructions import (
    Activation,
    Backward,
    Collective,
    Forward,
    Gradient,
    Instruction,
    Plan,
    Program,
    Receive,
    Send,
    Step,
    split,
)
from minidl.plans.pipeline import SCHEDULES, Schedule, gpipe, sequential
from minidl.plans.server import Decision, FullySync, Push, Rule, State

__all__ = [
    "ALL_REDUCES",
    "SCHEDULES",
    "Activation",
    "Backward",
    "Collective",
    "Decision",
    "Forward",
    "FullySync",
    "Gradient",
    "Instruction",
    "Plan",
    "Program",
    "Push",
    "Receive",
    "Rule",
    "Schedule",
    "Send",
    "State",
    "Step",
    "bytes_sent",
    "check_all_reduce",
    "check_pipeline",
    "gpipe",
    "grid",
    "ring_all_reduce",
    "sequential",
    "server_reduce",
    "split",
]
