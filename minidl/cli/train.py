"""``minidl train``: one task under one strategy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

from minidl import files, strategy
from minidl.cli import recipes
from minidl.cli.places import require_picture, require_place
from minidl.cli.recipes import Options
from minidl.errors import InputError
from minidl.train import History, Trainer, history_file


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
    if options.save is not None:
        beside = history_file.beside(files.resolved(options.save))[-1]
        say(f"saved {beside.name} beside it: the run's history, to be kept with the checkpoint")
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
    resumed = options.save is not None and options.save == options.resume
    require_place(options.save, force=options.force or resumed)
    require_place(options.trace, force=options.force)
    for path in (options.plot, options.timeline):
        require_picture(path, force=options.force)
    if options.out is not None and options.out.exists():
        if not options.out.is_dir():
            raise InputError(f"{options.out} is no folder for pictures")
        # A run that is resumed goes on in the folder where it began.
        if any(options.out.iterdir()) and not options.force and options.resume is None:
            raise InputError(
                f"{options.out} is not empty: choose another folder for the pictures, or replace "
                "those of the same names with --force"
            )


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
