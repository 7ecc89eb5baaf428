"""Telling images apart: any of the image data sets, by any of the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minidl import data, models
from minidl.cli.recipes.optimizers import optimizer
from minidl.cli.recipes.recipe import Options, Recipe
from minidl.nn import CrossEntropy
from minidl.train import Trainer


def recipe(options: Options) -> Recipe:
    """A small CNN by momentum, unless told otherwise."""
    rule = optimizer(options.optimizer or "sgd", options.lr)
    model = models.make(options.model or "digits_cnn")
    train, test = data.make(options.task)
    return Recipe(train, test, model, CrossEntropy(), rule, epochs=5, batch_size=64, show=_show)


def _show(trainer: Trainer, say: Callable[[str], None]) -> Mapping[str, Any]:
    """The figures of the last epoch say it all."""
    return {}
