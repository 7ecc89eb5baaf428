"""Which kernels an array gets, and that nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from minidl import kernels
from minidl.errors import InputError, UnknownNameError


def test_numpy_arrays_get_cpu_kernels_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(kernels.VARIABLE, raising=False)
    x = np.zeros(1)
    assert kernels.of(x).__name__ == "minidl.kernels.cpu"
    monkeypatch.setenv(kernels.VARIABLE, "reference")
    assert kernels.of(x).__name__ == "minidl.kernels.reference"
    assert kernels.array_module(x) is np


def test_using_ends_with_its_block_even_by_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(kernels.VARIABLE, raising=False)

    def fail() -> None:
        with kernels.using("reference"), kernels.using("cpu"):
            assert os.environ[kernels.VARIABLE] == "cpu"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert kernels.VARIABLE not in os.environ


def test_unknown_kernels_are_named(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UnknownNameError, match="'fast'.*cpu, reference"), kernels.using("fast"):
        pass
    monkeypatch.setenv(kernels.VARIABLE, "fast")
    with pytest.raises(UnknownNameError, match="MINIDL_KERNELS.*'fast'.*cpu, reference"):
        kernels.of(np.zeros(1))


def test_cupy_arrays_get_gpu_kernels(monkeypatch: pytest.MonkeyPatch):
    array = type("ndarray", (), {"__module__": "cupy"})()
    monkeypatch.setitem(sys.modules, "cupy", np)
    monkeypatch.delitem(sys.modules, "minidl.kernels.gpu", raising=False)
    assert kernels.of(array).__name__ == "minidl.kernels.gpu"
    assert kernels.array_module(array) is np
    sys.modules.pop("minidl.kernels.gpu")


def test_without_cupy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "minidl.kernels.gpu", raising=False)
    with pytest.raises(InputError, match=r"pip install minidl\[gpu\]"):
        __import__("minidl.kernels.gpu")


def test_numba_waits_until_it_is_needed():
    code = (
        "import sys, numpy, minidl.kernels as k\n"
        "assert 'numba' not in sys.modules and 'cupy' not in sys.modules\n"
        "with k.using('reference'):\n"
        "    k.of(numpy.zeros(1)).relu(numpy.zeros(1)); k.set_threads(1)\n"
        "assert 'numba' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_set_threads_holds_both_pools():
    """In a process of its own, for what other tests have done to the pools is not its matter.

    A fork of it has no threads; a kernel that asked for them there would end it.
    """
    code = (
        "import os, numpy, numba, threadpoolctl, minidl.kernels as k\n"
        "k.set_threads(1)\n"
        "assert numba.get_num_threads() == 1\n"
        "pools = threadpoolctl.threadpool_info()\n"
        "assert all(p['num_threads'] == 1 for p in pools if p['user_api'] == 'blas')\n"
        "k.set_threads(10**6)\n"
        "assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS\n"
        "x = numpy.ones((300, 400), 'f4')\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    k.of(x).relu(x)\n"
        "    os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("count", [0, -3])
def test_threads_must_be_positive(count: int):
    with pytest.raises(InputError, match=f"at least 1 thread, not {count}"):
        kernels.set_threads(count)
