"""Measure how training scales: fits that take turns, each until the same test accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from minidl.checks import whole
from minidl.data import Dataset
from minidl.errors import InputError
from minidl.runtime.machine import Machine
from minidl.strategy import Strategy
from minidl.train.history import History
from minidl.train.run import Run
from minidl.train.scaling import (
    Fit,
    Measured,
    Mode,
    Scaling,
    step_shares,
    time_to_accuracy,
    warm_seconds,
)
from minidl.train.trainer import Trainer

LEAST_EPOCHS = 6
"""What a fit trains at least. The first epoch is a warm-up, and five have a median."""


def measure_scaling(
    trainer: Callable[[int], Trainer],
    strategy: Callable[[int], Strategy],
    train: Dataset,
    test: Dataset,
    *,
    serial: Strategy,
    workers: Sequence[int] = (1, 2, 4),
    modes: Sequence[Mode] = ("strong", "weak"),
    batch_size: int = 64,
    target: float = 0.95,
    epochs: int = 30,
    repeats: int = 3,
    shown: Callable[[int, int, str], None] = lambda done, whole, what: None,
) -> Scaling:
    """Train on one process and on several until the test accuracy is `target`, several times.

    What is measured takes turns, so that what slows the machine for a while slows all alike:
    in every round each fits once, in an order that the next round turns round. Round r has
    the r-th seed for all. Before that, each trains one epoch that does not count.

    Parameters
    ----------
    trainer
        Makes a new trainer from a seed.
    strategy
        Makes the strategy for P workers.
    train
        The data to learn.
    test
        The data on which the target is to be reached.
    serial
        The baseline. `Serial` in a process of its own has the threads of a worker, and is
        spared, as a worker is, what the calling process does with its reports.
    workers
        The numbers P. The serial run stands for P = 1, and the strategy with one worker is
        measured beside it.
    modes
        Which scaling to measure.
    batch_size
        Samples in a global batch under strong scaling, and for each worker under weak.
        The learning rate is the same in all.
    target
        The accuracy to reach, above 0 and at most 1.
    epochs
        After how many a run is given up.
    repeats
        How many rounds.
    shown
        Is told how many of how many fits are done, and what comes next.

    Raises
    ------
    InputError
        If a number is out of range or the data are too few for a batch; nothing has
        started then.
    """
    batch_size, repeats = whole("batch_size", batch_size), whole("repeats", repeats)
    epochs = whole("epochs", epochs, least=LEAST_EPOCHS)
    if not 0 < target <= 1:
        raise InputError(f"the target is an accuracy above 0 and at most 1, not {target}")
    cases: list[tuple[Mode, int, int, Strategy]] = [("one", 1, batch_size, serial)]
    for mode, count, size in _sizes(workers, modes, batch_size):
        if not count <= size <= len(train):
            raise InputError(
                f"{mode} scaling to {count} workers needs batches of {size}: at least "
                f"{count} samples, and at most the {len(train)} there are to train with"
            )
        cases.append((mode, count, size, strategy(count)))
    machine = Machine.here()
    ranks = [0] * len(cases)
    found: list[list[Fit]] = [[] for _ in cases]
    for turn in range(repeats + 1):
        places = range(len(cases))
        for index, place in enumerate(places if turn % 2 else reversed(places)):
            _, count, size, chosen = cases[place]
            what = f"round {turn} of {repeats}" if turn else "warm-up"
            done = turn * len(cases) + index
            shown(
                done,
                (repeats + 1) * len(cases),
                f"{what}: {chosen.name}, P = {count}, batches of {size}",
            )
            history = trainer(max(0, turn - 1)).fit(
                train,
                epochs=epochs if turn else 1,
                batch_size=size,
                validation=test,
                strategy=chosen,
                callbacks=[_until(target)],
                progress=False,
            )
            ranks[place] = len(history.traffic)
            if turn:
                found[place].append(_fit(history, target))
    rows = tuple(
        Measured(mode, chosen.name, count, ranks[place], size, tuple(found[place]), tuple(found[0]))
        for place, (mode, count, size, chosen) in enumerate(cases)
    )
    return Scaling(machine, target, epochs, len(train), len(test), rows)


def _sizes(
    workers: Sequence[int], modes: Sequence[Mode], batch_size: int
) -> Iterator[tuple[Mode, int, int]]:
    """For each case but the serial run: mode, workers, samples in a global batch."""
    known = ("strong", "weak")
    if not modes or not set(modes) <= {*known}:
        raise InputError(f"modes are among {', '.join(known)}, not {', '.join(modes) or 'none'}")
    counts = sorted({whole("workers", count) for count in workers} - {1})
    yield "one", 1, batch_size
    for mode in modes:
        for count in counts:
            yield mode, count, batch_size * (count if mode == "weak" else 1)


def _until(target: float) -> Callable[[Run], None]:
    """A callback that stops when the target was reached and there is enough to time."""

    def look(run: Run) -> None:
        run.figure("validation accuracy")  # or else says that the task has none
        if len(run.epochs) >= LEAST_EPOCHS and time_to_accuracy(run.epochs, target):
            run.stop(f"the test accuracy has reached {target:.2%}")

    return look


def _fit(history: History, target: float) -> Fit:
    records = history.epochs
    epochs, seconds = time_to_accuracy(records, target) or (None, None)
    return Fit(
        records[-1].samples / warm_seconds(records)[0],
        (records[-1].validation or {})["accuracy"],
        epochs,
        seconds,
        step_shares(history),
    )
