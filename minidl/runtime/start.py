"""How a worker process is started without running the caller's script again.

multiprocess would import the script in each worker, so that what it pickled by name can be found
there. What a program needs of the script crosses with it (`minidl.runtime.pickler`), so a script
may call `fit` at its top level, and a worker starts without it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import FunctionType, SimpleNamespace
from typing import Any

from multiprocess import spawn
from multiprocess.process import BaseProcess

SCRIPT = ("init_main_from_name", "init_main_from_path")


def start(worker: BaseProcess) -> None:
    """Start a process made by a context of multiprocess."""
    worker._Popen = popen  # what its context would take, but for one function
    worker.start()


def popen(worker: BaseProcess) -> Any:
    """What multiprocess makes of a process of this kind to start it."""
    module = import_module(MODULES[worker._start_method])
    launch = _with_globals(module.Popen._launch, spawn=_SPAWN)
    return type("Popen", (module.Popen,), {"_launch": launch})(worker)


MODULES = {
    "forkserver": "multiprocess.popen_forkserver",
    "spawn": "multiprocess.popen_spawn_posix",
}


def _preparation(name: str) -> dict[str, Any]:
    data = spawn.get_preparation_data(name)
    return {key: value for key, value in data.items() if key not in SCRIPT}


def _with_globals(function: FunctionType, **changed: Any) -> Callable[..., Any]:
    """A copy of a function for which these global names mean something else."""
    names = {**function.__globals__, **changed}
    return FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )


_SPAWN = SimpleNamespace(**{**vars(spawn), "get_preparation_data": _preparation})
