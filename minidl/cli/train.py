"""``minidl train``: one network, one data set, one strategy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from minidl import data, models, optim, strategy
from minidl.errors import InputError, unknown_name
from minidl.nn import CrossEntropy
from minidl.train import Trainer

_OPTIMIZERS: dict[str, Callable[[float | None], optim.Optimizer]] = {
    "sgd": lambda lr: optim.SGD(lr=0.05 if lr is None else lr, momentum=0.9),
    "adam": lambda lr: optim.Adam(lr=1e-3 if lr is None else lr),
    "adamw": lambda lr: optim.AdamW(lr=1e-3 if lr is None else lr),
    "adagrad": lambda lr: optim.Adagrad(lr=1e-2 if lr is None else lr),
    "rmsprop": lambda lr: optim.RMSprop(lr=1e-3 if lr is None else lr),
    "lars": lambda lr: optim.LARS(lr=5.0 if lr is None else lr),
}

_PICTURES = (".png", ".pdf", ".svg", ".jpg")


@dataclass(frozen=True)
class Options:
    """What ``minidl train`` was given; see its ``--help``."""

    dataset: str
    model: str
    strategy: str
    workers: int
    epochs: int
    batch_size: int
    optimizer: str
    lr: float | None
    seed: int
    resume: Path | None
    save: Path | None
    plot: Path | None
    timeline: Path | None
    trace: Path | None
    as_json: bool


def run(options: Options) -> None:
    """Train, save what was asked for, and print the result."""
    _require_places(options)
    if options.optimizer not in _OPTIMIZERS:
        raise unknown_name("optimizer", options.optimizer, _OPTIMIZERS)
    model = models.make(options.model)
    how = strategy.make(options.strategy, options.workers)
    trainer = Trainer(
        model, CrossEntropy(), _OPTIMIZERS[options.optimizer](options.lr), seed=options.seed
    )
    train, test = data.make(options.dataset)
    if options.resume is not None:
        trainer.load(options.resume)
    history = trainer.fit(
        train,
        epochs=options.epochs,
        batch_size=options.batch_size,
        validation=test,
        strategy=how,
        progress=not options.as_json,
    )
    written = []
    for path, write in (
        (options.save, trainer.save),
        (options.plot, history.plot),
        (options.timeline, history.timeline),
        (options.trace, history.save_trace),
    ):
        if path is not None:
            write(path)
            written.append(str(path))
    _print(options, trainer, written)


def _require_places(options: Options) -> None:
    """Refuse, before anything is trained, files that could not be written afterwards."""
    for path in (options.save, options.plot, options.timeline, options.trace):
        if path is None:
            continue
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            raise InputError(f"{path} cannot be written: a file in a folder of yours is needed")
    for path in (options.plot, options.timeline):
        if path is not None and path.suffix not in _PICTURES:
            raise InputError(f"{path} must end in one of {', '.join(_PICTURES)}")


def _print(options: Options, trainer: Trainer, written: list[str]) -> None:
    history = trainer.history
    if options.as_json:
        result = asdict(history.last()) | {
            "total_seconds": history.seconds,
            "bytes_sent": history.bytes_sent(),
            "written": written,
        }
        print(json.dumps(result))
        return
    from rich.console import Console

    figures = history.last().validation or {}
    text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    console = Console()
    console.print(f"test: {text}; {history.seconds:.1f} s in all", highlight=False)
    for path in written:
        console.print(f"saved {path}", highlight=False)
