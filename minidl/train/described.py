"""An optimizer as plain data, so that a checkpoint can tell it from another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cached_property, partial
from itertools import count
from numbers import Integral, Real
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from minidl.checks import is_number
from minidl.errors import InputError
from minidl.optim import Constant

MOST = 100_000
"""Values within a description; an object that holds more is none of settings."""
LONGEST = 1 << 16
"""Characters of a description as it is kept; of a longer one the hash is."""


def described(value: Any) -> Any:
    """What JSON can hold of a value, equal for equal values and for no others.

    Numbers are compared as numbers, so 1 is 1.0, and a `Constant` schedule is its number. An
    object is its class, by module and qualified name, and its settings: everything it holds,
    and what its class and its bases hold for it, but for methods. A function is its name, its
    code, what it has enclosed, and the plain values among the globals that it reads. A module
    and a class are their names.

    Parameters
    ----------
    value
        Settings: an optimizer, its schedule, a number, a function, ...

    Raises
    ------
    InputError
        If it holds more than settings: too many values, or values nested too deeply.
    """
    try:
        found = _Description().of(value)
        text = json.dumps(found)
    except RecursionError:
        raise InputError(
            f"{type(value).__name__} cannot be described in a checkpoint: what it holds is "
            "nested too deeply"
        ) from None
    if len(text) > LONGEST and isinstance(found, dict):
        return {"class": found["class"], "settings": {"hash": _hash(text.encode())}}
    return found


def shown(description: Any, depth: int = 8) -> str:
    """A description in a line, as ``SGD(lr=0.1, momentum=0.9)``; what is too deep is left out."""
    if depth == 0:
        return "..."
    match description:
        case {"class": str(name), "settings": dict(settings)}:
            inner = ", ".join(f"{key}={shown(each, depth - 1)}" for key, each in settings.items())
            return f"{name.rpartition('.')[2]}({inner})"
        case list():
            return f"[{', '.join(shown(each, depth - 1) for each in description)}]"
        case dict():
            return "{...}"
        case _:
            return str(description)


class _Description:
    """One description under way, which counts the values that it has looked at."""

    def __init__(self) -> None:
        self._seen = count()
        self._within: list[int] = []  # the `id` of each object that holds the one looked at

    def of(self, value: Any) -> Any:
        """What JSON can hold of a value within."""
        if next(self._seen) > MOST:
            raise InputError(
                f"an optimizer's settings are compared when a checkpoint is loaded, and it holds "
                f"more than {MOST:,} values"
            )
        if value is None or type(value) is str:
            return value
        if type(value) is Constant:
            return self.of(value.lr)
        if isinstance(value, bool | np.bool_ | Integral | Real):
            return _number(value)
        if id(value) in self._within:
            return {"class": "itself", "settings": {"up": self._within[::-1].index(id(value))}}
        self._within.append(id(value))
        try:
            if type(value) in (list, tuple):
                return [self.of(each) for each in value]
            parts = {name: self.of(part) for name, part in sorted(self._parts(value).items())}
        finally:
            self._within.pop()
        return {"class": _name(type(value)), "settings": parts}

    def _parts(self, value: Any) -> dict[str, Any]:
        """What an object holds, by name."""
        match value:
            case Enum():
                return {"name": value.name}
            case type() | ModuleType():
                return {"name": _name(value) if isinstance(value, type) else value.__name__}
            case str():
                return {"value": str.__str__(value)} | _settings(value)
            case list() | tuple():
                return {"items": [*value]} | _settings(value)
            case set() | frozenset():
                return {"items": self._sorted(value)} | _settings(value)
            case Mapping():
                return {"items": self._sorted(value.items())} | _settings(value)
            case bytes():
                return {"hash": _hash(value)}
            case np.ndarray():
                plain = value.tolist() if value.dtype.hasobject else _hash(value.tobytes())
                return {"dtype": repr(value.dtype), "shape": value.shape, "bytes": plain}
            case FunctionType():
                defaults = [value.__defaults__, value.__kwdefaults__]
                enclosed = [_content(cell) for cell in value.__closure__ or ()]
                return {
                    "code": value.__code__,
                    "defaults": defaults,
                    "enclosed": enclosed,
                    "globals": _globals(value),
                }
            case MethodType():
                return {"function": value.__func__, "object": value.__self__}
            case CodeType():
                return {
                    "name": value.co_qualname,
                    "code": value.co_code,
                    "names": value.co_names,
                    "constants": value.co_consts,
                }
            case partial():
                made = {"function": value.func, "given": value.args, "named": value.keywords}
                return _settings(value) | made
            case _:
                return _settings(value) | _reduced(value)

    def _sorted(self, values: Any) -> list[Any]:
        """In an order that equal sets and mappings have in common."""
        return sorted(values, key=lambda each: json.dumps(self.of(each)))


def _settings(value: Any) -> dict[str, Any]:
    """What an object holds, and what its classes hold for it: settings that are no fields."""
    found: dict[str, Any] = {}
    for kind in reversed(type(value).__mro__):
        if kind.__module__ in ("builtins", "abc", "typing", "collections.abc", "numbers"):
            continue
        attributes = vars(kind)
        found |= {name: each for name, each in attributes.items() if _is_setting(name, each)}
        slots = attributes.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            private = name.startswith("__") and not name.endswith("__")
            stored = f"_{kind.__name__.lstrip('_')}{name}" if private else name
            if hasattr(value, stored):
                found[stored] = getattr(value, stored)
    kept = {
        name: each
        for name, each in getattr(value, "__dict__", {}).items()
        if not isinstance(getattr(type(value), name, None), cached_property)
    }
    return found | kept


def _is_setting(name: str, value: Any) -> bool:
    """Whether a class's attribute is a setting, and no method, property, or part of Python."""
    machinery = name.startswith("__") or name in ("_abc_impl", "_is_protocol")
    return not machinery and not hasattr(type(value), "__get__") and not isinstance(value, type)


def _reduced(value: Any) -> dict[str, Any]:
    """What pickle keeps of an object beside its attributes, as of a deque or a builtin."""
    kind: Any = type(value)
    usual = kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
    if usual and not hasattr(kind, "__getnewargs__"):
        return {}  # its attributes are all
    try:
        made = value.__reduce_ex__(2)
    except Exception:  # it cannot be pickled; its class and attributes say all that can be said
        return {}
    if isinstance(made, str):
        return {"made": made}
    items = [list(each) for each in made[3:5] if isinstance(each, Iterator)]
    return {"made": made[1], "state": made[2:3], "items": items}


def _globals(function: FunctionType) -> dict[str, Any]:
    """The plain values among the globals that a function, or one within it, may read."""
    names, pending = set[str](), [function.__code__]
    while pending:
        code = pending.pop()
        names.update(code.co_names)
        pending += [each for each in code.co_consts if isinstance(each, CodeType)]
    found = {name: function.__globals__[name] for name in names & function.__globals__.keys()}
    return {name: each for name, each in found.items() if _is_plain(each)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | Real)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing has been put there yet
        return None


def _number(value: Any) -> Any:
    """The same for equal numbers, and in finitely many digits, as JSON has no infinity."""
    if isinstance(value, bool | np.bool_ | Integral):
        whole = int(value)
        return whole if abs(whole) < 1 << 256 else {"class": "int", "settings": {"hex": hex(whole)}}
    if not is_number(value):
        return {"class": "float", "settings": {"value": str(value)}}
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
