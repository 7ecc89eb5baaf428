"""``minidl train``: one task under one strategy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from minidl import strategy
from minidl.cli import recipes
from minidl.cli.recipes import Options
from minidl.errors import InputError
from minidl.train import History, Trainer

_PICTURES = (".png", ".pdf", ".svg", ".jpg")


def run(options: Options) -> None:
    """Train, save what was asked for, and print the result."""
    _require_places(options)
    recipe = recipes.make(options)
    how = strategy.make(options.strategy, _workers(options), options.servers)
    trainer = Trainer(recipe.model, recipe.loss, recipe.optimizer, seed=options.seed)
    if options.resume is not None:
        trainer.load(options.resume)
    history = trainer.fit(
        recipe.train,
        epochs=recipe.epochs if options.epochs is None else options.epochs,
        batch_size=recipe.batch_size if options.batch_size is None else options.batch_size,
        validation=recipe.test,
        strategy=how,
        callbacks=recipe.callbacks,
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
    say = _printer(options.as_json)
    say(_line(history))
    figures = recipe.show(trainer, say)
    for name in written:
        say(f"saved {name}")
    if options.as_json:
        result = asdict(history.last()) | {
            "total_seconds": history.seconds,
            "preparation_seconds": history.preparation,
            "bytes_sent": history.bytes_sent(),
            "written": written,
        }
        print(json.dumps({**result, **figures}))


def _workers(options: Options) -> int:
    if options.strategy == "serial" and options.workers not in (None, 1):
        raise InputError(
            f"the strategy 'serial' is one process, so there cannot be {options.workers} workers: "
            "choose --strategy server, ring or pipeline"
        )
    return 2 if options.workers is None else options.workers


def _require_places(options: Options) -> None:
    """Refuse, before anything is trained, files that could not be written afterwards."""
    for path in (options.save, options.trace):
        require_place(path)
    for path in (options.plot, options.timeline):
        require_picture(path)
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise InputError(f"{options.out} is no folder for pictures")


def require_place(path: Path | None) -> None:
    """Refuse a file that could not be written."""
    if path is None:
        return
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{path} cannot be written: a file in a folder of yours is needed")


def require_picture(path: Path | None) -> None:
    """Refuse a picture that could not be written."""
    require_place(path)
    if path is not None and path.suffix not in _PICTURES:
        raise InputError(f"{path} must end in one of {', '.join(_PICTURES)}")


def _printer(quiet: bool) -> Callable[[str], None]:
    from rich.console import Console

    console = Console(quiet=quiet)
    return lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)


def _line(history: History) -> str:
    figures = history.last().validation or {}
    text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    return (
        f"test: {text}; {history.seconds:.1f} s of training, "
        f"{history.preparation:.1f} s of preparation"
    )
