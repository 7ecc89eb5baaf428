"""What a recipe is told and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidl.data import Dataset
from minidl.nn import Layer, Loss
from minidl.optim import Optimizer
from minidl.tasks import Task
from minidl.train import Callback, Trainer

Show = Callable[[Trainer, Callable[[str], None]], Mapping[str, Any]]
"""Called after training with what prints a line; returns figures by name, for ``--json``."""


@dataclass(frozen=True)
class Options:
    """What ``minidl train`` was given; see its ``--help``. None is the recipe's own choice."""

    task: str
    model: str | None
    strategy: str
    workers: int | None
    servers: int
    epochs: int | None
    batch_size: int | None
    optimizer: str | None
    lr: float | None
    seed: int
    resume: Path | None
    save: Path | None
    plot: Path | None
    timeline: Path | None
    trace: Path | None
    out: Path | None
    force: bool
    as_json: bool


@dataclass(frozen=True)
class Recipe:
    """Everything that training needs but the strategy.

    Parameters
    ----------
    train
        The data to learn.
    test
        The data to evaluate on after every epoch.
    model
        The network that learns.
    loss
        What is made small, or another task.
    optimizer
        The update rule.
    epochs
        How often to go through the data, unless the user says otherwise.
    batch_size
        Samples for each update, unless the user says otherwise.
    show
        Shows what has been learnt.
    callbacks
        Called after every epoch.
    """

    train: Dataset
    test: Dataset
    model: Layer
    loss: Loss | Task
    optimizer: Optimizer
    epochs: int
    batch_size: int
    show: Show
    callbacks: Sequence[Callback] = ()
