"""What the server that forks workers imports beforehand, so that they start fast."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib.util
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from multiprocess import forkserver

import minidl.runtime.worker
from minidl.runtime.leftovers import NAME

# Ctrl-C, and the end of a terminal, reach every process of it; only the caller acts on them, from
# a worker's first instruction on.
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGHUP])


def _remove_socket() -> None:
    """Remove the socket and its folder, which the caller cannot do if it was killed.

    There is none before the server has begun, nor in another process that imports this module.
    """
    address = forkserver._forkserver._forkserver_address
    if address is None:
        return
    folder = Path(address).parent
    if NAME.fullmatch(folder.name):
        shutil.rmtree(folder, ignore_errors=True)


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell the caller by the exit code why no worker could be forked."""
    if os.getpid() == _server and isinstance(error, OSError) and error.errno:
        _remove_socket()
        os._exit(error.errno)
    sys.__excepthook__(kind, error, trace)


def _receive(client: socket.socket, count: int) -> list[int]:
    """The files for a new worker; a caller that met a limit while it sent them ends no server."""
    try:
        return _receive_files(client, count)
    except EOFError as error:
        raise ConnectionAbortedError(errno.ECONNABORTED, "nothing was sent") from error


_receive_files: Callable[[socket.socket, int], list[int]] = forkserver.reduction.recvfds
forkserver.reduction.recvfds = _receive
_server = os.getpid()
atexit.register(_remove_socket)  # not in workers, which end by os._exit
sys.excepthook = _end

if os.environ.get("MINIDL_KERNELS") != "reference" and importlib.util.find_spec("numba"):
    import numba
    import numpy as np

    import minidl.kernels.cpu  # noqa: F401

    # numba readies itself at its first call, for longer than many a step takes: once, not on
    # every rank. No thread may start here, so what is called is none of the kernels.
    numba.njit(lambda x: None)(np.zeros(1))

# What lives now lives on in every worker: their collectors need not walk it, and so copy its pages.
gc.collect()
gc.freeze()
