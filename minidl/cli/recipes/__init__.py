"""What ``minidl train`` can train: for each name, the data, the network and how it learns."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from minidl import data
from minidl.cli.recipes.recipe import Options, Recipe
from minidl.errors import unknown_name

__all__ = ["Options", "Recipe", "make"]

_OWN: tuple[str, ...] = ("dates", "shakespeare")
"""Tasks that need more than a data set of images; each has a module of that name here."""


def make(options: Options) -> Recipe:
    """The recipe for ``options.task``.

    Raises
    ------
    UnknownNameError
        If there is none; the message lists those there are.
    """
    if options.task in data.known():
        module = "images"
    elif options.task in _OWN:
        module = options.task.replace("-", "_")
    else:
        raise unknown_name("task", options.task, [*data.known(), *_OWN])
    recipe: Callable[[Options], Recipe] = import_module(f"{__name__}.{module}").recipe
    return recipe(options)
