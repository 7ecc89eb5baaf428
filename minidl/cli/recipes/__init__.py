"""What ``minidl train`` can train: for each name, the data, the network and how it learns."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from minidl import data
from minidl.cli.recipes.recipe import Options, Recipe
from minidl.errors import InputError, unknown_name

__all__ = ["Options", "Recipe", "known", "make"]

_OWN = {
    "dates": "dates",
    "shakespeare": "shakespeare",
    "fashion-gan": "fashion_gan",
    "fashion-gan-full": "fashion_gan",
}
"""Tasks that need more than a data set of images, and the module here that knows of each."""
_PICTURED = ("fashion-gan", "fashion-gan-full")
"""Tasks that fill a folder with pictures."""


def known() -> tuple[str, ...]:
    """The tasks that `make` takes."""
    return (*data.known(), *_OWN)


def make(options: Options) -> Recipe:
    """The recipe for ``options.task``.

    Raises
    ------
    UnknownNameError
        If there is none; the message lists those there are.
    InputError
        If it makes no pictures and is given a folder for them.
    """
    if options.out is not None and options.task not in _PICTURED:
        raise InputError(f"--out is for tasks that make pictures: {', '.join(_PICTURED)}")
    if options.task in data.known():
        module = "images"
    elif options.task in _OWN:
        module = _OWN[options.task]
    else:
        raise unknown_name("task", options.task, known())
    recipe: Callable[[Options], Recipe] = import_module(f"{__name__}.{module}").recipe
    return recipe(options)
