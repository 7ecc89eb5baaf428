"""Whatever goes wrong in a worker or its caller: one clear error, soon, and nothing left."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sessions import gone, session, start

from minidl import kernels
from minidl.errors import InputError, SharedMemoryError, WorkerError
from minidl.runtime import (
    Exchange,
    Incoming,
    Outcome,
    Outgoing,
    Processes,
    RankContext,
    Report,
)
from minidl.runtime.requests import Request

Program = Generator[Request, Any, Any]
pytestmark = pytest.mark.timeout(20)


def launch(
    runtime: Processes,
    *programs: Callable[[RankContext], Program],
    listen: Callable[[int, Any], None] = lambda rank, event: None,
    names: list[str] | None = None,
) -> Outcome:
    size = len(programs)
    pairs = [(a, b) for a in range(size) for b in range(size) if a != b]
    return runtime.launch(programs, shared={}, channels=pairs, listen=listen, names=names)


def empty(context: RankContext) -> Program:
    return context.rank
    yield


def swap_for_ever(context: RankContext) -> Program:
    """Keeps two neighbours busy; tells its process's id first."""
    yield Report(os.getpid())
    peer = context.rank ^ 1
    mine, other = np.zeros(10_000), np.zeros(10_000)
    while True:
        yield Exchange((Outgoing(peer, mine, "swap"), Incoming(peer, other, "swap")))


def signalling(rank: int, number: int) -> Callable[[int, Any], None]:
    """A listener that sends the rank a signal shortly after it has begun."""

    def listen(reporter: int, pid: int) -> None:
        if reporter == rank:
            threading.Timer(0.1, os.kill, (pid, number)).start()

    return listen


def test_a_killed_worker_is_named_at_once() -> None:
    launch(Processes(), empty)  # the server takes its time to start
    start = time.monotonic()
    with pytest.raises(WorkerError, match=r"^right \(process \d+\) was killed by SIGKILL"):
        launch(
            Processes(deadline=60),
            swap_for_ever,
            swap_for_ever,
            names=["left", "right"],
            listen=signalling(1, signal.SIGKILL),
        )
    assert time.monotonic() - start < 5


def test_a_stopped_worker_is_named_after_the_deadline() -> None:
    with pytest.raises(WorkerError) as caught:
        launch(
            Processes(deadline=2),
            swap_for_ever,
            swap_for_ever,
            names=["left", "right"],
            listen=signalling(0, signal.SIGSTOP),
        )
    assert "left (process " in str(caught.value).split(";")[0]
    assert "stopped by a signal" in str(caught.value)
    assert "right has waited" in str(caught.value)


def test_a_stopped_worker_for_which_nobody_waits_is_named_too() -> None:
    def endless(context: RankContext) -> Program:
        yield Report(os.getpid())
        while True:
            time.sleep(0.01)

    with pytest.raises(WorkerError, match=r"rank 0 .*no heartbeat.*stopped by a signal"):
        launch(Processes(deadline=1), endless, listen=signalling(0, signal.SIGSTOP))


@pytest.mark.parametrize("told", [0, 100_000])
def test_a_worker_that_stops_while_it_tells_its_result_is_named(told: int) -> None:
    """Of which the caller may have a part; it does not wait for the rest."""

    def large(context: RankContext) -> Program:
        write = os.write

        def stopping(file: int, data: bytes) -> int:
            if told:
                write(file, data[:told])
            os.kill(os.getpid(), signal.SIGSTOP)
            return told

        os.write = stopping
        return np.zeros(1 << 17)
        yield

    with pytest.raises(WorkerError, match=r"rank 1 .*no heartbeat.*stopped by a signal"):
        launch(Processes(deadline=1), empty, large)


def test_the_cause_is_named_behind_a_chain_of_waits() -> None:
    def slow(context: RankContext) -> Program:
        if context.rank == 2:
            time.sleep(60)
        yield Exchange((Incoming(context.rank + 1, np.zeros(1), "onward"),))

    with pytest.raises(WorkerError) as caught:
        launch(Processes(deadline=1.5), slow, slow, slow, empty)
    text = str(caught.value)
    assert text.startswith("rank 2 (process ") and "has been computing for" in text
    assert "rank 1 has waited" in text and "deadline of 1.5 s" in text


def test_a_worker_that_exits_by_itself_is_named() -> None:
    def leave(context: RankContext) -> Program:
        os._exit(7)
        yield

    with pytest.raises(WorkerError, match="rank 1.*exit code 7"):
        launch(Processes(), swap_for_ever, leave)
    with pytest.raises(WorkerError, match="SystemExit"):
        launch(Processes(), lambda context: sys.exit(3))


def test_one_worker_raises_while_others_compute() -> None:
    def busy(context: RankContext) -> Program:
        while True:
            time.sleep(0.01)
        yield

    def bad(context: RankContext) -> Program:
        yield Report(1)
        raise ValueError("no luck")

    start = time.monotonic()
    with pytest.raises(WorkerError, match="(?s)^rank 1 raised.*no luck") as caught:
        launch(Processes(), busy, bad, busy)
    assert "in bad" in str(caught.value)
    assert time.monotonic() - start < 5


def test_an_unfit_program_or_result_is_named() -> None:
    running = (k for k in range(3))

    def holds_a_generator(context: RankContext) -> Program:
        yield Report(next(running))

    with pytest.raises(InputError, match="the program of rank 1 cannot be copied"):
        launch(Processes(), empty, holds_a_generator)

    def gives_a_generator(context: RankContext) -> Program:
        return (k for k in range(3))
        yield

    with pytest.raises(InputError, match="the result of rank 0 cannot be copied"):
        launch(Processes(), gives_a_generator)

    def reports_a_generator(context: RankContext) -> Program:
        yield Report(k for k in range(3))

    with pytest.raises(InputError, match="an event of rank 0 cannot be copied"):
        launch(Processes(), reports_a_generator)


def test_an_exception_of_the_listener_passes_through() -> None:
    def listen(rank: int, event: Any) -> None:
        raise LookupError("in the listener")

    with pytest.raises(LookupError, match="in the listener"):
        launch(Processes(), swap_for_ever, swap_for_ever, listen=listen)


def test_a_slow_listener_is_not_taken_for_silent_workers() -> None:
    def reports(context: RankContext) -> Program:
        for _ in range(2):
            yield Report(0)
            time.sleep(0.2)

    launch(Processes(deadline=0.8), reports, listen=lambda rank, event: time.sleep(1.2))


def test_shared_memory_that_is_not_there_is_refused_with_both_sizes() -> None:
    room = os.statvfs("/dev/shm")
    free = room.f_bavail * room.f_frsize
    huge = np.broadcast_to(np.zeros(1), (free // 8 + 10_000,))
    with (
        pytest.raises(SharedMemoryError, match=rf"^{huge.nbytes} bytes .* has \d+ bytes.* free"),
        Processes().share({"huge": huge}),
    ):
        pass
    after = os.statvfs("/dev/shm")
    assert abs(after.f_bavail * after.f_frsize - free) < 64 << 20
    with pytest.raises(SharedMemoryError):
        launch(Processes(slots=1 << 20, slot_bytes=1 << 20), empty, empty)


@pytest.mark.parametrize("given", [0, -1, float("nan"), float("inf")])
def test_an_unfit_deadline_is_refused(given: float) -> None:
    with pytest.raises(InputError, match="deadline"):
        Processes(deadline=given)


def test_other_unfit_settings_are_refused() -> None:
    with pytest.raises(InputError, match="spawn"):
        Processes(context="fork")
    with pytest.raises(InputError, match="slot"):
        Processes(slots=0)
    with pytest.raises(InputError, match="share"):
        Processes().launch([empty], shared={"x": np.zeros(1)}, channels=[], listen=print)
    with Processes().share({"x": np.zeros(1)}) as shared:
        pass
    with pytest.raises(InputError, match="share"):
        Processes().launch([empty], shared=shared, channels=[], listen=print)


def test_launches_open_no_files_for_good() -> None:
    def fault(context: RankContext) -> Program:
        raise ValueError
        yield

    def once() -> int:
        launch(Processes(), empty, empty)
        with pytest.raises(WorkerError):
            launch(Processes(), swap_for_ever, fault)
        return len(os.listdir("/proc/self/fd"))

    counts = [once() for _ in range(4)]
    assert counts[-1] <= counts[1]


def test_an_error_that_is_kept_keeps_no_arrays() -> None:
    """A notebook keeps the last one, and with it all frames through which it has come."""

    def fault(context: RankContext) -> Program:
        raise ValueError
        yield

    runtime, size = Processes(), 1 << 20
    with pytest.raises(WorkerError) as caught, runtime.share({"x": np.zeros(size)}) as shared:
        runtime.launch([fault] * 2, shared=shared, channels=[(0, 1)], listen=print)
    assert caught.value.__traceback__ is not None
    maps = Path("/proc/self/maps").read_text().splitlines()
    places = [line.split()[0].split("-") for line in maps if "/minidl-" in line]
    assert sum(int(end, 16) - int(start, 16) for start, end in places) < size


def test_later_launches_fork_from_the_same_prepared_server() -> None:
    def prepared(context: RankContext) -> Program:
        return os.getppid(), "minidl.runtime.preload" in sys.modules
        yield

    first, second = (launch(Processes(), prepared).results for _ in range(2))
    assert first == second and first[0][1]


def test_a_rank_whose_kernels_are_on_disk_finds_them_ready() -> None:
    """What they need beside is loaded once, where ranks are forked, not by each rank anew."""
    numbers = np.zeros(3, np.float32)

    def rectified(context: RankContext) -> Program:
        from minidl import kernels  # not the caller's, which other tests have had in their hands

        relu, before = kernels.of(numbers).relu, {*sys.modules}
        relu(numbers)
        return {*sys.modules} - before
        yield

    kernels.of(numbers).relu(numbers)
    assert launch(Processes(), rectified).results == (set(),)


def test_spawned_processes_do_the_same() -> None:
    outcome = launch(Processes(context="spawn"), empty, empty)
    assert outcome.results == (0, 1)


def test_the_server_that_forks_workers_has_one_thread() -> None:
    from multiprocess import forkserver

    def parent(context: RankContext) -> Program:
        return os.getppid()
        yield

    (pid,) = launch(Processes(), parent).results
    assert pid == forkserver._forkserver._forkserver_pid
    assert len(os.listdir(f"/proc/{pid}/task")) == 1


def names_in_shared_memory(pid: int) -> list[str]:
    return [path.name for path in Path("/dev/shm").glob(f"minidl-{pid}-*")]


@pytest.mark.parametrize("context", ["forkserver", "spawn"])
def test_workers_leave_ctrl_c_to_the_caller(context: str) -> None:
    """The terminal sends it to them too, and the caller may want to go on."""

    def make(context: RankContext) -> Program:
        os.kill(os.getpid(), signal.SIGINT)
        yield Report(context.rank)
        return context.rank

    assert launch(Processes(deadline=10, context=context), make, make).results == (0, 1)


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.4])
def test_ctrl_c_at_any_time_leaves_nothing(delay: float) -> None:
    """While the server starts, and, in launches after the first, while the workers do."""
    caller = start(
        """
        import multiprocess
        for press in range(5):
            print("begin", flush=True)
            try:
                once([swap, swap])
            except KeyboardInterrupt:
                print("interrupted", len(multiprocess.active_children()), flush=True)
        def answer(context):
            return 42
            yield
        print(once([answer, answer]).results, flush=True)
        """
    )
    assert caller.stdout is not None
    pids: list[int] = []
    for wait in (delay, 0.01, 0.04, 0.1, None):  # at last when the ranks are at work
        line = caller.stdout.readline()
        while wait is None and len(pids) < 2:
            line = caller.stdout.readline()
            pids.append(int(line))
        time.sleep(wait or 0)
        os.killpg(caller.pid, signal.SIGINT)
        while line and not line.startswith("interrupted"):
            line = caller.stdout.readline()
        assert line == "interrupted 0\n"
    out, err = caller.communicate(timeout=10)
    assert (out, err) == ("(42, 42)\n", "")
    assert gone(pids, 0.1) and gone(session(caller.pid), 2)
    assert not names_in_shared_memory(caller.pid)


def test_ctrl_z_is_no_fault() -> None:
    caller = start(
        """
        def pause(context):
            yield Report("begun")
            peer, x, y = 1 - context.rank, np.zeros(999), np.zeros(999)
            if context.rank == 0:
                time.sleep(3.2)  # not over yet when the others go on
            yield Exchange((Outgoing(peer, x, "swap"), Incoming(peer, y, "swap")))
            return 42

        channels = [(0, 1), (1, 0)]
        runtime = Processes(deadline=2)
        print(runtime.launch([pause] * 2, shared={}, channels=channels, listen=listen).results)
        """
    )
    assert caller.stdout is not None
    assert [caller.stdout.readline() for _ in range(2)] == ["begun\n"] * 2
    os.killpg(caller.pid, signal.SIGSTOP)
    time.sleep(2.5)
    os.killpg(caller.pid, signal.SIGCONT)
    out, err = caller.communicate(timeout=10)
    assert (out, err) == ("(42, 42)\n", "")
