"""Loading the kernels that a job needs before training begins, so that no step's time holds it."""

from __future__ import annotations

import numpy as np

from minidl import kernels
from minidl.data import Batch
from minidl.runtime.requests import RankContext
from minidl.strategy.job import Job
from minidl.strategy.replica import Replica


def attached(job: Job, context: RankContext) -> Job:
    """A detached job on one of its ranks: with its arrays, and in a new process with kernels."""
    job = job.attached(context.shared)
    if job.device == "cpu" and kernels.none_loaded():
        warm_up(job, context.shared["state"])
    return job


def warm_up(job: Job, state: np.ndarray) -> None:
    """Run a step's phases on two samples, on a copy, so that all kernels are compiled and loaded.

    What is compiled is kept on disk, from where every worker loads it.
    """
    replica = Replica(job, RankContext(0, 1, {"state": state, "verdict": np.array([0.0, 1.0])}))
    x, y = job.train.batch(slice(0, 2), job.dtype)
    period = job.task.period
    step = job.first_step + period - 1 - job.first_step % period  # that has all phases
    for phase in job.task.phases(step):
        replica.gradients(phase, Batch(x, y, 0, len(x)), step)
        replica.update(phase)
    kernels.load_parallel()
