"""The command line: ``minidl train``, ``compare``, ``simulate``, ``bench`` and so on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import minidl
from minidl.cli.course import course, grade
from minidl.cli.options import (
    BatchSize,
    Commands,
    Epochs,
    Force,
    Json,
    Seed,
    Workers,
    explained,
    one_of,
)
from minidl.cli.studies import bench, simulate

app = Commands("Train networks on one process or many, compare the ways, and grade homework.")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"minidl {minidl.__version__}")
        raise typer.Exit


@app.callback()
def minidl_(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train networks on one process or many, compare the ways, and grade homework."""


app.add_typer(simulate, name="simulate")
app.add_typer(bench, name="bench")
app.add_typer(course, name="course")


@app.command()
def train(
    task: Annotated[
        str,
        typer.Argument(
            help="Images to tell apart: digits, fashion-mnist-small, fashion-mnist. "
            "A text to continue: shakespeare. Dates to read: dates. "
            "Images to make up: fashion-gan, fashion-gan-full.",
            autocompletion=one_of("minidl.cli.recipes"),
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Which network.",
            show_default="the task's own",
            autocompletion=one_of("minidl.models"),
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy",
            "-s",
            help="serial, server, ring or pipeline.",
            autocompletion=one_of("minidl.strategy"),
        ),
    ] = "serial",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-w", help="Workers, or pipeline stages.", show_default="2, serial 1"
        ),
    ] = None,
    servers: Annotated[
        int, typer.Option(help="Servers that hold a part of the parameters each.")
    ] = 1,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            "-e",
            help="How often to go through the data.",
            show_default="the task's own",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", "-b", help="Samples for each update.", show_default="the task's own"
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="sgd (momentum 0.9), adagrad, adam, adamw, lars or rmsprop.",
            show_default="the task's own",
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate.", show_default="sgd 0.05, adagrad 0.01, lars 5, others 0.001"
        ),
    ] = None,
    seed: Seed = 0,
    resume: Annotated[Path | None, typer.Option(help="Continue from this checkpoint.")] = None,
    save: Annotated[Path | None, typer.Option(help="Save a checkpoint here afterwards.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Save the loss curves as a picture.")] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Save who did what when as a picture.")
    ] = None,
    trace: Annotated[Path | None, typer.Option(help="Save a trace that Perfetto opens.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder for a GAN's pictures.",
            show_default="the task's name, with a number if it exists",
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a network.

    [dim]minidl train digits --model lenet5 --strategy ring --workers 4[/dim]
    """
    from minidl.cli import train as command
    from minidl.cli.recipes import Options

    with explained():
        command.run(
            Options(
                task, model, strategy, workers, servers, epochs, batch_size, optimizer, lr, seed,
                resume, save, plot, timeline, trace, out, force, as_json,
            )
        )  # fmt: skip


@app.command()
def compare(
    dataset: Annotated[
        str,
        typer.Argument(
            help="digits, fashion-mnist-small or fashion-mnist",
            autocompletion=one_of("minidl.data"),
        ),
    ],
    workers: Workers = 2,
    epochs: Epochs = 20,
    batch_size: BatchSize = 32,
    plan: Annotated[
        Path | None,
        typer.Option(help="A Python file with your own ring_all_reduce or torus_all_reduce."),
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder for the pictures.",
            show_default="compared, with a number if it exists",
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train one network under every strategy and compare the results.

    The same CNN is trained from the same seed on one process, around a parameter
    server, on a ring and as a pipeline.

    Exit status 1 says that a strategy's weights departed from the serial run's by
    more than rounding.
    """
    from minidl.cli import compare as command

    with explained():
        comparison = command.compare(
            dataset,
            workers,
            epochs,
            batch_size,
            plan=plan,
            seed=seed,
            out=out,
            force=force,
            quiet=as_json,
        )
    if as_json:
        typer.echo(comparison.to_json())
    else:
        command.show(comparison)
    raise typer.Exit(0 if comparison.agrees else 1)


@app.command()
def summary(
    model: Annotated[
        str,
        typer.Argument(
            help="A network's name, e.g. resnet50; or all.", autocompletion=one_of("minidl.models")
        ),
    ],
    shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            help="One sample: height x width x channels, e.g. 224x224x3.",
            show_default="the network's own",
        ),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", "-b", help="Samples at a time.")] = 1,
    classes: Annotated[
        int | None, typer.Option(help="Outputs.", show_default="the network's own")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Save a picture: each layer's memory, or all networks' costs."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Count a network: sizes, parameters, multiply-adds, activations, receptive fields.

    [dim]minidl summary lenet5 --input 28x28x1 --batch 64[/dim]

    [dim]minidl summary all --plot networks.png[/dim]
    """
    from minidl.cli import summary as command

    with explained():
        command.run(model, shape, batch, classes, plot=plot, force=force, as_json=as_json)


app.command()(grade)


@app.command()
def doctor(
    clear: Annotated[
        bool,
        typer.Option(
            "--clear", help="Remove what killed runs left: shared memory, socket folders."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Look at this machine: cores, threads, shared memory, GPU, leftovers of crashed runs."""
    from minidl.cli.doctor import main

    with explained():
        raise typer.Exit(main(clear=clear, as_json=as_json))


if __name__ == "__main__":
    sys.exit(app())
