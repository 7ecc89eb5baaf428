"""Options that several commands have, and what all do with errors."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from minidl.errors import MinidlError
from minidl.reprs import plain

Workers = Annotated[int, typer.Option("--workers", "-w", help="Workers, or pipeline stages.")]
Epochs = Annotated[int, typer.Option("--epochs", "-e", help="How often to go through the data.")]
BatchSize = Annotated[int, typer.Option("--batch-size", "-b", help="Samples for each update.")]
Seed = Annotated[int, typer.Option(help="Decides weights, order of samples and dropout.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist already.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]


def one_of(module: str, known: str = "known") -> Callable[[], list[str]]:
    """For `autocompletion`: the names that a module knows, which is imported only for that."""

    def names() -> list[str]:
        found = getattr(import_module(module), known)
        return list(found() if callable(found) else found)

    return names


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    """What `--help` lists, where a flag has no value and thus no type to name."""
    for each in parameters:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return parameters


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


class Commands(typer.Typer):
    """A command line whose output every terminal can take, whatever its encoding."""

    def __init__(self, text: str) -> None:
        super().__init__(
            help=text,
            cls=_Group,
            no_args_is_help=True,
            rich_markup_mode="rich",
            context_settings={"help_option_names": ["-h", "--help"]},
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """Add a command; see Typer."""
        return super().command(name, **{"cls": _Command, **settings})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that was typed."""
        codecs.register_error("lookalikes", _lookalike)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="lookalikes")
        return super().__call__(*args, **kwargs)


def _lookalike(error: UnicodeError) -> tuple[str, int]:
    """What is written for letters that an encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    return plain(error.object[error.start : error.end]), error.end


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors raised on purpose into one message and exit status 2; Ctrl-C into 130."""
    from rich.console import Console
    from rich.markup import escape

    from minidl.runtime.limits import require_working_folder

    try:
        yield
    except (MinidlError, OSError) as error:
        message = str(error)
        try:
            require_working_folder()
        except MinidlError as cause:
            message = str(cause)
        Console(stderr=True).print(f"[red]error:[/red] {escape(message)}", highlight=False)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as stopped:
        Console(stderr=True).print(str(stopped) or "interrupted", highlight=False)
        raise typer.Exit(130) from None
