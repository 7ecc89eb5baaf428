"""Which of this process's modules a worker can import by name.

Installed packages can be, however they are installed, and so can files beside the script. The
script itself, a notebook's cells and a file loaded from its path (a homework) cannot: what they
define must be copied.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from multiprocess import process

MINIDL = __name__.partition(".")[0]


def importable(name: str) -> bool:
    """Whether a worker that imports this module gets what this process knows by its name.

    A worker has the caller's ``sys.path``, and the import hooks that installed packages set up
    when Python starts (as editable installs do), but none that a script has added.
    """
    if name == "__main__":
        return False
    if name.partition(".")[0] == MINIDL:
        return True  # workers run it, wherever it was found
    return _importable(name, _file(sys.modules.get(name)), _worker_path())


@lru_cache(4096)
def _importable(name: str, file: str | None, path: tuple[str, ...]) -> bool:
    if file is not None and not file.endswith((".py", ".pyc")):
        return True  # an extension: compiled code cannot be copied anyway
    spec = _find(name, path)
    if spec is not None:
        return file is None or not spec.has_location or _same(spec.origin, file)
    # Modules without a file are made by the code of their package, as `six.moves` is.
    package = name.rpartition(".")[0]
    return bool(package) and file is None and importable(package)


def _find(name: str, path: tuple[str, ...]) -> ModuleSpec | None:
    """What a worker would find by this name; nothing is imported to find out."""
    spec: ModuleSpec | None = None
    parts = name.split(".")
    search: list[str] | None = None
    for end in range(1, len(parts) + 1):
        package = ".".join(parts[:end])
        spec = _first_spec(package, search, path)
        if spec is None or end == len(parts):
            return spec
        try:
            known = getattr(sys.modules.get(package), "__path__", spec.submodule_search_locations)
            search = list(known or ())
        except (AttributeError, KeyError):  # a namespace package inside a module that is none
            return None
    return spec


def _first_spec(name: str, search: list[str] | None, path: tuple[str, ...]) -> ModuleSpec | None:
    finders: Iterator[Any] = (finder for finder in sys.meta_path if _installed(finder))
    for finder in (BuiltinImporter, FrozenImporter, *finders):
        spec = finder.find_spec(name, search)
        if spec is not None:
            return spec
    return PathFinder.find_spec(name, list(path) if search is None else search)


def _installed(finder: Any) -> bool:
    """Whether an import hook belongs to an installed package, so that workers have it too."""
    module = sys.modules.get(getattr(finder, "__module__", ""))
    file = _file(module)
    return file is not None and hasattr(finder, "find_spec") and file.startswith(_site_folders())


@cache
def _site_folders() -> tuple[str, ...]:
    folders = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib")]
    return tuple(os.path.join(folder, "") for folder in folders)


def _worker_path() -> tuple[str, ...]:
    """`sys.path` as multiprocess hands it to a worker."""
    path = list(sys.path)
    if "" in path and process.ORIGINAL_DIR is not None:
        path[path.index("")] = process.ORIGINAL_DIR
    return tuple(path)


def _file(module: ModuleType | None) -> str | None:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else None


def _same(origin: str | None, file: str) -> bool:
    return origin is not None and os.path.realpath(origin) == os.path.realpath(file)
