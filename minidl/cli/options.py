"""Options that several commands have, and what all do with errors."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from minidl.errors import MinidlError
from minidl.reprs import plain

Workers = Annotated[int, typer.Option("--workers", "-w", help="Workers, or pipeline stages.")]
Epochs = Annotated[int, typer.Option("--epochs", "-e", help="How often to go through the data.")]
BatchSize = Annotated[int, typer.Option("--batch-size", "-b", help="Samples for each update.")]
Seed = Annotated[int, typer.Option(help="Decides weights, order of samples and dropout.")]
Force = Annotated[
    bool, typer.Option("--force", metavar="", help="Replace files that exist already.")
]
Json = Annotated[
    bool, typer.Option("--json", metavar="", help="Print the result as JSON, and nothing else.")
]


class Printable(typer.Typer):
    """A command line whose output every terminal can take, whatever its encoding."""

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
