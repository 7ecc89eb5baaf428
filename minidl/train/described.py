"""An optimizer as plain data, so that a checkpoint can tell it from another one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from math import isfinite
from numbers import Integral, Real
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np


def described(value: Any, within: tuple[int, ...] = ()) -> Any:
    """What JSON can hold of a value, equal for equal values and for no others.

    Numbers are compared as numbers, so 1 is 1.0. An object is its class, by module and
    qualified name, and its settings: everything it holds, and the plain values that its class
    and its bases hold for it. A function is its name, its code and what it has enclosed.

    Parameters
    ----------
    value
        Settings: an optimizer, its schedule, a number, a function, ...
    within
        The `id` of each object that this one is a part of, for those that hold themselves.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | Integral):
        return int(value)
    if isinstance(value, Real) and isfinite(value):
        return float(value)
    if id(value) in within:
        return {"class": "itself", "settings": {}}
    within = (*within, id(value))
    if isinstance(value, list | tuple):
        return [described(each, within) for each in value]
    parts = described_settings(value, within)
    return {"class": _name(type(value)), "settings": parts}


def described_settings(value: Any, within: tuple[int, ...] = ()) -> dict[str, Any]:
    """What an object holds, by name; each described."""
    parts: dict[str, Any]
    match value:
        case set() | frozenset():
            parts = {"items": sorted((described(each, within) for each in value), key=repr)}
        case Mapping():
            parts = {"items": [*value.items()]}
        case bytes():
            parts = {"hash": hashlib.sha256(value).hexdigest()}
        case float():
            parts = {"value": repr(value)}  # JSON has no infinity
        case np.ndarray():
            parts = {"dtype": value.dtype.str, "shape": value.shape, "bytes": value.tobytes()}
        case type():
            parts = {"name": _name(value)}
        case FunctionType():
            enclosed = [cell.cell_contents for cell in value.__closure__ or ()]
            defaults = [value.__defaults__, value.__kwdefaults__]
            parts = {"code": value.__code__, "defaults": defaults, "enclosed": enclosed}
        case MethodType():
            parts = {"function": value.__func__, "object": value.__self__}
        case CodeType():
            parts = {
                "name": value.co_qualname,
                "code": value.co_code,
                "names": value.co_names,
                "constants": value.co_consts,
            }
        case _:
            parts = _settings(value) or _reduced(value)
    return {name: described(part, within) for name, part in sorted(parts.items())}


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


def _settings(value: Any) -> dict[str, Any]:
    """What an object holds, and what its classes hold for it: settings that are no fields."""
    found: dict[str, Any] = {}
    for kind in reversed(type(value).__mro__):
        attributes = vars(kind)
        found |= {
            name: each
            for name, each in attributes.items()
            if not name.startswith("__") and isinstance(each, str | Real | tuple | list | dict)
        }
        slots = attributes.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                found[name] = getattr(value, name)
    kept = {
        name: each
        for name, each in getattr(value, "__dict__", {}).items()
        if not isinstance(getattr(type(value), name, None), cached_property)
    }
    return found | kept


def _reduced(value: Any) -> dict[str, Any]:
    """What pickle would keep of an object without attributes, such as a partial or a builtin."""
    try:
        made = value.__reduce_ex__(2)
    except TypeError:  # it cannot be pickled; its class says all that can be said
        return {}
    return {"made": made} if isinstance(made, str) else {"made": made[1], "state": made[2:3]}


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
