"""How a worker process is started without running the caller's script again.

multiprocess would import the script in each worker, so that what it pickled by name can be found
there. What a program needs of the script crosses with it (`minidl.runtime.pickler`), so a script
may call `fit` at its top level, and a worker starts without it.

multiprocess would also wait without an end for a worker that does not read its job. Here that
wait has a deadline and obeys Ctrl-C.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from types import FunctionType, SimpleNamespace
from typing import Any

from multiprocess import forkserver, spawn
from multiprocess.process import BaseProcess

from minidl.errors import WorkerError
from minidl.runtime.diagnosis import STATES, state_of_process
from minidl.runtime.fork_server import PATIENCE, TICK, Watch

SCRIPT = ("init_main_from_name", "init_main_from_path")


def start(worker: BaseProcess, watch: Watch) -> None:
    """Start a process made by a context of multiprocess.

    Raises
    ------
    WorkerError
        If it does not read its job within the deadline, or after Ctrl-C.
    """
    worker._Popen = partial(popen, watch)  # what its context would take, but for two functions
    worker.start()


def popen(watch: Watch, worker: BaseProcess) -> Any:
    """What multiprocess makes of a process of this kind to start it."""
    del worker._Popen  # it does not cross
    module = import_module(MODULES[worker._start_method])

    def launch(self: Any, worker: BaseProcess) -> None:
        writer = partial(_JobFile, self, worker.name, watch)
        _with_globals(module.Popen._launch, spawn=_SPAWN, open=writer)(self, worker)

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


class _JobFile:
    """The file into which multiprocess writes a worker's job: a pipe that the worker reads."""

    def __init__(
        self, popen: Any, name: str, watch: Watch, fd: int, mode: str, closefd: bool
    ) -> None:
        self._popen, self._name, self._watch = popen, name, watch
        self._fd, self._close = fd, closefd

    def __enter__(self) -> _JobFile:
        return self

    def __exit__(self, *error: object) -> None:
        if self._close:
            os.close(self._fd)

    def write(self, job: memoryview) -> None:
        """Write all of it, unless the worker ends, of which the supervisor will hear."""
        os.set_blocking(self._fd, False)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        waited = 0.0
        while job:
            looked = time.monotonic()
            if poll.poll(1000 * TICK):
                try:
                    job = job[os.write(self._fd, job) :]
                except BrokenPipeError:
                    return
                waited = 0.0
            elif self._forked():
                self._watch.answered()
                waited += min(time.monotonic() - looked, 2 * TICK)  # a pause is not its silence
                if waited > (PATIENCE if self._watch.pressed else self._watch.deadline):
                    raise self._ended(waited)

    def _forked(self) -> bool:
        """Whether there is such a process yet; if not, it is the server that is waited for."""
        told = hasattr(self._popen, "pid")
        return told or bool(select.select([self._popen.sentinel], [], [], 0)[0])

    def _ended(self, waited: float) -> WorkerError:
        if not hasattr(self._popen, "pid"):
            self._popen.pid = forkserver.read_signed(self._popen.sentinel)
        pid = self._popen.pid
        state = STATES.get(state_of_process(pid), "not known")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # a child only if no server has forked it
            os.waitpid(pid, 0)
        return WorkerError(
            f"{self._name.removeprefix('minidl ')} (process {pid}) has not begun: it has not read "
            f"its program for {waited:.1f} s, its process is {state}; it was ended"
        )
