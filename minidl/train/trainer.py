"""The training call: one `fit` for every strategy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data import Dataset
from minidl.errors import CheckpointError, InputError, NotBuiltError
from minidl.nn import EVALUATE, Layer, Loss, Mode, ParameterBuffer, Shape
from minidl.optim import Optimizer
from minidl.runtime.requests import RankContext
from minidl.strategy import Event, Job, Serial, Strategy, Sums
from minidl.strategy.replica import EVALUATION_BATCH, Replica, score
from minidl.train import checkpoint as checkpoints
from minidl.train.collector import Collector
from minidl.train.history import History
from minidl.train.progress import Progress, showing, wanted

Data = Dataset | tuple[np.ndarray, np.ndarray]
"""A data set, or its inputs and targets."""


class Trainer:
    """A model, a loss to minimise and an optimizer to do it with.

    Parameters
    ----------
    model
        The network. Its parameters are made when the first data show their shape.
    loss
        Compares outputs with targets.
    optimizer
        The update rule.
    seed
        Decides initial weights, the order of the samples, and dropout.
    dtype
        ``"float32"`` or ``"float64"``.

    Attributes
    ----------
    epoch, step
        Epochs and steps done so far; a further `fit` continues from here.
    history
        The record of all fits.
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        seed: int = 0,
        dtype: np.typing.DTypeLike = "float32",
    ) -> None:
        for what, value, kind in (
            ("model", model, Layer),
            ("loss", loss, Loss),
            ("optimizer", optimizer, Optimizer),
        ):
            if not isinstance(value, kind):
                raise InputError(f"{what} must be a {kind.__name__}, not {type(value).__name__}")
        self.model, self.loss, self.optimizer, self.seed = model, loss, optimizer, seed
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise InputError(f"dtype must be float32 or float64, not {self.dtype}")
        self.epoch = 0
        self.step = 0
        self.history = History()
        self._buffer: ParameterBuffer | None = None
        self._slots: dict[str, np.ndarray] = {}
        self._input_shape: Shape | None = None

    def fit(
        self,
        train: Data,
        *,
        epochs: int,
        batch_size: int,
        validation: Data | None = None,
        strategy: Strategy | None = None,
        progress: bool | None = None,
    ) -> History:
        """Train, and leave the trained weights in the model.

        Parameters
        ----------
        train
            The data to learn.
        epochs
            How often to go through them, from where the last fit stopped.
        batch_size
            Samples for each update, together on all workers.
        validation
            Data to evaluate after every epoch.
        strategy
            Who computes what; `Serial` if None.
        progress
            Whether to show progress; if None, only where somebody can see it.

        Returns
        -------
        History
            The record of all fits of this trainer.

        Raises
        ------
        InputError
            If data, sizes and strategy do not fit each other; nothing has started then.
        NonFiniteError
            If the loss becomes NaN or infinite.
        WorkerError
            If a worker raises, dies or stops answering.

        Notes
        -----
        A fit that ends early, by an error or by Ctrl-C, leaves the model as it was
        after the last whole epoch.
        """
        strategy = Serial() if strategy is None else strategy
        if not isinstance(strategy, Strategy):
            raise InputError(f"strategy must be a Strategy, not {type(strategy).__name__}")
        for what, value in (("epochs", epochs), ("batch_size", batch_size)):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{what} must be a whole number of at least 1, not {value!r}")
        data, test = _dataset(train), None if validation is None else _dataset(validation)
        self._prepare(data.sample_shape)
        for part in (data,) if test is None else (data, test):
            self._check(part)
        job = self._job(data, test, epochs, batch_size)
        strategy.check(job)
        began = time.perf_counter()
        with showing(job, strategy.name, shown=wanted(progress)) as shown:
            self._run(job, strategy, shown)
        self.history.seconds = time.perf_counter() - began
        return self.history

    def evaluate(self, data: Data) -> dict[str, float]:
        """The mean loss and metrics over a data set, computed in this process."""
        dataset = _dataset(data)
        self._prepare(dataset.sample_shape)
        self._check(dataset)
        sums = Sums()
        job = self._job(dataset, None, 1, 1)
        for start in range(0, len(dataset), EVALUATION_BATCH):
            x, targets = dataset.batch(slice(start, start + EVALUATION_BATCH), self.dtype)
            sums += score(job, self.model.forward(x, EVALUATE)[0], targets)
        return sums.means()

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """The model's outputs for inputs of shape (N, ...), in evaluation mode."""
        x = np.asarray(inputs, self.dtype)
        self._prepare(x.shape[1:])
        parts = [
            self.model.forward(x[start : start + EVALUATION_BATCH], EVALUATE)[0]
            for start in range(0, len(x), EVALUATION_BATCH)
        ]
        if not parts:
            raise InputError("there is nothing to predict: inputs holds no samples")
        return np.concatenate(parts)

    def weights(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and running means, by name."""
        return {name: p.value.copy() for name, p in self._built().parameters.items()}

    def expected_bytes(
        self, train: Data, epochs: int, batch_size: int, strategy: Strategy
    ) -> Mapping[str, tuple[float, ...]]:
        """By operation, what each rank of a strategy sends in such a fit, by formula.

        `History.bytes_sent` of the fit itself is what was counted.
        """
        data = _dataset(train)
        self._prepare(data.sample_shape)
        return strategy.bytes_sent(self._job(data, None, epochs, batch_size))

    def save(self, path: str | Path) -> None:
        """Save weights, optimizer state, history and progress, to continue exactly.

        Parameters
        ----------
        path
            A safetensors file, replaced as a whole or not at all.
        """
        buffer = self._built()
        tensors = {f"model.{name}": p.value for name, p in buffer.parameters.items()}
        for name, place in self._learnt().items():
            for slot, values in self._slots.items():
                tensors[f"optimizer.{slot}.{name}"] = values[place]
        facts = {
            "seed": self.seed,
            "dtype": self.dtype.name,
            "epoch": self.epoch,
            "step": self.step,
            "input_shape": self._input_shape,
            "optimizer": repr(self.optimizer),
            "history": self.history.to_json(),
        }
        checkpoints.write(Path(path), checkpoints.Checkpoint(tensors, facts))

    def load(self, path: str | Path) -> None:
        """Continue from a checkpoint: a further fit equals the one never interrupted.

        Raises
        ------
        CheckpointError
            If the file cannot be read or was saved by a trainer of another model,
            optimizer, seed or dtype. The trainer is unchanged then.
        """
        saved = checkpoints.read(Path(path))
        facts = saved.facts
        for what, mine in (
            ("seed", self.seed),
            ("dtype", self.dtype.name),
            ("optimizer", repr(self.optimizer)),
        ):
            if facts[what] != mine:
                raise CheckpointError(
                    f"{path} was saved with {what} {facts[what]}, and this trainer has {mine}"
                )
        self._prepare(tuple(facts["input_shape"]))
        buffer = self._built()
        targets: dict[str, np.ndarray] = {
            f"model.{name}": p.value for name, p in buffer.parameters.items()
        }
        for name, place in self._learnt().items():
            for slot, values in self._slots.items():
                targets[f"optimizer.{slot}.{name}"] = values[place]
        _require_same(path, saved.tensors, targets)
        for name, target in targets.items():
            target[...] = saved.tensors[name]
        self.epoch, self.step = int(facts["epoch"]), int(facts["step"])
        self.history = History.from_json(facts["history"])

    def _prepare(self, sample_shape: Shape) -> None:
        """Build the model for inputs of this shape; draw its weights the first time."""
        if self._buffer is None:
            self._buffer = self.model.initialise(sample_shape, seed=self.seed, dtype=self.dtype)
            self._slots = {
                name: np.zeros(self._buffer.trainable, self.dtype) for name in self.optimizer.slots
            }
            self._input_shape = sample_shape
        else:
            self.model.build(sample_shape)

    def _built(self) -> ParameterBuffer:
        if self._buffer is None:
            raise NotBuiltError(
                "the model has no weights yet: fit, evaluate or load first, which show its input"
            )
        return self._buffer

    def _learnt(self) -> dict[str, slice]:
        buffer = self._built()
        return {n: place for n, place in buffer.index.items() if buffer.parameters[n].trainable}

    def _check(self, dataset: Dataset) -> None:
        self.loss.check(self.model.build(dataset.sample_shape), dataset.targets)

    def _job(
        self, train: Dataset, validation: Dataset | None, epochs: int, batch_size: int
    ) -> Job:
        buffer = self._built()
        return Job(
            model=self.model,
            loss=self.loss,
            optimizer=self.optimizer,
            train=train,
            validation=validation,
            batch_size=batch_size,
            seed=self.seed,
            dtype=self.dtype,
            epochs=range(self.epoch, self.epoch + epochs),
            first_step=self.step,
            index=dict(buffer.index),
            trainable=buffer.trainable,
        )

    def _run(self, job: Job, strategy: Strategy, shown: Progress) -> None:
        collector = Collector(job, strategy.name)

        def listen(rank: int, event: Event) -> None:
            step, record = collector.add(event)
            if step is not None:
                shown.step(step)
            if record is not None:
                shown.epoch(record)

        state = self._state()
        with self._lent():
            shown.stage("preparing kernels (compiled at their first use, then kept on disk)")
            _warm_up(job, state)
            shown.stage("training")
            try:
                outcome = strategy.run(job, state, listen)
                self.history.traffic, self.history.trace = outcome.traffic, outcome.trace
            finally:
                self._take_over(job, state[collector.slot], collector)

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """Within the block the model's parameters belong to whoever trains it."""
        buffer = self._built()
        values, grads = buffer.values, buffer.grads
        for parameter in buffer.parameters.values():
            parameter.value = parameter.grad = None
        try:
            yield
        finally:
            buffer.bind(values, grads)

    def _state(self) -> np.ndarray:
        """Two copies of weights and optimizer slots; see `Strategy.run`."""
        buffer = self._built()
        state = np.zeros((2, 1 + len(self._slots), len(buffer)), self.dtype)
        state[:, 0] = buffer.values
        for row, slot in enumerate(self._slots.values(), start=1):
            state[:, row, : buffer.trainable] = slot
        return state

    def _take_over(self, job: Job, state: np.ndarray, collector: Collector) -> None:
        """Go on from the last epoch that is whole."""
        buffer, done = self._built(), collector.records
        buffer.values[...] = state[0]
        for row, slot in enumerate(self._slots.values(), start=1):
            slot[...] = state[row, : buffer.trainable]
        steps = len(done) * job.loader().steps
        self.history.losses += [
            loss for step, loss in sorted(collector.losses.items()) if step < self.step + steps
        ]
        self.history.epochs += done
        self.epoch += len(done)
        self.step += steps


def _dataset(data: Data | Any) -> Dataset:
    if isinstance(data, Dataset):
        return data
    if isinstance(data, tuple) and len(data) == 2:
        return Dataset(np.asarray(data[0]), np.asarray(data[1]))
    raise InputError(f"data must be a Dataset or (inputs, targets), not {type(data).__name__}")


def _warm_up(job: Job, state: np.ndarray) -> None:
    """Run a step on two samples, on a copy, so that all kernels are compiled and on disk.

    Otherwise every worker would compile them at the same time.
    """
    context = RankContext(0, 1, {"state": state})
    replica = Replica(job, context)
    rows = np.arange(min(2, len(job.train)))
    x, targets = job.train.batch(rows, job.dtype)
    mode = Mode(True, job.seed, 0, 0, len(rows))
    outputs, saved = replica.model.forward(x, mode)
    losses, loss_saved = job.loss.forward(outputs, targets)
    replica.model.backward(job.loss.backward(np.ones_like(losses), loss_saved), saved)
    replica.update(0)


def _require_same(
    path: str | Path, found: Any, wanted: dict[str, np.ndarray]
) -> None:
    """Refuse tensors whose names, shapes or dtypes are not those wanted."""
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or extra:
        raise CheckpointError(
            f"{path} was saved for another model: missing {missing[:5]}, not known here {extra[:5]}"
        )
    for name, target in wanted.items():
        array = found[name]
        if array.shape != target.shape or array.dtype != target.dtype:
            raise CheckpointError(
                f"{path}: {name} is {array.dtype} of shape {array.shape}, "
                f"not {target.dtype} of shape {target.shape}"
            )
