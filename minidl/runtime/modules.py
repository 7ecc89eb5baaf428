"""Which of the caller's modules a worker can import for itself.

A notebook's cells, a script, a file loaded from its path (a homework, a test)
cannot be imported by name elsewhere, so what they define must travel by value.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import PurePath
from types import ModuleType


@contextmanager
def only_importable() -> Iterator[None]:
    """Within the block, modules that no other process could import are not to be found.

    dill refers by name to what it finds by its name, and sends all else by value.
    """
    hidden = {
        name: module
        for name, module in list(sys.modules.items())
        if _from_file(name, module) and not _importable(name, str(module.__file__), tuple(sys.path))
    }
    for name in hidden:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(hidden)


def _from_file(name: str, module: ModuleType | None) -> bool:
    return (
        name != "__main__"
        and getattr(module, "__name__", None) == name
        and str(getattr(module, "__file__", None)).endswith(".py")
    )


@cache
def _importable(name: str, file: str, path: tuple[str, ...]) -> bool:
    """Whether importing `name` would find `file`."""
    home = PurePath(file).with_suffix("")
    parts = name.split(".")
    if home.name == "__init__":
        home = home.parent
    if home.parts[-len(parts) :] == tuple(parts) and str(home.parents[len(parts) - 1]) in path:
        return True
    parent = sys.modules.get(name.rpartition(".")[0])
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = find and find(name, getattr(parent, "__path__", None))
        if spec and spec.origin == file:
            return True
    return False
