"""A process forked after kernels have run computes the same, and never hangs."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable

import multiprocess
import numpy as np
import pytest
from numba.core.errors import NumbaSystemWarning
from numba.np.ufunc import parallel

from minidl import kernels
from minidl.kernels.cpu import calls

pytestmark = pytest.mark.timeout(60)
X = np.random.default_rng(0).normal(size=(300, 400)).astype(np.float32)


def test_a_lock_that_numba_cannot_make_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwritable() -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(parallel, "_backend_init_process_lock", None)
    monkeypatch.setattr(multiprocessing, "get_start_method", unwritable)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        calls._ignore_missing_lock()
        parallel._set_init_process_lock()
        warnings.warn("another one", NumbaSystemWarning, stacklevel=2)
    assert [str(each.message) for each in said] == ["another one"]


def computed(seed: int = 0) -> list[bytes]:
    """What kernels give that share their work among threads: a product, and loops."""
    of = kernels.of(X)
    y = of.matmul(X, X.T)
    return [y.tobytes(), of.relu(y).tobytes(), of.tanh(y).tobytes()]


def forked(function: Callable[[], None], seconds: float = 20) -> int:
    """The exit code of a fork of this process that runs a function; it is killed if it hangs."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the forked process hangs")


@pytest.fixture
def in_parent() -> list[bytes]:
    """What the parent computes, on two threads at least where it may."""
    assert X.size >= calls.ENOUGH
    return computed()


@pytest.mark.parametrize("package", [multiprocessing, multiprocess])
def test_a_pool_of_forked_processes_computes_the_same(package: object, in_parent: object) -> None:
    context = package.get_context("fork")  # type: ignore[attr-defined]
    with context.Pool(2) as pool:
        assert pool.map_async(computed, range(4)).get(timeout=20) == [in_parent] * 4


def test_so_does_an_executor(in_parent: object) -> None:
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(computed, range(2), timeout=20)) == [in_parent] * 2


def test_so_does_a_fork_of_a_fork_and_the_parent_goes_on(in_parent: object) -> None:
    def grandchild() -> None:
        assert computed() == in_parent

    def child() -> None:
        assert forked(grandchild) == 0
        kernels.set_threads(2)
        assert computed() == in_parent

    assert forked(child) == 0
    assert computed() == in_parent
