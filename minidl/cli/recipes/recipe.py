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
    train, test
        The data.
    model, loss, optimizer
        What learns, and how.
    epochs, batch_size
        How long, unless the user says otherwise.
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
