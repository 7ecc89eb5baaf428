"""What the server that forks workers imports beforehand, so that they start fast."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal

import minidl.runtime.worker

# Ctrl-C reaches every process of a terminal; only the caller acts on it, from a worker's
# first instruction on.
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

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
