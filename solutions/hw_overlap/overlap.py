"""Homework: gradients in buckets, and when each is sent while the backward pass goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

# stub: from minidl import data, errors, nn, optim, plans, runtime, strategy
# solution: begin
from minidl import data, nn, optim, plans, runtime, strategy

# solution: end
from minidl.runtime.trace import KINDS
from minidl.train import Trainer


def buckets(sizes: Mapping[str, int], least: float) -> Sequence[Sequence[str]]:
    """Put parameters into buckets, from the last one to the first.

    Each parameter is in exactly one bucket, and no bucket is empty. A bucket's parameters are
    neighbours, and all of them come after those of the next bucket. A bucket takes parameters
    until it holds `least` numbers, and then no more. Only the last bucket, that of the first
    parameters, may hold less.

    Parameters
    ----------
    sizes
        How many numbers each parameter has, by its name, in the order of definition. It may
        have none at all.
    least
        How many numbers make a bucket full, above 0. Infinity puts all into one.

    Returns
    -------
    list of lists of str
        For each bucket the names of its parameters, in any order.

    Hints
    -----
    - A dict has an order: `reversed(sizes.items())` begins with the last parameter.
    - One bucket is always open. When does the next one begin: when the open one is full, or
      when there is something to put into it?
    """
    # stub: raise errors.NotWrittenError("buckets is not written yet: see its hints")
    # solution: begin
    found: list[list[str]] = []
    held = least
    for name, size in reversed(sizes.items()):
        if held >= least:
            found.append([])
            held = 0
        found[-1].append(name)
        held += size
    return found
    # solution: end


class Launches:
    """When buckets are launched: each as soon as it is filled and all before it are launched.

    A bucket is filled when the gradients of all its parameters are complete; one without
    parameters always is. There is one of these objects on every rank, and a new one for each
    backward pass. Gradients may become complete in another order on each rank, and yet all
    have to launch the buckets in the same order: 0, 1, 2, ...

    Parameters
    ----------
    buckets
        The names of the parameters of each bucket.

    Hints
    -----
    - Two things are to be remembered: what each bucket still waits for, and which bucket is
      next.
    """

    def __init__(self, buckets: Sequence[Sequence[str]]) -> None:
        # stub: raise errors.NotWrittenError("Launches is not written yet: see its hints")
        # solution: begin
        self.missing = [set(names) for names in buckets]
        self.next = 0
        # solution: end

    def filled(self, name: str) -> Sequence[int]:
        """Say which buckets to launch now that this parameter's gradient is complete.

        Parameters
        ----------
        name
            Of the parameter. Each is named once in a pass.

        Returns
        -------
        list of int
            The numbers of these buckets, in the order in which they are to be launched; often
            there are none.

        Hints
        -----
        - One call may launch several buckets: those that have waited for this one.
        """
        # stub: raise errors.NotWrittenError("filled is not written yet: see its hints")
        # solution: begin
        for names in self.missing:
            names.discard(name)
        first = self.next
        while self.next < len(self.missing) and not self.missing[self.next]:
            self.next += 1
        return range(first, self.next)
        # solution: end


LINK = plans.Link(latency=200e-6, bandwidth=25e6)
"""What the emulated network does to a message: 0.2 ms, and 200 Mbit/s."""


def train(
    bucketing: plans.Bucketing, overlap: bool, runtime: runtime.Runtime, epochs: int = 3
) -> tuple[float, dict[str, np.ndarray]]:
    """Train eight convolutions on digits, on 2 workers, in buckets of 128 KiB and more.

    Returns
    -------
    seconds, weights
        The median over all steps of the time from one update to the next, on worker 0, and
        the trained weights.
    """
    body = [layer for _ in range(8) for layer in (nn.Conv2d(48, 3, padding=1), nn.ReLU())]
    model = nn.Sequential(*body, nn.Flatten(), nn.Linear(10))
    digits, _ = data.digits()
    trainer = Trainer(model, nn.CrossEntropy(), optim.SGD(0.1), seed=0)
    history = trainer.fit(
        digits, epochs=epochs, batch_size=64, progress=False, strategy=strategy.AllReduce(
            2, bucket_bytes=1 << 17, overlap=overlap, bucketing=bucketing, runtime=runtime),
    )  # fmt: skip
    assert history.trace is not None
    spans = history.trace.ranks[0]
    updates = spans["start"][spans["kind"] == KINDS.index("update")]
    return float(np.median(np.diff(updates))), trainer.weights()


if __name__ == "__main__":
    network = runtime.Processes(threads=1, link=LINK)
    yours, minidls = plans.Bucketing(buckets, Launches), plans.Bucketing()
    train(minidls, True, network, epochs=1)  # compiles what is not yet compiled
    _, wanted = train(minidls, False, network)
    print("2 workers, a link of 200 Mbit/s   ms a step   weights")
    for title, bucketing, overlap in (
        ("minidl's buckets, no overlap", minidls, False),
        ("minidl's buckets, overlap", minidls, True),
        ("your buckets, no overlap", yours, False),
        ("your buckets, overlap", yours, True),
    ):
        seconds, weights = train(bucketing, overlap, network)
        same = all(np.array_equal(weights[name], wanted[name]) for name in wanted)
        print(f"{title:31} {1e3 * seconds:11.1f}   {'the same' if same else 'different'}")
