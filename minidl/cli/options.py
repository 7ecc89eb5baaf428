"""Options that several commands have, and what all do with errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from minidl.errors import MinidlError

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


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors raised on purpose into one message and exit status 2; Ctrl-C into 130."""
    from rich.console import Console
    from rich.markup import escape

    try:
        yield
    except (MinidlError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        raise typer.Exit(130) from None
