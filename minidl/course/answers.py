"""What of minidl is the answer to an exercise, and keeping a student's code from using it.

This hinders taking an answer by its name, in good faith or in haste. Whoever wants to get
around it can: the code runs in the same Python. What remains possible is in docs/judge.md.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from minidl.errors import ExerciseError

PACKAGE = f"{Path(__file__).resolve().parents[1]}/"
PLANS = (
    "ALL_REDUCES AllReduce._plan AllReduce.layout COLLECTIVES _collect _gather_around _hand_out "
    "_scatter_around all_gather all_reduce double_tree_all_reduce full_all_reduce "
    "halving_doubling_all_reduce hierarchical_all_reduce reduce_scatter ring_all_reduce rings "
    "torus_all_reduce tree_all_reduce"
)
ANSWERS = {
    "hw_batch_norm": "BatchNorm batch_norm batch_norm_gradient",
    "hw_gan": "LeastSquares Minimax NonSaturating Adversarial.phases",
    "hw_lstm": "LSTM lstm_cell lstm_cell_gradient lstm_scan lstm_scan_gradient",
    "hw_momentum": "Adagrad Adam AdamW LARS RMSprop SGD sgd_step",
    "hw_overlap": "Launches buckets",
    "hw_receptive_field": "Sight sight summary",
    "hw_ring": PLANS,
    "hw_server": "Async FullySync KAsync KBatchAsync KBatchSync KSync Softsync",
    "hw_staleness": "StalenessAware",
    "hw_torus": PLANS,
}
"""By exercise, the functions, classes and modules of minidl that do what it asks for."""


class AnswerError(ExerciseError):
    """A student's code takes minidl's answer for its own."""


def guard(exercise: str) -> None:
    """From now on, let nobody outside of minidl see this exercise's answer in it."""
    names = frozenset(ANSWERS.get(exercise, "").split())
    for name in [name for name in sys.modules if _is_ours(name)]:
        _guard(sys.modules[name], names, exercise)
    sys.meta_path.insert(0, _Finder(names, exercise))


def _is_ours(name: str) -> bool:
    return name == "minidl" or name.startswith("minidl.")


class _Guarded(ModuleType):
    """A module that shows some of its names to minidl only."""

    def __getattribute__(self, name: str) -> Any:
        get = super().__getattribute__
        hidden: frozenset[str] | None = get("__dict__").get("_hidden")
        # None means all: minidl.course knows what is right. `__dict__` leads to everything.
        if hidden is None:
            shown = name.startswith("__") and name != "__dict__"
        else:
            shown = name not in hidden and name != "__dict__"
        if not shown and _outside():
            own = f"{get('__name__')}.{name}"
            raise AnswerError(
                f"{own} is, or leads to, what {get('__dict__')['_exercise']} asks you to write: "
                f"use your own"
            )
        return get(name)


def _guard(module: ModuleType, names: frozenset[str], exercise: str) -> None:
    content = vars(module)
    for name in names:
        owner, _, method = name.partition(".")
        kind = content.get(owner)
        if method and isinstance(kind, type) and kind.__module__ == module.__name__:
            setattr(kind, method, _for_minidl(vars(kind)[method], name, exercise))
    course = module.__name__ == "minidl.course" or module.__name__.startswith("minidl.course.")
    if course or names & content.keys():
        content |= {"_hidden": None if course else names, "_exercise": exercise}
        module.__class__ = _Guarded


def _for_minidl(function: Callable[..., Any], name: str, exercise: str) -> Callable[..., Any]:
    """A method that only minidl may call."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **named: Any) -> Any:
        if _outside():
            raise AnswerError(f"{name} is what {exercise} asks you to write: use your own")
        return function(*arguments, **named)

    return guarded


def _outside() -> bool:
    """Whether who asked is other code than minidl's, and than the statement `import`."""
    file = sys._getframe(2).f_code.co_filename
    return not file.startswith((PACKAGE, "<frozen importlib"))


class _Finder(MetaPathFinder):
    """Guards modules of minidl that are imported later."""

    def __init__(self, names: frozenset[str], exercise: str) -> None:
        self.names, self.exercise = names, exercise

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if _is_ours(name) else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
            spec.loader.guard = functools.partial(_guard, names=self.names, exercise=self.exercise)
        return spec


class _Loader(SourceFileLoader):
    guard: Callable[[ModuleType], None]

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        self.guard(module)
