"""The commands of homework: ``minidl grade`` and ``minidl course start``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minidl.cli.options import Commands, Json, explained, one_of
from minidl.errors import InputError

if TYPE_CHECKING:
    from minidl.course import Report

course = Commands("Homework: the tasks to begin with. minidl grade checks what was written.")


@course.callback()
def _course() -> None:
    """Homework: the tasks to begin with. minidl grade checks what was written."""


@course.command("start")
def start(
    exercise: Annotated[
        str,
        typer.Argument(
            help="The exercise's name, e.g. hw_ring.",
            autocompletion=one_of("minidl.course", "EXERCISES"),
        ),
    ],
    folder: Annotated[
        Path | None, typer.Argument(help="Where to.", show_default="exercises/<name>")
    ] = None,
) -> None:
    """Lay out an exercise: its task, and the file to write. What is there stays as it is.

    [dim]minidl course start hw_ring[/dim]
    """
    from minidl.course.handout import start as lay_out

    with explained():
        for path, written in lay_out(exercise, folder).items():
            typer.echo(f"wrote {path}" if written else f"kept {path}, which was there already")


def grade(
    exercise: Annotated[
        str,
        typer.Argument(
            help="The exercise's name, e.g. hw_ring.",
            autocompletion=one_of("minidl.course", "EXERCISES"),
        ),
    ],
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-d", help="Your files.", show_default="exercises/<name>"),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Write Gradescope's results.json here.")
    ] = None,
    case: Annotated[
        int | None, typer.Option(help="Show this check only, by its number in the report.")
    ] = None,
    here: Annotated[
        bool,
        typer.Option(
            "--here", help="With --case: run it in your own process, with print and breakpoint()."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Grade an exercise: run its property tests on your files.

    Exit status 1 says that some points are missing.

    [dim]minidl grade hw_ring --case 3 --here[/dim]
    """
    from rich.console import Console

    from minidl.course.grading import grade as run
    from minidl.course.handout import find

    with explained():
        if here and case is None:
            raise InputError("--here runs one case: say which, e.g. --case 1 --here")
        if case is not None and (as_json or results is not None):
            raise InputError("--case shows one check, so it goes neither with --json nor --results")
        folder = directory or find(exercise)
        report = run(exercise, folder, breakpoints=not here)
        if results is not None:
            report.to_gradescope(results)
        if case is not None:
            report = report.only(case)
    if as_json:
        typer.echo(report.to_json())
    else:
        Console().print(report.render())
    if here:
        _here(report, folder)
    raise typer.Exit(0 if report.passed else 1)


def _here(report: Report, folder: Path) -> None:
    """Run the case of a report's only result, and show what the code gives."""
    from bdb import BdbQuit

    from minidl.course.grading import load_exercise
    from minidl.course.replay import replay

    def show(call: str, value: Any) -> None:
        typer.echo(f"{call} gives {value!r:.2000}")

    (result,) = report.results
    if not result.questions:
        typer.echo("this check has asked your code nothing, so there is nothing to run")
        return
    typer.echo("\nThe same in this process:")
    with explained():
        try:
            replay(report.exercise, folder / load_exercise(report.exercise).FILE,
                   result.questions, show)  # fmt: skip
        except BdbQuit:
            typer.echo("stopped in the debugger")
