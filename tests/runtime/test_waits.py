"""Every wait for something that is no rank ends: after the deadline, or after Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from multiprocess import forkserver, resource_tracker, util
from sessions import gone, session, start

from minidl.errors import InputError, MinidlError, SharedMemoryError, WorkerError
from minidl.runtime import (
    Exchange,
    Outgoing,
    Processes,
    RankContext,
    ReceiveAny,
    Report,
    fork_server,
    interrupts,
    leftovers,
    memory,
)
from minidl.runtime.memory import Segment
from minidl.runtime.requests import Request

Program = Generator[Request, Any, Any]
pytestmark = pytest.mark.timeout(30)


def launch(
    runtime: Processes,
    *programs: Callable[[RankContext], Program],
    listen: Callable[[int, Any], None] = lambda rank, event: None,
) -> tuple[Any, ...]:
    size = len(programs)
    pairs = [(a, b) for a in range(size) for b in range(size) if a != b]
    return runtime.launch(programs, shared={}, channels=pairs, listen=listen).results


def empty(context: RankContext) -> Program:
    return context.rank
    yield


@pytest.fixture(autouse=True, scope="module")
def light_servers() -> Iterator[None]:
    """Those started here make no kernels ready."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIDL_KERNELS", "reference")
        fork_server.give_up()
        yield
    fork_server.give_up()


@pytest.fixture
def server() -> int:
    """The process that forks workers, which has begun to."""
    launch(Processes(), empty)
    pid: int = forkserver._forkserver._forkserver_pid
    return pid


def test_a_stopped_fork_server_is_named_after_the_deadline(server: int) -> None:
    os.kill(server, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(WorkerError, match=rf"\(process {server}\) does not answer.*by a signal"):
        launch(Processes(deadline=1), empty, empty)
    assert time.monotonic() - start < 5
    assert launch(Processes(), empty, empty) == (0, 1)


def test_ctrl_c_ends_the_wait_for_a_stopped_fork_server(server: int) -> None:
    os.kill(server, signal.SIGSTOP)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        launch(Processes(deadline=60), empty)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("context", "deadline", "error"),
    [("forkserver", 1, WorkerError), ("spawn", 1, WorkerError), ("spawn", 60, KeyboardInterrupt)],
)
def test_a_worker_that_stops_before_it_reads_its_job_is_named(
    context: str,
    deadline: float,
    error: type[BaseException],
    server: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The job does not fit into a pipe, so its writer has to wait."""

    def forked(*given: Any) -> Any:
        ends = connect(*given)
        children = Path(f"/proc/{server}/task/{server}/children")
        while not (pids := children.read_text().split()):
            time.sleep(0.01)
        stop(int(pids[-1]))
        return ends

    def stop(pid: int) -> int:
        os.kill(pid, signal.SIGSTOP)
        if error is KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
        stopped.append(pid)
        return pid

    stopped: list[int] = []
    connect, spawn = forkserver.connect_to_new_process, util.spawnv_passfds
    monkeypatch.setattr(forkserver, "connect_to_new_process", forked)
    monkeypatch.setattr(util, "spawnv_passfds", lambda *given: stop(spawn(*given)))
    large = bytes(1 << 18)
    runtime = Processes(deadline, context)
    start = time.monotonic()
    with pytest.raises(error) as raised:
        launch(runtime, lambda context: (yield Report(large)))
    if error is WorkerError:
        raised.match("^rank 0 .* has not read its program .* stopped by a signal; it was ended")
    assert time.monotonic() - start < 5
    assert gone(stopped, 1)


def test_a_fork_server_that_stops_later_does_not_keep_a_run_from_ending(server: int) -> None:
    def stops(context: RankContext) -> Program:
        os.kill(server, signal.SIGSTOP)
        return 3
        yield

    start = time.monotonic()
    assert launch(Processes(), stops) == (3,)
    assert time.monotonic() - start < 8


def test_a_fork_server_whose_socket_was_cleaned_away_is_replaced(server: int) -> None:
    Path(forkserver._forkserver._forkserver_address).unlink()
    assert launch(Processes(), empty) == (0,)


def test_a_tracker_that_reads_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, bytes(1 << 12)):
            pass
    monkeypatch.setattr(resource_tracker._resource_tracker, "_fd", writer)
    with pytest.raises(WorkerError, match="resource tracker .* kill -CONT"):
        launch(Processes(), empty)
    os.close(reader)
    os.close(writer)


def test_a_rank_that_others_listen_for_must_say_something_within_the_deadline() -> None:
    """Though nobody waits for it alone, and another rank says enough."""

    def hub(context: RankContext) -> Program:
        numbers = {1: np.zeros(1), 2: np.zeros(1)}
        while True:
            yield ReceiveAny(numbers, "news")

    def talks(context: RankContext) -> Program:
        while True:
            yield Exchange((Outgoing(0, np.zeros(1), "news"),))
            time.sleep(0.01)

    def silent(context: RankContext) -> Program:
        yield Exchange((Outgoing(0, np.zeros(1), "news"),))
        while True:
            time.sleep(0.01)

    start = time.monotonic()
    with pytest.raises(WorkerError, match=r"^rank 2 .* without a message.*deadline of 1"):
        launch(Processes(deadline=1), hub, talks, silent)
    assert time.monotonic() - start < 4


def test_a_rank_that_goes_on_saying_something_is_not_taken_for_silent() -> None:
    def hub(context: RankContext) -> Program:
        for _ in range(14):
            yield ReceiveAny({1: np.zeros(1)}, "news")

    def talks(context: RankContext) -> Program:
        for _ in range(14):
            time.sleep(0.1)
            yield Exchange((Outgoing(0, np.zeros(1), "news"),))

    launch(Processes(deadline=1), hub, talks)


def test_a_caller_that_stood_still_blames_nobody() -> None:
    """Rank 1 waits for rank 0, and that for its caller, which is stopped past the deadline."""
    caller = start(
        """
        def asks(context):
            time.sleep(0.5)
            yield Report("asks", heard=True, alone=True)
            yield Exchange((Outgoing(1, np.zeros(9), "swap"),))
            return 1

        def waits(context):
            yield Report("waits")
            yield Exchange((Incoming(0, np.zeros(9), "swap"),))
            return 2

        runtime = Processes(deadline=1)
        print(runtime.launch([asks, waits], shared={}, channels=[(0, 1)], listen=listen).results)
        """
    )
    assert caller.stdout is not None and caller.stdout.readline() == "waits\n"
    os.kill(caller.pid, signal.SIGSTOP)
    time.sleep(1.6)
    os.kill(caller.pid, signal.SIGCONT)
    out, err = caller.communicate(timeout=10)
    assert (out, err) == ("asks\n(1, 2)\n", "")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL, signal.SIGTERM])
def test_a_closed_terminal_and_a_killed_caller_leave_nothing(number: int) -> None:
    caller = start("once([swap, swap])")
    assert caller.stdout is not None and caller.stderr is not None
    pids = [int(caller.stdout.readline()) for _ in range(2)]
    made = [*Path(leftovers.socket_places()[0]).glob(f"minidl-{caller.pid}-*")]
    assert len(made) == 1
    assert not any("/dev/shm/sem." in _maps(pid) for pid in [caller.pid, *pids])
    if number == signal.SIGHUP:  # all of the terminal's processes get it
        os.killpg(caller.pid, number)
    else:
        caller.send_signal(number)
    caller.wait()
    assert gone(pids, 2) and gone(session(caller.pid), 2)
    assert not made[0].exists()
    assert not [*Path("/dev/shm").glob(f"minidl-{caller.pid}-*")]
    caller.stdout.close()
    caller.stderr.close()


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return ""


def test_ctrl_c_while_a_segment_is_made_or_closed_leaks_nothing() -> None:
    """Wherever it comes: here, before each line that is run."""

    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before, line, left = files(), 0, 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in (memory.__file__, interrupts.__file__):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                signal.raise_signal(signal.SIGINT)
        return trace

    while left <= 0:
        line += 1
        left = line
        sys.settrace(trace)
        try:
            made: Segment | None = Segment(100)
            assert made is not None
            made.close()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        made = None
        assert files() == before, f"Ctrl-C before line {line}"
    assert line > 20


def test_a_long_name_of_the_temporary_folder_is_no_hindrance(
    server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    fork_server.give_up()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert launch(Processes(), empty, empty) == (0, 1)


def test_no_folder_for_a_socket_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_server, "socket_places", lambda: [Path("/" + "x" * 100)])
    with pytest.raises(WorkerError, match=r"set TMPDIR .*too long for a socket"):
        fork_server._new_folder()


def test_a_deleted_working_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(InputError, match="^the folder in which this process works has"):
        launch(Processes(), empty)


@pytest.mark.parametrize(
    ("free", "kind"), [(1, SharedMemoryError), (7, WorkerError), (12, WorkerError)]
)
def test_a_limit_on_open_files_is_named(free: int, kind: type[MinidlError], server: int) -> None:
    """Wherever it is met: so many more files can be opened. The server is not harmed."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    opened = []
    try:
        with contextlib.suppress(OSError):
            while True:
                opened.append(os.dup(0))
        for _ in range(free):
            os.close(opened.pop())
        with pytest.raises(kind, match="ulimit -n"):
            launch(Processes(), empty, empty)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for file in opened:
            os.close(file)
    assert launch(Processes(), empty, empty) == (0, 1)
    assert forkserver._forkserver._forkserver_pid == server


SCRIPT = """
from minidl.runtime import Processes
def empty(context):
    return context.rank
    yield
try:
    print(Processes().launch([empty] * 2, shared={}, channels=[(0, 1)], listen=print).results)
except Exception as error:
    print(type(error).__name__, error)
"""


def run(before: list[str]) -> str:
    """What a script prints, run by such a command; it says nothing else."""
    ended = subprocess.run(
        [*before, sys.executable, "-c", SCRIPT],
        env={**os.environ, "MINIDL_KERNELS": "reference", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert ended.stderr == ""
    return ended.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 5, 6, 60])
def test_a_limit_on_processes_is_named(count: int) -> None:
    """It does not hold for root, so this is another user: one without a name and a home."""
    capable = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
    other = ["setpriv", "--reuid", "54321", "--clear-groups", *capable]
    try:
        able = subprocess.run([*other, sys.executable, "-c", ""], check=False).returncode == 0
    except FileNotFoundError:
        able = False
    if not able:
        pytest.skip("only root may become another user and still read everything")
    told = run([*other, "bash", "-c", f'unset HOME; ulimit -u {count}; exec "$@"', "sh"])
    assert told == "(0, 1)" if count == 60 else "ulimit -u" in told, told


def test_the_server_tells_by_its_exit_code_which_limit_it_met() -> None:
    script = "import minidl.runtime.preload; raise OSError(11, '')"
    process = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "MINIDL_KERNELS": "reference"}
    )
    assert "could not fork one: " in (manner := fork_server._manner(process.pid))
    assert "ulimit -u" in manner
    process.returncode = errno.EAGAIN


def test_shared_memory_that_cannot_be_written_to_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **named: Any) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(memory._posixshmem, "shm_open", refuse)
    with pytest.raises(SharedMemoryError, match=r"/dev/shm: Permission denied; .*tmpfs"):
        Segment(100)


def test_a_worker_cannot_have_workers() -> None:
    def nests(context: RankContext) -> Program:
        Processes().launch([empty], shared={}, channels=[], listen=print)
        yield Report(0)

    with pytest.raises(InputError, match=r"daemon.*Serial"):
        launch(Processes(), nests)
