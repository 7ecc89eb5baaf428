"""The pickler of what crosses to other processes.

What a worker can import crosses by name, however it is installed; only what it cannot, such as
the classes and functions of a script or a notebook, crosses by value. A function takes along the
globals that it uses and no others. Nothing of this process is changed on the way, so threads may
pickle at the same time. dill's pickler does the rest.
"""

from __future__ import annotations

import dis
import io
import pickle
import sys
import threading
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, ClassVar, NewType, ParamSpec, TypeVar, TypeVarTuple

import dill

from minidl.runtime import classes
from minidl.runtime.modules import importable

OF_THIS_PROCESS = {"__builtins__", "__loader__", "__spec__", "__cached__"}
"""What a copied module does without."""
OF_MODULE = ("__name__", "__package__")
"""What every function needs of its module; the second for relative imports."""
GLOBAL_ACCESS = frozenset(
    ("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
)
ATTRIBUTE_ACCESS = frozenset(("LOAD_ATTR", "LOAD_METHOD"))
DEPTH = 5000
"""How deep calls may nest; it is half of what a stack of 1 MB holds."""
PROTOCOL = 4
"""As dill's; in protocol 5 Python's own pickler has failed at empty arrays."""
RLock = type(threading.RLock())
TYPING = (TypeVar, ParamSpec, TypeVarTuple, NewType)
"""What is known by its name alone to those who wrote `typing`."""
HEAP_TYPE = 1 << 9
"""Marks a class that a class statement has made, among others (Py_TPFLAGS_HEAPTYPE)."""


def dumps(value: Any) -> bytes:
    """`value` as bytes."""
    file = io.BytesIO()
    with _deep():
        Pickler(file).dump(value)
    return file.getvalue()


def loads(packed: bytes) -> Any:
    """The value that `dumps` was given."""
    return dill.loads(packed, ignore=True)


@contextmanager
def _deep() -> Iterator[None]:
    """Within the block, calls may nest deeper: a chain of 50 objects takes Python's 1000 calls."""
    global _deeper, _depth
    with _counting:
        if _deeper == 0:
            _depth = sys.getrecursionlimit()
            sys.setrecursionlimit(max(_depth, DEPTH))
        _deeper += 1
    try:
        yield
    finally:
        with _counting:
            _deeper -= 1
            if _deeper == 0:
                sys.setrecursionlimit(_depth)


_counting = threading.Lock()
_deeper, _depth = 0, 0
"""How many threads pickle, and what is to be restored when none does."""


class Pickler(dill.Pickler):  # type: ignore[misc]
    """Says how modules, functions and classes are pickled.

    Parameters
    ----------
    file
        Where the bytes go.
    """

    # dill compares each dict with the script's globals.
    dispatch: ClassVar[Mapping[type, Any]] = ChainMap(
        {dict: pickle._Pickler.save_dict},  # type: ignore[attr-defined]
        dill.Pickler.dispatch,
    )

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, PROTOCOL)
        self._namespaces: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}

    def reducer_override(self, value: Any) -> Any:
        """How to make `value` again, as `object.__reduce__` says it; NotImplemented: as usual."""
        if isinstance(value, ModuleType):
            return _module(value)
        if isinstance(value, CellType):
            return CellType, ()  # filled with the first function that has it
        if isinstance(value, FunctionType):
            return value.__qualname__ if has_name(value) else self._function(value)
        if isinstance(value, type):
            if has_name(value):
                return value.__qualname__
            return classes.reduce(value) if value.__flags__ & HEAP_TYPE else NotImplemented
        if isinstance(value, RLock):
            return threading.RLock, ()  # dill's copy belongs to no thread and is never released
        if isinstance(value, TYPING) and not importable(value.__module__):
            return make_for_typing, (type(value), *_settings(value))
        # A decorated function, as numba's are.
        if "__qualname__" in (getattr(value, "__dict__", None) or ()) and has_name(value):
            return value.__qualname__
        return NotImplemented

    def _function(self, function: FunctionType) -> tuple[Any, ...]:
        """First made without globals and with empty cells, so that these may refer to it.

        Functions that share globals, or a cell, share them in the copy too.
        """
        own = function.__globals__
        shared, sent = self._namespaces.setdefault(
            id(own), ({name: own.get(name) for name in OF_MODULE}, dict.fromkeys(OF_MODULE, own))
        )
        names = [name for name in _names(function.__code__, GLOBAL_ACCESS) if name in own]
        added = {name: own[name] for name in names if name not in sent}
        sent.update(added)
        modules = [own[name] for name in names if isinstance(own[name], ModuleType)]
        cells = [(c, c.cell_contents) for c in function.__closure__ or () if _full(c)]
        settings = {
            name: getattr(function, name)
            for name in (
                *("__module__", "__qualname__", "__doc__", "__defaults__", "__kwdefaults__"),
                *("__annotations__", "__dict__"),
            )
        }
        made = (function.__code__, shared, function.__name__, function.__closure__)
        state = (added, cells, settings, _submodules(modules, function.__code__))
        return make_function, made, state, None, None, fill_function


def make_function(
    code: CodeType, shared: dict[str, Any], name: str, closure: tuple[CellType, ...] | None
) -> FunctionType:
    """A function whose globals are still to come."""
    shared.setdefault("__builtins__", __builtins__)
    return FunctionType(code, shared, name, None, closure)


def fill_function(function: FunctionType, state: tuple[Any, ...]) -> None:
    """Set what a function refers to."""
    added, cells, settings, _ = state
    function.__globals__.update(added)
    for cell, content in cells:
        cell.cell_contents = content
    for name, value in settings.items():
        setattr(function, name, value)


def make_for_typing(kind: type, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """A type variable or a new type, which pickle would look for by its name."""
    made: Any = kind(*arguments, **named)
    made.__module__ = "__main__"  # so that it crosses by value again
    return made


def _settings(value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What `value`, one of `TYPING`, was made with."""
    if isinstance(value, NewType):
        return (value.__name__, value.__supertype__), {}
    if isinstance(value, TypeVarTuple):
        return (value.__name__,), {}
    named = {
        name: getattr(value, f"__{name}__") for name in ("bound", "covariant", "contravariant")
    }
    return (value.__name__, *getattr(value, "__constraints__", ())), named


def has_name(value: Any) -> bool:
    """Whether a worker finds this class, function or other callable by its name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or not importable(module):
        return False
    if (found := sys.modules.get(module)) is None:
        try:
            found = import_module(module)
        except ImportError:
            return False
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value


def _module(module: ModuleType) -> tuple[Any, ...]:
    name = module.__name__
    if importable(name):
        return import_module, (name,)
    content = {k: v for k, v in vars(module).items() if k not in OF_THIS_PROCESS}
    return ModuleType, (name,), content


def _full(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _submodules(packages: list[ModuleType], code: CodeType) -> list[ModuleType]:
    """Modules that code finds as attributes of these packages, because somebody imported them.

    A worker that has imported only ``xml`` would find no ``xml.etree``.
    """
    found = []
    attributes = set(_names(code, ATTRIBUTE_ACCESS)) if packages else set()
    for package in packages:
        prefix = f"{package.__name__}."
        for name, module in list(sys.modules.items()):
            parts = name.removeprefix(prefix).split(".")
            if name.startswith(prefix) and attributes.issuperset(parts) and importable(name):
                found.append(module)
    return found


@lru_cache(4096)
def _names(code: CodeType, operations: frozenset[str]) -> tuple[str, ...]:
    """What code reads or writes by these operations, the functions inside it included."""

    def names(code: CodeType) -> Iterator[str]:
        for instruction in dis.get_instructions(code):
            if instruction.opname in operations:
                yield instruction.argval
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from names(constant)

    return tuple(dict.fromkeys(names(code)))
