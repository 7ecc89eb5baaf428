"""How a class that no worker could import is made again there: first empty, then filled.

An empty class is known before its attributes are read, so these may refer to it. What its
metaclass and its bases did when it was first made is in the attributes, so they do nothing again:
``__init_subclass__`` may want keywords, or put each class into a list. In the process that a
class comes from, and wherever it has already arrived, it is not made a second time: an instance
that returns is of the caller's own class.
"""

from __future__ import annotations

import abc
import enum
import threading
import types
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from minidl.errors import InputError

MINIDL = __name__.partition(".")[0]
MADE_ANEW = {"__dict__", "__weakref__", "_abc_impl", "__module__", "__qualname__", "__slots__"}
"""What a new class has by itself, or is made with."""
OF_ENUM = {"_generate_next_value_", "_member_names_", "_member_map_", "_member_type_"} | {
    "_value2member_map_",
    "_new_member_",
}
"""What an enumeration makes of its members."""
MEMBERS, REGISTERED = "states of members", "registered classes"
"""Lie among the attributes, none of which can have such a name."""

_lock = threading.RLock()
_tokens: WeakKeyDictionary[type, str] = WeakKeyDictionary()
_known: WeakValueDictionary[str, type] = WeakValueDictionary()
_empty: WeakSet[type] = WeakSet()


def reduce(kind: type) -> tuple[Any, ...]:
    """A class as pickle wants it: a function, its arguments, the attributes, and who sets them."""
    namespace = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    for name in ("__slots__", "__orig_bases__"):
        if name in vars(kind):
            namespace[name] = vars(kind)[name]
    attributes = {
        name: value
        for name, value in vars(kind).items()
        if name not in MADE_ANEW and not isinstance(value, types.MemberDescriptorType)
    }
    members: dict[str, Any] = {}
    if issubclass(kind, enum.Enum):
        members = {name: member.value for name, member in kind.__members__.items()}
        if issubclass(kind, (int, float, complex, str, bytes, tuple)) and any(
            member != members[name] for name, member in kind.__members__.items()
        ):
            raise InputError(
                f"{kind.__qualname__} has members that differ from their values, and such an "
                "enumeration cannot be sent to a worker: define it in a module"
            )
        inner = {m.name: vars(m) for m in kind if m.name is not None}
        attributes = {k: v for k, v in attributes.items() if k not in OF_ENUM | set(members)}
        attributes[MEMBERS] = inner
    if isinstance(kind, abc.ABCMeta):
        registry, *_ = abc._get_dump(kind)  # type: ignore[attr-defined]
        attributes[REGISTERED] = [other for ref in registry if (other := ref()) is not None]
    made = (_token(kind), type(kind), kind.__name__, kind.__bases__, namespace, members)
    return make_empty, made, attributes, None, None, fill


def make_empty(
    token: str,
    metaclass: type,
    name: str,
    bases: tuple[type, ...],
    namespace: Mapping[str, Any],
    members: Mapping[str, Any],
) -> type:
    """The class known by this token, if need be made without its attributes."""
    with _lock:
        kind = _known.get(token)
        if kind is None:
            kind = (
                types.new_class(
                    name, bases, {"metaclass": metaclass}, _writes({**namespace, **members})
                )
                if issubclass(metaclass, enum.EnumMeta)
                else _bare(metaclass, name, bases, dict(namespace))
            )
            _known[token], _tokens[kind] = kind, token
            _empty.add(kind)
        return kind


def _writes(content: Mapping[str, Any]) -> Callable[[dict[str, Any]], None]:
    def write(body: dict[str, Any]) -> None:
        for name, value in content.items():
            body[name] = value  # one by one, since an enumeration's body looks at each

    return write


def _bare(metaclass: type, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
    """A class in whose making no code of its metaclass or of its bases runs."""
    new = next(
        vars(kind)["__new__"]
        for kind in metaclass.__mro__
        if "__new__" in vars(kind) and not isinstance(vars(kind)["__new__"], staticmethod)
    )
    with ExitStack() as stack:
        for base in bases:
            stack.enter_context(_without_hook(base))
        kind: type = new(metaclass, name, bases, namespace)
    if isinstance(kind, abc.ABCMeta):
        abc._abc_init(kind)  # type: ignore[attr-defined]
    return kind


@contextmanager
def _without_hook(base: type) -> Iterator[None]:
    """Within the block, `base` does nothing when a class is derived from it."""
    name, own = "__init_subclass__", vars(base).get("__init_subclass__")
    function = getattr(getattr(base, name), "__func__", None)
    # None, or one that wants no keywords.
    if function is None or function.__module__.partition(".")[0] in ("typing", MINIDL):
        yield
        return
    type.__setattr__(base, name, classmethod(lambda cls: None))
    try:
        yield
    finally:
        if own is None:
            type.__delattr__(base, name)
        else:
            type.__setattr__(base, name, own)


def fill(kind: type, attributes: dict[str, Any]) -> None:
    """Set the attributes of a class that was made empty."""
    with _lock:
        if kind not in _empty:
            return
        _empty.remove(kind)
        if issubclass(kind, enum.Enum):
            for name, state in attributes.pop(MEMBERS).items():
                vars(kind[name]).update(state)
        registered = attributes.pop(REGISTERED, ())
        for name, value in attributes.items():
            type.__setattr__(kind, name, value)
        for other in registered:
            abc.ABCMeta.register(kind, other)  # type: ignore[arg-type]


def _token(kind: type) -> str:
    with _lock:
        token = _tokens.setdefault(kind, uuid.uuid4().hex)
        _known[token] = kind
        return token
