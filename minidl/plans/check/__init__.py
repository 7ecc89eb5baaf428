"""Proofs: no deadlock without buffers, every chunk summed once, every pass in its place."""

from minidl.plans.check.collective import (
    CollectiveCosts,
    bytes_sent,
    check_all_reduce,
    check_barrier,
    check_collective,
    check_form,
    deliver,
    follow,
    heard,
    show,
)
from minidl.plans.check.pipeline import PipelineCosts, check_pipeline
from minidl.plans.rendezvous import execute
from minidl.plans.text import grid

__all__ = [
    "CollectiveCosts",
    "PipelineCosts",
    "bytes_sent",
    "check_all_reduce",
    "check_barrier",
    "check_collective",
    "check_form",
    "check_pipeline",
    "deliver",
    "execute",
    "follow",
    "grid",
    "heard",
    "show",
]
