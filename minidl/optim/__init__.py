"""Update rules, and schedules of their learning rates."""

from __future__ import annotations

from minidl.optim.adagrad import Adagrad
from minidl.optim.adam import Adam
from minidl.optim.adamw import AdamW
from minidl.optim.clipping import Clipped
from minidl.optim.groups import Groups, without_decay
from minidl.optim.lars import LARS
from minidl.optim.mixed_precision import LossScale, MixedPrecision
from minidl.optim.optimizer import Optimizer
from minidl.optim.rmsprop import RMSprop
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
from minidl.optim.staleness import StalenessAware

__all__ = [
    "LARS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Clipped",
    "Composed",
    "Constant",
    "Cosine",
    "Exponential",
    "Groups",
    "LinearScaling",
    "LinearWarmup",
    "LossScale",
    "MixedPrecision",
    "Optimizer",
    "Polynomial",
    "RMSprop",
    "Schedule",
    "StalenessAware",
    "StepDecay",
    "without_decay",
]
