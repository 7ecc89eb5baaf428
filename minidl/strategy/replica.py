"""One rank's copy of a model, or of some layers of it: gradients, update, state."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from minidl import kernels
from minidl.data import Batch, in_order
from minidl.errors import NonFiniteError
from minidl.nn import Layer, Mode, Parameter, ParameterBuffer, parts_of, synchronised
from minidl.optim import LossScale, Optimizer
from minidl.plans import split
from minidl.runtime.conversation import conversation
from minidl.runtime.requests import RankContext, Request, Requests
from minidl.strategy.job import Job
from minidl.tasks import Phase, Sums


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
    names
        Which of its parameters live here; all if None. The others are then seen as they were
        when the ranks that hold them last committed.

    Attributes
    ----------
    buffer
        The parameters that live here and change, and their gradients.
    frozen
        The frozen ones of the model, which no step touches and nobody sends.
    """

    def __init__(
        self,
        job: Job,
        context: RankContext,
        model: Layer | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.job = job
        self.trace = context.trace
        self.model = job.model if model is None else model
        self.loss_scale = None if job.precision is None else LossScale(job.precision)
        self._shared, self._verdict = context.shared["state"], context.shared["verdict"]
        everything = self.model.parameters()
        frozen = {name: each for name, each in everything.items() if name in job.frozen}
        parameters = {name: each for name, each in everything.items() if name not in frozen}
        if names is not None:
            for name, parameter in parameters.items():
                parameter.bind(self._shared[0, job.index[name]].reshape(parameter.shape), None)
            parameters = {name: parameters[name] for name in names if name in parameters}
        if self.loss_scale is not None:
            parameters = with_loss_scale(parameters, self.loss_scale)
        self.home: Any = kernels.home_of(job.device)
        self.buffer = ParameterBuffer(parameters, job.dtype, self.home)
        self.frozen = ParameterBuffer(frozen, job.dtype, self.home)
        for name, place in self.frozen.index.items():
            self.frozen.values[place] = self.home.asarray(self._shared[0, job.frozen[name]])
        if self.loss_scale is not None:  # weights come first, before running means
            weights = sum(each.size for each in frozen.values() if each.has_gradient)
            self._frozen_half = self.frozen.values[:weights].astype(np.float16)
        self.slots = {
            name: self.home.zeros(self.buffer.trainable, job.dtype) for name in job.optimizer.slots
        }
        self._optimizer = job.optimizer, 1.0
        for row, mine, theirs in self._places():
            row[mine] = self.home.asarray(self._shared[theirs])

    def _places(self) -> Iterator[tuple[np.ndarray, slice, tuple[int, slice]]]:
        """Where each parameter and its optimizer slots lie here, and in the shared state."""
        learnt = self.buffer.places
        for name, mine in self.buffer.index.items():
            theirs = self.job.index[name]
            yield self.buffer.values, mine, (0, theirs)
            if name in learnt:
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
            if not self.home.isfinite(self.buffer.values[mine]).all():
                raise NonFiniteError(
                    f"{name} is not finite after step {self.trace.step}: its update made it NaN "
                    "or infinite. A lower learning rate often helps."
                )
        for row, mine, theirs in self._places():
            self._shared[theirs] = kernels.on_host(row[mine])

    def gradients(
        self,
        phase: Phase,
        batch: Batch,
        step: int,
        pause: Callable[[], None] | None = None,
    ) -> Sums:
        """Add the gradients of this slice of a batch; returns its losses and metrics.

        `pause` is called between layers; what it raises ends the pass.
        """
        if not len(batch.x):
            return Sums()
        mode = replace(self.mode(step, batch.first, batch.size), pause=pause)
        with self.computing():
            return self.job.task.gradients(phase, self.model, self._input(batch), mode, self.trace)

    def gradients_together(
        self,
        phase: Phase,
        batch: Batch,
        step: int,
        add_up: Callable[[np.ndarray], Requests],
        listen: Callable[[Callable[[Requests], Any]], None] | None = None,
    ) -> Generator[Request, Any, Sums]:
        """As `gradients`, on ranks that share a batch: layers may need sums over all of them.

        Parameters
        ----------
        phase
            As for `gradients`.
        batch
            As for `gradients`. A rank whose slice is empty takes part in the sums, too.
        step
            As for `gradients`.
        add_up
            Makes the requests that leave in an array its sum over all ranks.
        listen
            Is given, before the pass, what carries out requests in the middle of it.
        """
        meets = synchronised(self.model)
        if listen is None and not meets:
            return self.gradients(phase, batch, step)

        def compute(ask: Callable[[Requests], Any]) -> Sums:
            if listen is not None:
                listen(ask)
            if not meets:
                return self.gradients(phase, batch, step)

            def total(array: np.ndarray) -> np.ndarray:
                summed = np.array(array)
                ask(add_up(summed))
                return summed

            mode = replace(self.mode(step, batch.first, batch.size), total=total)
            batch_here = self._input(batch)
            with self.computing():
                return self.job.task.gradients(phase, self.model, batch_here, mode, self.trace)

        return (yield from conversation(compute))

    def score(self, batch: Batch) -> Sums:
        """Losses and metrics of a slice of a data set, in full precision."""
        x, y = self.home.asarray(batch.x), self.home.asarray(batch.y)
        return self.job.task.score(self.model, replace(batch, x=x, y=y))

    def mode(self, step: int, first: int, batch_size: int) -> Mode:
        """The mode of a training pass."""
        scale = 1.0 if self.loss_scale is None else self.loss_scale.scale
        return Mode(True, self.job.seed, step, first, batch_size, scale=scale)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Within the block the model computes: in mixed precision, with weights of float16.

        The gradients that it found there are added to those gathered. They are float32 there
        too, and running means are what they are: sums of many numbers need the range.
        """
        if self.loss_scale is None:
            yield
            return
        learnt = self.buffer.trainable
        found = self.home.zeros(learnt, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found at the update
            halves = self.buffer.values[:learnt].astype(np.float16)
            with (
                self.buffer.borrowed(halves, found),
                self.frozen.borrowed(self._frozen_half, self.frozen.grads),
            ):
                yield
            found /= np.float32(self.loss_scale.scale)
            # NaN and not infinity, for sums over ranks: opposite infinities would be an error.
            self.buffer.grads[:learnt] += self.home.where(self.home.isfinite(found), found, np.nan)

    def _input(self, batch: Batch) -> Batch:
        """A batch where, and in the precision in which, the model computes."""
        x, y = self.home.asarray(batch.x), self.home.asarray(batch.y)
        if x.dtype.kind == "f":
            x = x.astype(self.job.compute_dtype, copy=False)
        return replace(batch, x=x, y=y)

    @property
    def optimizer(self) -> Optimizer:
        """The job's optimizer, as fast as the caller wants it by now."""
        rate = float(self._verdict[1])
        if rate != self._optimizer[1]:
            self._optimizer = self.job.optimizer.slowed(rate), rate
        return self._optimizer[0]

    def part(self, vector: np.ndarray, phase: Phase) -> np.ndarray:
        """What a phase exchanges of a vector: of what it learns, and of its running means.

        A view where the two adjoin, as they do when the whole model learns.
        """
        learnt, means = self.buffer.spans(phase.path)
        if learnt.stop == means.start:
            return vector[learnt.start : means.stop]
        return np.concatenate((vector[learnt], vector[means]))

    def store(self, vector: np.ndarray, phase: Phase, part: np.ndarray) -> None:
        """Put back into a vector what `part` gave of it, and others have changed."""
        learnt, means = self.buffer.spans(phase.path)
        if not np.may_share_memory(vector, part):
            count = learnt.stop - learnt.start
            vector[learnt], vector[means] = part[:count], part[count:]

    def take_in(self, found: np.ndarray, size: int, samples: int, trust: float) -> None:
        """Add the gradient of a mini-batch, one of those that make an update.

        Parameters
        ----------
        found
            Part of the mean over a global batch; changed.
        size
            Samples in that global batch.
        samples
            Samples in the update.
        trust
            What the optimizer weighs the gradient with. Running means, which are none, are
            not weighed, or they would follow smaller numbers than the batches'.
        """
        learnt = self.buffer.trainable
        if not samples:  # nothing was seen, and running means stay where they are
            self.buffer.grads[learnt:] = self.buffer.values[learnt:]
            return
        share = size / samples
        for part, weight in ((found[:learnt], share * trust), (found[learnt:], share)):
            if weight != 1:
                part *= found.dtype.type(weight)
        self.buffer.grads += found

    def squares_since(self, values: np.ndarray) -> float:
        """How far, squared, the weights held here have moved since they were these values."""
        learnt = self.buffer.trainable
        return float(np.sum((self.buffer.values[:learnt] - values[:learnt]) ** 2))

    def squares(self, phase: Phase) -> float:
        """The sum of squares of the gradients gathered on this rank."""
        grads = self.buffer.grads[self.buffer.spans(phase.path)[0]]
        return float(kernels.of(grads).sum_of_squares(grads))

    def update(self, phase: Phase, squares: float | None = None) -> None:
        """One update with the gradients gathered; all gradients are then cleared.

        Parameters
        ----------
        phase
            What learns.
        squares
            The sum of squares of the whole phase's gradients, if the optimizer needs
            their norm and this rank has only a part of them.
        """
        with self.trace.span("update"):
            learnt, _ = self.buffer.spans(phase.path)
            number = phase.update
            if self.loss_scale is not None:
                overflow = not math.isfinite(self.squares(phase) if squares is None else squares)
                self.loss_scale.follow(overflow=overflow)
                if overflow:
                    self.buffer.grads[...] = 0
                    return
                number -= self.loss_scale.skipped
            norm = math.nan
            if self.job.optimizer.needs_norm:
                norm = math.sqrt(self.squares(phase) if squares is None else squares)
            places = parts_of(self.buffer.places, phase.path)
            self.optimizer.update(
                self.buffer.values[learnt],
                self.buffer.grads[learnt],
                {name: slot[learnt] for name, slot in self.slots.items()},
                number,
                {
                    n: slice(p.start - learnt.start, p.stop - learnt.start)
                    for n, p in places.items()
                },
                norm,
            )
            self.buffer.follow_means(phase.path)
            self.buffer.grads[...] = 0


def evaluate_share(replica: Replica, rank: int, size: int) -> Sums:
    """The sums over one of `size` nearly equal shares of the validation data."""
    validation, sums = replica.job.validation, Sums()
    if validation is None:
        return sums
    share = split(len(validation), size)[rank]
    with replica.trace.span("evaluate"):
        for batch in in_order(validation, replica.job.dtype, share):
            sums += replica.score(batch)
    return sums


def with_loss_scale(parameters: dict[str, Parameter], scale: LossScale) -> dict[str, Parameter]:
    """A model's parameters, and beside them the scale of mixed precision."""
    return {**parameters, "loss_scale": scale}
