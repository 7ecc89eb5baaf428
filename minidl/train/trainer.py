"""The training call: one `fit` for every strategy."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import numpy as np

from minidl import files
from minidl.checks import fits, naming, whole
from minidl.checks import path as path_of
from minidl.data import Dataset, GrowingBatch, in_order
from minidl.errors import (
    CheckpointError,
    FitInterrupted,
    InputError,
    NotBuiltError,
    ShapeError,
    warn,
)
from minidl.nn import EVALUATE, Layer, Loss, Shape
from minidl.optim import MixedPrecision, Optimizer
from minidl.reprs import short
from minidl.strategy import Job, Serial, Strategy
from minidl.tasks import Sums, Supervised, Task
from minidl.train import checkpoint as checkpoints
from minidl.train import history_file
from minidl.train.callback_states import States, split
from minidl.train.callbacks import Callbacks, as_callbacks
from minidl.train.described import described, shown
from minidl.train.fitting import Fit
from minidl.train.history import Counts, EpochRecord, History
from minidl.train.history_file import HistoryFile
from minidl.train.inputs import Data, unlabelled
from minidl.train.inputs import dataset as as_dataset
from minidl.train.learnt import Learnt, declared, tensor_shapes
from minidl.train.progress import showing, wanted
from minidl.train.threads import one_at_a_time, require_free

A = ParamSpec("A")
R = TypeVar("R")


def _interruptible(fit: Callable[Concatenate[Any, A], R]) -> Callable[Concatenate[Any, A], R]:
    """Ctrl-C anywhere in a fit says what has been kept."""

    @functools.wraps(fit)
    def interruptible(self: Any, /, *args: A.args, **kwargs: A.kwargs) -> R:
        before = self.epoch
        try:
            return fit(self, *args, **kwargs)
        except KeyboardInterrupt:
            raise FitInterrupted(
                f"fit interrupted: {self.epoch - before} of {kwargs.get('epochs')} epochs are "
                "done and kept; fit again to go on from there"
            ) from None

    return interruptible


class Trainer:
    """A model, a loss to minimise and an optimizer to do it with.

    Parameters
    ----------
    model
        The network. Its parameters are made when the first data show their shape;
        those that have been trained already keep their values. Between two fits layers may
        be replaced, added, removed, frozen and so on: what stays keeps its values and what
        the optimizer remembers of it, and what is new begins afresh.
    loss
        Compares outputs with targets; or another `Task` than to bring these together.
    optimizer
        The update rule.
    seed
        Decides initial weights, the order of the samples, and dropout.
    dtype
        ``"float32"`` or ``"float64"``.
    precision
        `MixedPrecision` computes in float16 while weights stay float32. Processors
        without float16 arithmetic are slower that way, which a warning says at fit.

    Attributes
    ----------
    epoch
        Epochs done so far; a further `fit` continues from here.
    step
        Steps done so far.
    rate
        What learning rates are multiplied with; callbacks lower it.
    history
        The record of all fits.
    callback_states
        What callbacks remember for a further fit; see `Callback`. Clear it to let them begin
        anew.
    """

    def __repr__(self) -> str:
        count = sum(p.size for p in self.model.parameters().values() if p.has_gradient)
        model = (
            f"{type(self.model).__name__} with {count:,} parameters"
            if count
            else (f"{type(self.model).__name__}, not built yet")
        )
        return (
            f"Trainer({model}, {short(self.task)}, {short(self.optimizer)}, seed={self.seed}, "
            f"dtype={self.dtype}, {self.epoch} epochs and {self.step} steps trained)"
        )

    def __init__(
        self,
        model: Layer,
        loss: Loss | Task,
        optimizer: Optimizer,
        *,
        seed: int = 0,
        dtype: np.typing.DTypeLike = "float32",
        precision: MixedPrecision | None = None,
    ) -> None:
        for what, value, kinds in (
            ("model", model, (Layer,)),
            ("loss", loss, (Loss, Task)),
            ("optimizer", optimizer, (Optimizer,)),
        ):
            if not isinstance(value, kinds):
                wanted = " or ".join(kind.__name__ for kind in kinds)
                raise InputError(f"{what} must be a {wanted}, not {type(value).__name__}")
        self.model, self.optimizer = model, optimizer
        self.task = Supervised(loss) if isinstance(loss, Loss) else loss
        self.seed = whole("seed", seed, least=0, most=inf)
        if not fits(dtype, np.typing.DTypeLike) or np.dtype(dtype) not in (np.float32, np.float64):
            raise InputError(f"dtype must be float32 or float64, not {dtype}")
        self.dtype = np.dtype(dtype)
        self.precision = precision
        if precision is not None:
            self._check_precision()
        self.epoch = 0
        self.step = 0
        self.rate = 1.0
        self.history = History()
        self.callback_states: dict[str, dict[str, Any]] = {}
        self._unseen: tuple[str, ...] = ()  # callbacks that have not seen the last epoch
        self._history_file = HistoryFile()
        self._learnt: Learnt | None = None

    def _check_precision(self) -> None:
        if not isinstance(self.precision, MixedPrecision):
            raise InputError(f"precision must be MixedPrecision or None, not {self.precision!r}")
        if self.dtype != np.float32:
            raise InputError(f"mixed precision keeps weights in float32, not {self.dtype}")
        if not isinstance(self.task, Supervised):
            raise InputError(
                f"mixed precision is for supervised tasks, not for {type(self.task).__name__}"
            )

    @_interruptible
    @one_at_a_time
    def fit(
        self,
        train: Data | np.ndarray,
        targets: np.ndarray | None = None,
        *,
        epochs: int,
        batch_size: int | GrowingBatch,
        validation: Data | None = None,
        strategy: Strategy | None = None,
        callbacks: Callbacks = (),
        clock: Literal["real", "virtual"] = "real",
        progress: bool | None = None,
    ) -> History:
        """Train, and leave the trained weights in the model.

        Parameters
        ----------
        train
            The data to learn: a `Dataset`, ``(inputs, targets)``, or the inputs alone.
        targets
            If `train` are inputs alone, what belongs to them.
        epochs
            How often to go through them, from where the last fit stopped.
        batch_size
            Samples for each update, together on all workers; `GrowingBatch` for one that grows.
        validation
            Data to evaluate after every epoch.
        strategy
            Who computes what; `Serial` if None.
        callbacks
            Called after every epoch, in this order: a `Callback`, or a function of the `Run`.
            One alone needs no list.
        clock
            ``"virtual"`` computes the same gradients in this process, at simulated times,
            which the history's figures have as ``"time"``.
        progress
            Whether to show progress; if None, only where somebody can see it.

        Returns
        -------
        History
            The record of all fits of this trainer.

        Raises
        ------
        InputError
            If data, sizes and strategy do not fit each other, or another fit of the model is
            under way; nothing has started then.
        NonFiniteError
            If the loss becomes NaN or infinite.
        WorkerError
            If a worker raises, dies or stops answering.
        FitInterrupted
            At Ctrl-C. It is a `KeyboardInterrupt`, whose message says what has been kept.

        Notes
        -----
        A fit that ends early, by an error or by Ctrl-C, leaves the model as it was
        after the last epoch that all workers have reported.
        """
        strategy = Serial() if strategy is None else strategy
        if not isinstance(strategy, Strategy):
            raise InputError(f"strategy must be a Strategy, not {type(strategy).__name__}")
        if not fits(clock, Literal["real", "virtual"]):
            raise InputError(f"clock is 'real' or 'virtual', not {clock!r}")
        if clock == "virtual":
            strategy = strategy.in_virtual_time()
        if self.precision is not None and strategy.device == "cpu":
            warn(
                "mixed precision computes in float16, for which this processor has no arithmetic "
                "and goes through float32: it is slower here than float32 itself"
            )
        epochs, batch_size = whole("epochs", epochs), _batch_size(batch_size)
        if not isinstance(progress, bool | None):
            raise InputError(f"progress must be True, False or None, not {progress!r}")
        hooks = as_callbacks(callbacks)
        data = self._taken(as_dataset("train", train, targets))
        test = None if validation is None else self._taken(as_dataset("validation", validation))
        with self._prepared(data.sample_shape, "train"):
            data = self._checked(data)
            test = None if test is None else self._checked(test)
            job = strategy.paced(self._job(data, test, epochs, batch_size))
            strategy.check(job)
        with showing(job, strategy.name, shown=wanted(progress)) as shown:
            self._carry_out(
                Fit(
                    job,
                    strategy,
                    self._existing(),
                    hooks,
                    shown,
                    self._save_under_way,
                    self.callback_states,
                    self._unseen,
                    self._last_record(),
                )
            )
        return self.history

    def evaluate(
        self, data: Data | np.ndarray, targets: np.ndarray | None = None
    ) -> dict[str, float]:
        """The mean loss and metrics over a data set, computed in this process.

        Parameters
        ----------
        data
            As `train` of `fit`.
        targets
            As `targets` of `fit`.
        """
        dataset = self._taken(as_dataset("data", data, targets))
        with self._prepared(dataset.sample_shape, "data"):
            dataset = self._checked(dataset)
        sums = Sums()
        for batch in in_order(dataset, self.dtype):
            sums += self.task.score(self.model, batch)
        return sums.means()

    def predict(self, inputs: Dataset | np.ndarray) -> np.ndarray:
        """The model's outputs for some inputs, in evaluation mode.

        Parameters
        ----------
        inputs
            A data set, whose targets are not looked at, or an array of shape (N, ...).
        """
        data = self._taken(unlabelled(inputs))
        with self._prepared(data.sample_shape, "inputs"):
            parts = [self.model.forward(b.x, EVALUATE)[0] for b in in_order(data, self.dtype)]
        return np.concatenate(parts)

    def weights(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and running means, by name."""
        self._existing()
        return {name: p.value.copy() for name, p in self.model.parameters().items()}

    def expected_bytes(
        self, train: Data, epochs: int, batch_size: int | GrowingBatch, strategy: Strategy
    ) -> Mapping[str, tuple[float, ...]]:
        """By operation, what each rank of a strategy sends in such a fit, by formula.

        `History.bytes_sent` of the fit itself is what was counted.

        Raises
        ------
        InputError
            If the strategy would refuse the fit.
        """
        epochs, batch_size = whole("epochs", epochs), _batch_size(batch_size)
        if not isinstance(strategy, Strategy):
            raise InputError(f"strategy must be a Strategy, not {type(strategy).__name__}")
        data = self._taken(as_dataset("train", train))
        with self._prepared(data.sample_shape, "train"):
            job = self._job(data, None, epochs, batch_size)
            strategy.check(job)
            return strategy.bytes_sent(job)

    def save(self, path: str | Path) -> None:
        """Save weights, optimizer state, history and progress, to continue exactly.

        Parameters
        ----------
        path
            A safetensors file, replaced as a whole or not at all. The history lies beside it,
            in ``<path>.<8 digits>.history``; without that file the checkpoint can be loaded all
            the same. Through a symbolic link, the file that it points to is replaced.

        Raises
        ------
        NonFiniteError
            If the weights are not finite. What was saved before remains.
        """
        learnt = self._existing()
        self._write(
            path_of("save: path", path),
            learnt,
            learnt.state(),
            (self.epoch, self.step, self.rate),
            self.history.since,
            self.callback_states,
            self._unseen,
        )

    def _save_under_way(self, path: Path, fit: Fit) -> None:
        collector, before = fit.collector, self.history

        def since(counts: Counts) -> History:
            """The records of earlier fits and of this one, but for so many of the first."""
            here = collector.since(max(0, counts.epochs - len(before.epochs)))
            return before.since(counts) + here

        self._write(
            path,
            fit.learnt,
            collector.kept[1],
            (self.epoch + collector.kept[0], self.step + collector.steps, fit.run.rate),
            since,
            fit.states(),
            fit.unseen(),
        )

    def _write(
        self,
        path: Path,
        learnt: Learnt,
        state: np.ndarray,
        progress: tuple[int, int, float],
        since: Callable[[Counts], History],
        states: States,
        unseen: tuple[str, ...],
    ) -> None:
        path = files.resolved(path)
        plain, arrays = split(states)
        written = self._history_file.written
        with files.writing(path), written(path, self.history, since) as extent:
            facts = checkpoints.Facts(
                self.seed,
                self.dtype.name,
                described(self.optimizer),
                learnt.shape,
                *progress,
                extent,
                plain,
                tuple(learnt.buffer.frozen),
                unseen,
            )
            checkpoints.write(path, checkpoints.Checkpoint(learnt.tensors(state) | arrays, facts))

    def load(self, path: str | Path) -> None:
        """Continue from a checkpoint: a further fit equals the one never interrupted.

        A checkpoint is no part of a strategy: what `TopK` kept back, and where the learners
        of an asynchronous server were, ends with every fit. What callbacks remember is part of
        it, and so is which of them have not seen the last epoch, see `Callback`. A fit that a
        callback stopped has ended, and is not continued. What is frozen must be frozen here too:
        freeze or unfreeze other layers after `load`.

        Raises
        ------
        CheckpointError
            If the file cannot be read or was saved by a trainer of another model,
            optimizer, seed or dtype. The trainer is unchanged then.

        Warns
        -----
        UserWarning
            If the history that belongs to the checkpoint is missing; it then begins anew, and
            callbacks that have not seen the last epoch are not shown it.
        """
        path = path_of("load: path", path)
        require_free(self)
        if self._learnt is not None:
            self._learnt.require_here()
        with checkpoints.reading(path) as saved:
            facts = saved.facts
            for what, theirs, mine in (
                ("seed", facts.seed, self.seed),
                ("dtype", facts.dtype, self.dtype.name),
                ("optimizer", facts.optimizer, described(self.optimizer)),
            ):
                if theirs != mine:
                    raise CheckpointError(
                        f"{path} was saved with {what} {shown(theirs)}, "
                        f"and this trainer has {shown(mine)}"
                    )
            shapes = self._tensor_shapes(path, facts)
            saved.require(shapes, self.dtype)
            found = history_file.read(files.resolved(path), facts.history)
            tensors, states = {name: saved.tensor(name) for name in shapes}, saved.callbacks()
        with self._prepared(facts.input_shape, "path") as learnt:
            learnt.take(tensors)
        self.epoch, self.step, self.rate = facts.epoch, facts.step, facts.rate
        self.callback_states, self._unseen = states, facts.unseen
        if found is None:
            self.history, self._history_file = History(), HistoryFile()
            warn(
                f"{facts.history.name}, the history of {path}, is missing; it begins anew, and "
                "all else was loaded"
            )
            return
        self.history = found[1]
        self._history_file = HistoryFile(found[0], facts.history, self.history)

    def _tensor_shapes(self, path: Path, facts: checkpoints.Facts) -> dict[str, Shape]:
        """The tensors of a checkpoint with these facts, before any memory is reserved."""
        try:
            parameters = declared(self.model, facts.input_shape, self.precision)
        except InputError as error:
            raise CheckpointError(f"{path} was saved for another model: {error}") from error
        finally:
            if self._learnt is not None:
                self._learnt.rebuild()
        frozen = tuple(name for name, parameter in parameters.items() if parameter.frozen)
        _require_equally_frozen(path, facts.frozen, frozen)
        return tensor_shapes(parameters, self.optimizer.slots)

    @contextmanager
    def _prepared(self, sample_shape: Shape, argument: str) -> Iterator[Learnt]:
        """What is learnt, for samples of this shape, which are those of an argument.

        It is made the first time. If the block fails that first time, the model is as if it had
        never been built.
        """
        require_free(self)
        if self._learnt is not None:
            with naming(argument, ShapeError):
                self._reclaimed(self._learnt, sample_shape)
                self.model.build(sample_shape)
            self._learnt.shape = sample_shape
            yield self._learnt
            return
        with naming(argument, ShapeError):
            self._learnt = Learnt(
                self.model, sample_shape, self.seed, self.dtype, self.optimizer, self.precision
            )
        try:
            yield self._learnt
        except Exception:
            self._learnt.forget()
            self._learnt = None
            raise

    def _existing(self) -> Learnt:
        if self._learnt is None:
            raise NotBuiltError(
                "the model has no weights yet: fit, evaluate or load first, which show its input"
            )
        return self._reclaimed(self._learnt)

    def _reclaimed(self, learnt: Learnt, sample_shape: Shape | None = None) -> Learnt:
        """What is learnt, for the model as it is now.

        What callbacks remember, such as the best weights, does not fit a model that was changed.
        """
        require_free(self)
        before = learnt.buffer
        learnt.reclaim(self.model, sample_shape)
        if learnt.buffer is not before:
            self.callback_states.clear()
            self._unseen = ()
        return learnt

    def _last_record(self) -> EpochRecord | None:
        """The record of the last epoch done; None if the history does not have it."""
        records = self.history.epochs[-1:]
        return records[0] if records and records[0].epoch == self.epoch - 1 else None

    def _taken(self, dataset: Dataset) -> Dataset:
        """The data set as the model takes it: with integers if it begins with an embedding."""
        if not self.model.takes_integers:
            return dataset
        dataset = dataset.with_integers()
        self.model.check_integers(dataset.inputs)
        return dataset

    def _checked(self, dataset: Dataset) -> Dataset:
        """The data set as the task takes it; an InputError if it does not."""
        dataset = self.task.taken(self.model, dataset)
        self.task.check(self.model, dataset)
        return dataset

    def _job(
        self,
        train: Dataset,
        validation: Dataset | None,
        epochs: int,
        batch_size: int | GrowingBatch,
    ) -> Job:
        learnt = self._existing()
        learnt.check(self.optimizer)
        buffer, frozen = learnt.buffer, learnt.buffer.frozen
        return Job(
            model=self.model,
            task=self.task,
            optimizer=self.optimizer,
            train=train,
            validation=validation,
            batch_size=batch_size,
            seed=self.seed,
            dtype=self.dtype,
            epochs=range(self.epoch, self.epoch + epochs),
            first_step=self.step,
            index={name: place for name, place in buffer.index.items() if name not in frozen},
            trainable=buffer.trainable,
            rate=self.rate,
            precision=self.precision,
            frozen=frozen,
        )

    def _carry_out(self, fit: Fit) -> None:
        """Do a fit, and go on from its last whole epoch, or from what a callback restored."""
        began = time.perf_counter()
        self.history.traffic, self.history.trace = (), None
        try:
            fit.carry_out()
        finally:
            done, run = fit.collector.finished(), fit.run
            fit.learnt.adopt(done.state)
            if run.restored is not None:
                fit.learnt.restore(run.restored)
            self.history.extend(done.history)
            self.history.stopped = run.stopped
            ended = time.perf_counter()
            ready = ended if fit.collector.began is None else fit.collector.began
            self.history.seconds, self.history.preparation = ended - ready, ready - began
            if fit.outcome is not None:
                self.history.traffic, self.history.trace = fit.outcome.traffic, fit.outcome.trace
            self.epoch += done.epochs
            self.step += done.steps
            self.rate = run.rate
            going_on = run.restored is None
            self._unseen = fit.unseen() if going_on else ()
            self.callback_states = fit.states() if going_on else {}


def _batch_size(given: int | GrowingBatch) -> int | GrowingBatch:
    return given if isinstance(given, GrowingBatch) else whole("batch_size", given)


def _require_equally_frozen(path: Path, saved: tuple[str, ...], here: tuple[str, ...]) -> None:
    if {*saved} != {*here}:
        raise CheckpointError(
            f"{path} was saved with {_some(saved)} frozen, and in this model {_some(here)} is: "
            "freeze the same layers before load, and freeze or unfreeze others after it"
        )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"
