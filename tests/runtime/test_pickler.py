"""What crosses to another process: installed code by name, the user's own by value, and no more."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
import zipfile
from enum import Enum
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from weakref import WeakKeyDictionary, WeakValueDictionary

import dill
import numpy as np
import pytest

from minidl import nn
from minidl.errors import InputError
from minidl.runtime import classes, modules
from minidl.runtime.programs import pack, unpack

pytestmark = pytest.mark.timeout(60)
HOME = str(Path(__file__).parents[2])

SCRIPT = """
import abc, collections, dataclasses, enum, functools, threading, types, typing
import numpy as np
from minidl import nn

def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)
COUNT = 0
def count():
    global COUNT
    COUNT += 1
def counted():
    count(); count()
    return COUNT
class Planet(enum.Enum):
    EARTH = (5.0, "blue")
    MARS = (0.6, "red")
    def __init__(self, mass, colour): self.mass = mass
    def members(self): return Planet.MARS
class Flag(enum.IntFlag):
    A = 1
    B = 2
@dataclasses.dataclass(frozen=True)
class Data:
    x: int = 3
    z: list = dataclasses.field(default_factory=list)
    def next(self) -> "Data": return Data(self.x + 1)
class Able(typing.Protocol):
    def go(self): ...
class Base(abc.ABC):
    registered = "own"
    @abc.abstractmethod
    def go(self): ...
class Derived(Base):
    def go(self): return 5
    @property
    def own(self): return super().__init__() or self.kept
    @staticmethod
    def kind(): return Derived
    @classmethod
    def name(cls): return cls.__name__
    @functools.cached_property
    def kept(self): return 9
class Pair(typing.NamedTuple):
    a: int
    b: int = 2
T = typing.TypeVar("T")
class Generic(typing.Generic[T]):
    pass
class Slots:
    __slots__ = ("a",)
    def __init__(self): self.a = 1
class Meta(type):
    def __len__(cls): return 7
class Made(metaclass=Meta):
    pass
Made.circle = [Made]
@functools.lru_cache
def cached(n): return n + 1
def more(f):
    @functools.wraps(f)
    def inner(x): return f(x) + 1
    return inner
@more
def doubled(x): return 2 * x
def factorials():
    calls = 0
    def factorial(n):
        nonlocal calls
        calls += 1
        return 1 if n == 0 else n * factorial(n - 1)
    return factorial, lambda: calls
FACTORIAL, CALLS = factorials()
big = np.zeros(1_000_000)
class Attribute:
    def big(self): return 1
module = types.ModuleType("made_up")
exec("def f(): return g()\\ndef g(): return 8", module.__dict__)
LOCK = threading.RLock()
def locked():
    with LOCK: return "free"
class Own(nn.Layer):
    def forward(self, x, mode): return np.tanh(x), None
import xml.etree.ElementTree
def parsed(): return xml.etree.ElementTree.fromstring("<a/>").tag
class Labelled(np.ndarray):
    pass
LABELLED = np.zeros(2).view(Labelled)
LABELLED.label = "zeros"
class Hooked:
    known = []
    def __init_subclass__(cls, tag): Hooked.known.append(tag)
class Hooks(Hooked, tag="one"):
    pass
class Keyword(type):
    def __new__(meta, name, bases, body, flag): return super().__new__(meta, name, bases, body)
    def __init__(cls, name, bases, body, flag): cls.flag = flag
class Flagged(metaclass=Keyword, flag=5):
    pass
class Record(typing.TypedDict):
    name: str
Number = typing.NewType("Number", int)
P = typing.ParamSpec("P")
class Called(typing.Generic[P]):
    pass
class Outsider:
    pass
Base.register(Outsider)
for n in range(150):
    exec(f"def chain{n}(x): return chain{n + 1}(x) + 1")
def chain150(x): return x

CASES = {
    "mutual": (lambda: even(4), True),
    "shared globals": (lambda: counted(), 2),
    "enumeration": (lambda: Planet((5.0, "blue")).members().mass, 0.6),
    "flags": (lambda: (Flag.A | Flag.B).value, 3),
    "data class": (lambda: Data().next().x, 4),
    "abstract": (lambda: (Derived().go(), Derived().own, Derived.kind() is Derived, Derived.name()),
                 (5, 9, True, "Derived")),
    "protocol": (lambda: Able.__name__, "Able"),
    "named tuple": (lambda: tuple(Pair(1)), (1, 2)),
    "generic": (lambda: Generic[int]().__class__ is Generic, True),
    "slots": (lambda: Slots().a, 1),
    "metaclass": (lambda: (len(Made), Made.circle[0] is Made), (7, True)),
    "cached": (lambda: cached(3), 4),
    "decorated": (lambda: doubled(3), 7),
    "shared cell": (lambda: (FACTORIAL(3), CALLS()), (6, 4)),
    "no attribute's namesake": (lambda: Attribute().big(), 1),
    "module": (lambda: module.f(), 8),
    "lock": (lambda: locked(), "free"),
    "submodule": (lambda: parsed(), "a"),
    "labelled array": (lambda: LABELLED.label, "zeros"),
    "layer": (lambda: Own().forward(np.zeros(1), None)[0].item(), 0.0),
    "hook of a base": (lambda: (Hooks.known, Hooked.known), (["one"], ["one"])),
    "keyword of a metaclass": (lambda: Flagged.flag, 5),
    "typed dict": (lambda: Record(name="a"), {"name": "a"}),
    "new type": (lambda: Number(3), 3),
    "parameters": (lambda: Called[[int]].__origin__ is Called, True),
    "registered": (lambda: isinstance(Outsider(), Base), True),
    "chain": (lambda: chain0(0), 150),
    "ufunc": (lambda exp=np.exp: exp(0), 1.0),
}
"""
WRITE = """
import sys
from minidl.runtime.programs import pack
print(*(pack(case, name).hex() for name, case in CASES.items()))
"""
READ = """
import sys
from minidl.runtime.programs import pack, unpack
for packed in map(bytes.fromhex, sys.stdin.read().split()):
    case, expected = unpack(packed)
    again = pack(case, "the same")  # what came by value goes on by value
    found = case()
    print(len(packed), found == expected, unpack(again)() == expected, expected)
"""


def run(*arguments: str, text: str = "", folder: Path | None = None) -> str:
    ended = subprocess.run(
        [sys.executable, *arguments],
        input=text,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": HOME},
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_every_kind_of_definition_crosses_and_is_small() -> None:
    """Mutual recursion, enumerations and cached properties did not, or hung."""
    lines = run("-c", READ, text=run("-c", SCRIPT + WRITE)).splitlines()
    assert len(lines) == SCRIPT.count("(lambda")
    for line in lines:
        size, first, second = line.split()[:3]
        assert (first, second) == ("True", "True"), line
        assert int(size) < 8000 or "150" in line, line


def test_a_class_that_comes_back_is_the_one_that_went(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(nn.ReLU):
        pass

    assert unpack(pack(Local, "a class")) is Local
    assert type(unpack(pack(Local(), "an instance"))) is Local
    packed = pack(Local, "a class")
    monkeypatch.setattr(classes, "_known", WeakValueDictionary())  # as in another process
    monkeypatch.setattr(classes, "_tokens", WeakKeyDictionary())
    arrived = unpack(packed)
    assert arrived is not Local
    assert unpack(packed) is arrived and unpack(pack(arrived, "a class")) is arrived


def test_an_enumeration_that_would_arrive_as_another_is_refused() -> None:
    class Coded(bytes, Enum):
        def __new__(cls, number: int) -> Coded:
            made = bytes.__new__(cls, [number])
            made._value_ = str(number)
            return made

        ONE = 1

    with pytest.raises(InputError, match=r"Coded has members .*: define it in a module"):
        pack(Coded, "a class")


def test_an_installed_function_goes_by_name_also_decorated() -> None:
    from minidl.kernels import half
    from minidl.kernels.cpu import dense

    for thing in (dense._pack, dense, half, nn.Conv2d, np.linalg.norm, pytest.raises, os, os.path):
        packed = pack(thing, "a thing")
        assert len(packed) < 100
        assert unpack(packed) is thing


def test_whatever_is_installed_is_importable() -> None:
    """Frozen, built-in, compiled or Python's own: all that other modules brought with them."""
    folders = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib"))
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__":  # the program that runs the tests, which may lie there too
            continue
        if name == getattr(module, "__name__", None) and (file or "").startswith(folders):
            assert modules.importable(name), name
    for name in ("sys", "os", "abc", "encodings.utf_8", "numpy.linalg", "minidl.nn.conv2d"):
        import_module(name)
        assert modules.importable(name), name


def load(name: str, file: Path) -> ModuleType:
    spec = spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_are_importable_where_a_worker_would_find_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    for place in (tmp_path, tmp_path / "there"):
        (place / "some_homework.py").write_text("def f(): pass")
    module = load("some_homework", tmp_path / "there" / "some_homework.py")
    monkeypatch.setitem(sys.modules, "some_homework", module)
    assert not modules.importable("some_homework")
    monkeypatch.syspath_prepend(str(tmp_path / "there"))
    assert modules.importable("some_homework")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not modules.importable("some_homework")  # a worker would find the other file


def test_what_lies_beside_a_script_is_importable_wherever_it_goes(tmp_path: Path) -> None:
    """Python's "" in `sys.path` is another folder after `chdir`; workers get the first one."""
    (tmp_path / "beside.py").write_text("def f(): pass")
    say = "import beside, os; from minidl.runtime.modules import importable; os.chdir('/'); "
    assert run("-c", f"{say}print(importable('beside'))", folder=tmp_path) == "True\n"


def test_packages_in_an_archive_are_importable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("packed_package/__init__.py", "")
        archive.writestr("packed_package/inner.py", "def f(): pass")
    monkeypatch.syspath_prepend(str(tmp_path / "all.zip"))
    import_module("packed_package.inner")
    assert modules.importable("packed_package.inner")
    for name in ("packed_package", "packed_package.inner"):
        del sys.modules[name]


@pytest.mark.parametrize("hook", ["installed", "of a script"])
def test_an_import_hook_counts_if_workers_have_it(
    hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an editable install sets one up, whose package lies in no folder of `sys.path`."""
    file = tmp_path / "edited_package.py"
    file.write_text("def f(): pass")
    folder = modules._site_folders()[0] if hook == "installed" else str(tmp_path)
    finder = SimpleNamespace(
        __module__="__editable___finder",
        find_spec=lambda name, path=None, target=None: (
            spec_from_file_location(name, file) if name == "edited_package" else None
        ),
    )
    owner = ModuleType("__editable___finder")
    owner.__file__ = os.path.join(folder, "__editable___finder.py")
    monkeypatch.setitem(sys.modules, owner.__name__, owner)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])
    monkeypatch.setitem(sys.modules, "edited_package", load("edited_package", file))
    modules._importable.cache_clear()
    assert modules.importable("edited_package") == (hook == "installed")


def test_threads_may_pickle_at_the_same_time_and_change_nothing() -> None:
    """They used to take modules out of `sys.modules`, so that others did not find theirs."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec(textwrap.dedent(SCRIPT), namespace)
    cases = namespace["CASES"]
    before = (dict(sys.modules), sys.stdout)
    seen: list[object] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(3):
                pack(cases, "the cases")
                seen.append(sys.modules["__main__"] is before[0]["__main__"])
                seen.append(sys.stdout is before[1])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.append(before[0].keys() <= sys.modules.keys())
        time.sleep(1e-4)  # the threads need the interpreter too
    assert errors == []
    assert all(seen)


def test_dill_itself_is_left_as_it_was() -> None:
    """Others in this process may use it."""
    assert dill.Pickler.dispatch[dict].__module__ == "dill._dill"


def test_what_cannot_cross_is_named() -> None:
    with pytest.raises(InputError, match="the program .*cannot be copied.*generator"):
        pack((x for x in ()), "the program")
