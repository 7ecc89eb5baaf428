"""One rank's copy of a model, or of some layers of it: gradients, update, state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl import kernels
from minidl.data import Batch
from minidl.errors import NonFiniteError
from minidl.nn import EVALUATE, Layer, Mode, ParameterBuffer
from minidl.plans import split
from minidl.runtime.requests import RankContext
from minidl.strategy.job import Job, Sums


class Replica:
    """A model on one rank, with the vectors that its optimizer works on.

    Parameters
    ----------
    job
        What is to be trained.
    context
        The rank. Its shared array ``"state"`` holds the state that training starts from.
    model
        The part of the job's model that lives on this rank; all of it if None.
    """

    def __init__(self, job: Job, context: RankContext, model: Layer | None = None) -> None:
        self.job = job
        self.trace = context.trace
        self.model = job.model if model is None else model
        self.buffer = ParameterBuffer(self.model.parameters(), job.dtype)
        self.slots = {
            name: np.zeros(self.buffer.trainable, job.dtype) for name in job.optimizer.slots
        }
        self._shared = context.shared["state"]
        for row, mine, theirs in self._places():
            row[mine] = self._shared[theirs]

    def _places(self) -> Iterator[tuple[np.ndarray, slice, tuple[int, slice]]]:
        """Where each parameter and its optimizer slots lie here, and in the shared state."""
        for name, mine in self.buffer.index.items():
            theirs = self.job.index[name]
            yield self.buffer.values, mine, (0, theirs)
            if self.buffer.parameters[name].trainable:
                for row, slot in enumerate(self.slots.values(), start=1):
                    yield slot, mine, (row, theirs)

    def commit(self) -> None:
        """Write this rank's part of the state at the end of an epoch.

        By then the caller has fetched the state that stood there: see `Epoch.done`.

        Raises
        ------
        NonFiniteError
            If a parameter is NaN or infinite, which the next step's loss would show.
        """
        for name, mine in self.buffer.index.items():
            if not np.isfinite(self.buffer.values[mine]).all():
                raise NonFiniteError(
                    f"{name} is not finite after step {self.trace.step}: its update made it NaN "
                    "or infinite. A lower learning rate often helps."
                )
        for row, mine, theirs in self._places():
            self._shared[theirs] = row[mine]

    def gradients(self, batch: Batch, step: int) -> Sums:
        """Add the gradients of this slice of a batch; returns its losses and metrics."""
        if not len(batch.x):
            return Sums()
        mode = self.mode(step, batch.first, batch.size)
        with self.trace.span("forward"):
            outputs, saved = self.model.forward(batch.x, mode)
            doutputs, sums = self.loss_gradient(batch.x, outputs, batch.y, mode)
        with self.trace.span("backward"):
            self.model.backward(doutputs, saved)
        return sums

    def mode(self, step: int, first: int, batch_size: int) -> Mode:
        """The mode of a training pass."""
        return Mode(True, self.job.seed, step, first, batch_size)

    def loss_gradient(
        self, x: np.ndarray, outputs: np.ndarray, targets: np.ndarray, mode: Mode
    ) -> tuple[np.ndarray, Sums]:
        """The gradient of the batch's mean loss by `outputs`, and these samples' sums."""
        losses, saved = self.job.loss.forward(outputs, targets)
        total = float(losses.sum())
        if not math.isfinite(total):
            raise non_finite(self.model, x, mode)
        metrics = self.job.loss.metrics(outputs, targets)
        values = {"loss": total} | {name: float(m.sum()) for name, m in metrics.items()}
        upstream = np.full(len(losses), 1.0 / mode.batch_size, losses.dtype)
        return self.job.loss.backward(upstream, saved), Sums(len(losses), values)

    def squares(self) -> float:
        """The sum of squares of the gradients gathered on this rank."""
        grads = self.buffer.grads[: self.buffer.trainable]
        return float(kernels.of(grads).sum_of_squares(grads))

    def update(self, step: int, squares: float | None = None) -> None:
        """One optimizer step with the gradients gathered, which are then cleared.

        Parameters
        ----------
        step
            The step's number in the run.
        squares
            The sum of squares of the whole model's gradients, if the optimizer needs
            their norm and this rank has only a part of them.
        """
        with self.trace.span("update"):
            learnt = slice(0, self.buffer.trainable)
            norm = math.nan
            if self.job.optimizer.needs_norm:
                norm = math.sqrt(self.squares() if squares is None else squares)
            self.job.optimizer.update(
                self.buffer.values[learnt],
                self.buffer.grads[learnt],
                self.slots,
                step,
                self.buffer.places,
                norm,
            )
            self.buffer.follow_means()
            self.buffer.grads[...] = 0

    def evaluate(self, x: np.ndarray, targets: np.ndarray) -> Sums:
        """Losses and metrics of some samples, without gradients."""
        outputs, _ = self.model.forward(x, EVALUATE)
        return score(self.job, outputs, targets)


def score(job: Job, outputs: np.ndarray, targets: np.ndarray) -> Sums:
    """The summed loss and metrics of a model's outputs."""
    losses, _ = job.loss.forward(outputs, targets)
    metrics = job.loss.metrics(outputs, targets)
    return Sums(
        len(losses),
        {"loss": float(losses.sum())} | {name: float(m.sum()) for name, m in metrics.items()},
    )


def evaluate_share(replica: Replica, rank: int, size: int) -> Sums:
    """The sums over one of `size` nearly equal shares of the validation data."""
    validation, sums = replica.job.validation, Sums()
    if validation is None:
        return sums
    share = split(len(validation), size)[rank]
    with replica.trace.span("evaluate"):
        for start in range(share.start, share.stop, EVALUATION_BATCH):
            rows = np.arange(start, min(start + EVALUATION_BATCH, share.stop))
            sums += replica.evaluate(*validation.batch(rows, replica.job.dtype))
    return sums


EVALUATION_BATCH = 256


def non_finite(model: Layer, x: np.ndarray, mode: Mode) -> NonFiniteError:
    """The error for a loss that is NaN or infinite, naming the layer where it began.

    The forward pass is run again with every innermost layer watched.
    """
    where = "in the loss itself: every layer's output is finite"
    if not np.isfinite(x).all():
        where = "in the input of the model"
    else:
        with np.errstate(all="ignore"), _watched(model) as found:
            model.forward(x, mode)
        if found:
            where = f"in the output of {found[0]}"
    return NonFiniteError(
        f"the loss is not finite at step {mode.step}: NaN or infinity first appears {where}. "
        "A lower learning rate often helps."
    )


@contextmanager
def _watched(model: Layer) -> Iterator[list[str]]:
    """Within the block, list every innermost layer that turns finite input into NaN or infinity."""
    found: list[str] = []

    def watching(layer: Layer, forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(x: np.ndarray, mode: Mode) -> tuple[np.ndarray, Any]:
            y, saved = forward(x, mode)
            if not np.isfinite(y).all():
                found.append(layer.describe())
            return y, saved

        return watched

    innermost = [layer for _, layer in model.walk() if not any(True for _ in layer.children())]
    try:
        for layer in innermost:
            layer.__dict__["forward"] = watching(layer, layer.forward)
        yield found
    finally:
        for layer in innermost:
            layer.__dict__.pop("forward", None)
