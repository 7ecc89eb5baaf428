"""A learner of a parameter server under a rule that does not wait for all; see `rule_server`.

It computes the gradient of its mini-batch, pushes it, and waits to be released, which is one
message with parameters. If its mini-batch is cancelled it finds that out between two layers,
and says so instead of pushing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import count

import numpy as np

from minidl.data import in_order
from minidl.plans import Push
from minidl.runtime.requests import Exchange, Incoming, Outgoing, RankContext, RankProgram
from minidl.sim import Law
from minidl.strategy.clocked import MiniBatches
from minidl.strategy.job import Job
from minidl.strategy.replica import Replica
from minidl.strategy.shards import Shards
from minidl.strategy.warm_up import attached
from minidl.tasks import WHOLE, Phase

SERVER = 0
NEVER = -1
"""Stands for a mini-batch's number where there is none yet."""
NAP = 0.005
"""Seconds for which a straggler sleeps without a look at whether it is still wanted."""


def shared_arrays(learners: int) -> Mapping[str, np.ndarray]:
    """What server and learners share: for each learner the numbers of two of its mini-batches.

    It drops the one in ``"cancelled"``, and stops after that in ``"last"``.
    """
    return {name: np.full(learners, NEVER, np.int64) for name in ("cancelled", "last")}


class Cancelled(Exception):
    """The mini-batch is no longer wanted."""


def learner(job: Job, straggler: Law | None, shards: Shards, context: RankContext) -> RankProgram:
    """Computes and pushes gradients of one mini-batch after the other, until it is told to stop."""
    job = attached(job, context)
    replica, work = Replica(job, context), MiniBatches(job, shards.learners)
    rank, names = context.rank - 1, figures_of(replica)
    cancelled, last = context.shared["cancelled"], context.shared["last"]
    values, grads = replica.buffer.values, replica.buffer.grads
    slip = np.zeros(2 + len(names))  # the global batch's size, 0 if no gradient follows; sums
    said, parts = Outgoing(SERVER, slip, "push"), shards.parts(job.index, WHOLE).items()
    released = [Incoming(server, values[part], "parameters") for server, part in parts]
    pushed = [Outgoing(server, grads[part], "gradients") for server, part in parts]

    def compute(number: int) -> None:
        def pause() -> None:
            if cancelled[rank] == number:
                raise Cancelled

        step = context.trace.step = job.first_step + number
        pause()
        if straggler is not None:
            with context.trace.span("sleep"):
                _sleep(straggler.draw(job.seed, rank, step), pause)
        with context.trace.span("load"):
            batch = work.batch(Push(rank, 0, number))
        sums = replica.gradients(Phase(WHOLE, step), batch, step, pause)
        pause()
        slip[:2] = batch.size, len(batch)
        slip[2:] = [sums.totals[name].value for name in names] if len(batch) else 0

    yield Exchange((*released,))
    for number in count():
        began = context.trace.clock()
        try:
            compute(number)
            yield Exchange((said, *pushed, *released))
        except Cancelled:
            context.trace.cancel(began)
            slip[...] = 0
            yield Exchange((said, *released))
        grads[...] = 0
        if number == last[rank]:
            return


def figures_of(replica: Replica) -> tuple[str, ...]:
    """The names of the losses and metrics that a mini-batch has, in their order on a slip."""
    one = next(in_order(replica.job.train, replica.job.dtype, slice(0, 1)))
    return tuple(replica.score(one).totals)


def _sleep(seconds: float, pause: Callable[[], None]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        pause()
        time.sleep(min(left, NAP))
