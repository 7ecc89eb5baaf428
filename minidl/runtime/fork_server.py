"""The server process that forks workers: how it is started, watched and given up.

multiprocess starts it, asks it over a socket for each worker, and waits for the answer without
an end. Here that wait has a deadline and obeys Ctrl-C: a server that does not answer is killed,
whereupon the wait fails, and the next launch starts another one.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import multiprocess
from multiprocess import forkserver, resource_tracker
from multiprocess.process import current_process
from multiprocess.util import Finalize

import minidl
from minidl.errors import WorkerError
from minidl.runtime.diagnosis import STATES, state_of_process
from minidl.runtime.leftovers import NAME, new_name, socket_places
from minidl.runtime.limits import explanation, require_working_folder

ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""Workers share the cores, so each begins with BLAS on one thread."""
FIRST = 60.0
"""Seconds that a new server may take at least, for it first imports what workers need."""
PATIENCE = 1.0
"""Seconds that it may take after Ctrl-C."""
TICK = 0.05
SOCKET_PATH = 104
"""Bytes of a socket's path that every system allows."""
SOCKET_NAME = len("/listener-01234567")
SIGNALS = (signal.SIGINT, signal.SIGHUP)
"""A terminal sends them to the server too, which is to outlive its caller."""

_server = forkserver._forkserver
_starting = threading.Lock()


def _start(method: str) -> None:
    """Start the server where it is needed and not yet running, and multiprocess's other helper.

    Raises
    ------
    WorkerError
        If a helper of multiprocess takes no messages, or no folder can hold the socket.
    """
    require_working_folder()
    _check_tracker()
    resource_tracker.ensure_running()
    if method == "forkserver":
        with _starting:  # it sets the environment
            _start_server()


def _start_server() -> None:
    if _server._forkserver_address and not os.path.exists(_server._forkserver_address):
        give_up()  # a cleaner of temporary files has removed its socket
    multiprocess.get_context("forkserver").set_forkserver_preload(["minidl.runtime.preload"])
    home = str(Path(minidl.__file__).parents[1])
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    before = {name: os.environ.get(name) for name in (*ONE_THREAD, "PYTHONPATH")}
    # The server inherits the mask, so no signal can end it before it has begun to ignore it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    os.environ.update(ONE_THREAD, PYTHONPATH=path)
    try:
        with _socket_folder():
            _server.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Watch:
    """Kills the server if it takes too long to fork a worker.

    Parameters
    ----------
    pid
        The server's, or None if there is none.
    deadline
        Seconds that it may take.
    pressed
        Is no longer empty once Ctrl-C was pressed.
    """

    def __init__(self, pid: int | None, deadline: float, pressed: Sequence[object]) -> None:
        self.deadline = deadline
        self.pressed = pressed
        self._waited = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.pid = pid
        self.verdict = ""
        if pid is not None:
            self._thread.start()

    def answered(self) -> None:
        """It has forked a worker."""
        self._waited = 0.0
        _known.add(self.pid)

    def close(self) -> None:
        """Watch no longer."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        assert self.pid is not None
        looked = time.monotonic()
        since_pressed = 0.0
        while not self._over.wait(TICK):
            now = time.monotonic()
            # A pause of this process (Ctrl-Z) is not the server's silence.
            passed = min(now - looked, 2 * TICK)
            looked = now
            self._waited += passed
            since_pressed += passed if self.pressed else 0.0
            allowed = self.deadline if self.pid in _known else max(self.deadline, FIRST)
            if self._waited > allowed or since_pressed > PATIENCE:
                letter = state_of_process(self.pid)
                self.verdict = (
                    f"does not answer: it has not forked a worker for {self._waited:.1f} s, "
                    f"its process is {STATES.get(letter, 'not known')}; it was ended, and the "
                    "next fit starts another one"
                )
                os.kill(self.pid, signal.SIGKILL)  # a child, so its number is its own
                return


_known: set[int | None] = set()
"""The servers that have forked a worker."""


@contextmanager
def watched(method: str, deadline: float, pressed: Sequence[object]) -> Iterator[Watch]:
    """Within the block, which starts workers, the server that forks them runs and is watched.

    Parameters
    ----------
    method
        How processes are started; only one has a server.
    deadline
        See `Watch`.
    pressed
        See `Watch`.

    Raises
    ------
    WorkerError
        If the server did not answer, or ended, or cannot be started.
    """
    _start(method)
    watch = Watch(_server._forkserver_pid if method == "forkserver" else None, deadline, pressed)
    try:
        yield watch
    except (EOFError, ConnectionError) as error:
        watch.close()
        if watch.pid is None:
            raise
        manner = watch.verdict or _manner(watch.pid)
        give_up()
        raise WorkerError(
            f"the server that forks workers (process {watch.pid}) {manner}"
        ) from error
    finally:
        watch.close()


def give_up() -> None:
    """End the server, if it runs, and forget it."""
    if (pid := _server._forkserver_pid) is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
        if NAME.fullmatch((folder := Path(_server._forkserver_address).parent).name):
            shutil.rmtree(folder, ignore_errors=True)
        _forget()


def give_up_if_stopped() -> None:
    """End a server that is stopped, and so does not say that its workers have ended."""
    if state_of_process(_server._forkserver_pid) in "Tt":
        give_up()


def _manner(pid: int | None) -> str:
    """How a server ended that nobody has asked to."""
    code = 0
    with suppress(ChildProcessError):
        code = os.waitstatus_to_exitcode(os.waitpid(pid or 0, 0)[1])
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}; the next fit starts another one"
    cause = explanation(code)
    return f"could not fork one: {cause}" if cause else f"ended with exit code {code}"


def _forget() -> None:
    os.close(_server._forkserver_alive_fd)
    _server._forkserver_alive_fd = _server._forkserver_address = _server._forkserver_pid = None


def _after_fork() -> None:
    """The parent's server is no child of this process, and who held a lock may not be here."""
    global _starting
    _starting = threading.Lock()
    _server._lock = threading.Lock()
    resource_tracker._resource_tracker._lock = threading.RLock()
    if _server._forkserver_pid is not None:
        _forget()


os.register_at_fork(after_in_child=_after_fork)


def _check_tracker() -> None:
    """Refuse a helper of multiprocess that is stopped: to write to it would once wait for ever."""
    tracker = resource_tracker._resource_tracker
    if tracker._fd is None:
        return
    poll = select.poll()
    poll.register(tracker._fd, select.POLLOUT)
    if not poll.poll(0):
        raise WorkerError(
            f"multiprocess's resource tracker (process {tracker._pid}) reads no messages; if it "
            f"is stopped, continue it: kill -CONT {tracker._pid}"
        )


@contextmanager
def _socket_folder() -> Iterator[None]:
    """Within the block, multiprocess makes sockets in a new folder of a name short enough.

    It is removed when this process ends, or by the server, if the process was killed.
    """
    if _server._forkserver_pid is not None:
        yield
        return
    folder = _new_folder()
    Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)
    config = current_process()._config
    before = config.get("tempdir")
    config["tempdir"] = folder
    try:
        yield
    finally:
        config["tempdir"] = before


def _new_folder() -> str:
    failures = []
    for place in socket_places():
        folder = str(place / new_name())
        if len(os.fsencode(folder)) + SOCKET_NAME >= SOCKET_PATH:
            failures.append(f"{place}: the name is too long for a socket")
            continue
        try:
            os.mkdir(folder, 0o700)
        except OSError as error:
            failures.append(f"{place}: {error.strerror}")
            continue
        return folder
    raise WorkerError(
        "no folder can hold the socket of the server that forks workers; set TMPDIR to one of a "
        f"short name that can be written to ({'; '.join(failures)})"
    )
