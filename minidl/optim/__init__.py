"""Update rules, and schedules of their learning rates."""

from __future__ import annotations

from minidl.optim.adam import Adam
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules import (
    Composed,
    Constant,
    Cosine,
    Exponential,
    LinearScaling,
    LinearWarmup,
    Polynomial,
    Schedule,
    StepDecay,
)
from minidl.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "Composed",
    "Constant",
    "Cosine",
    "Exponential",
    "LinearScaling",
    "LinearWarmup",
    "Optimizer",
    "Polynomial",
    "Schedule",
    "StepDecay",
]
