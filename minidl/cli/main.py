"""The command line: ``minidl train``, ``compare``, ``simulate``, ``bench`` and so on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from minidl.errors import MinidlError

app = typer.Typer(
    help="Train networks on one process or many, compare the ways, and grade homework.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

simulate = typer.Typer(
    help="Formulas of servers and collectives beside what is simulated or counted.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(simulate, name="simulate")

bench = typer.Typer(
    help="Measurements of this machine, with everything that makes them comparable.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(bench, name="bench")

Workers = Annotated[int, typer.Option("--workers", "-w", help="Workers, or pipeline stages.")]
Epochs = Annotated[int, typer.Option("--epochs", "-e", help="How often to go through the data.")]
BatchSize = Annotated[int, typer.Option("--batch-size", "-b", help="Samples for each update.")]
Seed = Annotated[int, typer.Option(help="Decides weights, order of samples and dropout.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]


@contextmanager
def _explained() -> Iterator[None]:
    """Turn errors raised on purpose into one message and exit status 2; Ctrl-C into 130."""
    from rich.console import Console

    try:
        yield
    except MinidlError as error:
        Console(stderr=True).print(f"[red]error:[/red] {_escaped(error)}", highlight=False)
        raise typer.Exit(2) from error
    except OSError as error:
        Console(stderr=True).print(f"[red]error:[/red] {_escaped(error)}", highlight=False)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        raise typer.Exit(130) from None


def _escaped(error: Exception) -> str:
    from rich.markup import escape

    return escape(str(error))


@app.command()
def train(
    task: Annotated[
        str,
        typer.Argument(
            help="Images to tell apart: digits, fashion-mnist-small, fashion-mnist. "
            "A text to continue: shakespeare. Dates to read: dates. "
            "Images to make up: fashion-gan, fashion-gan-full."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Which network.", show_default="the task's own"),
    ] = None,
    strategy: Annotated[
        str, typer.Option("--strategy", "-s", help="serial, server, ring or pipeline.")
    ] = "serial",
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-w", help="Workers, or pipeline stages.", show_default="2"),
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
    timeline: Annotated[Path | None, typer.Option(help="Save who did what when as PNG.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Save a trace that Perfetto opens.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder for a GAN's pictures.", show_default="the task's name"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a network.

    [dim]minidl train digits --model lenet5 --strategy ring --workers 4[/dim]
    """
    from minidl.cli import train as command
    from minidl.cli.recipes import Options

    with _explained():
        command.run(
            Options(
                task, model, strategy, workers, servers, epochs, batch_size, optimizer, lr, seed,
                resume, save, plot, timeline, trace, out, as_json,
            )
        )  # fmt: skip


@app.command()
def compare(
    dataset: Annotated[str, typer.Argument(help="digits, fashion-mnist-small or fashion-mnist")],
    workers: Workers = 2,
    epochs: Epochs = 20,
    batch_size: BatchSize = 32,
    plan: Annotated[
        Path | None,
        typer.Option(help="A Python file with your own ring_all_reduce or torus_all_reduce."),
    ] = None,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="The folder for the pictures.")] = Path("compared"),
    as_json: Json = False,
) -> None:
    """Train one network under every strategy and compare the results.

    The same CNN is trained from the same seed on one process, around a parameter
    server, on a ring and as a pipeline. Exit status 1 says that a strategy's weights
    departed from the serial run's by more than rounding.
    """
    from minidl.cli import compare as command

    with _explained():
        comparison = command.compare(
            dataset, workers, epochs, batch_size, plan=plan, seed=seed, out=out, quiet=as_json
        )
    if as_json:
        typer.echo(comparison.to_json())
    else:
        command.show(comparison)
    raise typer.Exit(0 if comparison.agrees else 1)


@simulate.command("server")
def simulate_server(
    learners: Annotated[int, typer.Option("--learners", "-p", help="P, how many learners.")] = 8,
    k: Annotated[int, typer.Option("--k", "-k", help="K, gradients in an update, up to P.")] = 4,
    law: Annotated[
        str, typer.Option(help="What times mini-batches take: exponential or constant.")
    ] = "exponential",
    rate: Annotated[float, typer.Option(help="Mini-batches a second.")] = 1.0,
    shift: Annotated[float, typer.Option(help="Seconds that each takes besides.")] = 0.0,
    updates: Annotated[int, typer.Option("--updates", "-n", help="How many to simulate.")] = 5000,
    seed: Annotated[int, typer.Option(help="Decides the times.")] = 0,
    as_json: Json = False,
) -> None:
    """Parameter servers under every rule: seconds per update, staleness, work in vain.

    [dim]minidl simulate server --learners 8 --k 4 --shift 1[/dim]
    """
    from minidl.cli import simulate as command

    with _explained():
        command.server(learners, k, law, rate, shift, updates, seed, as_json=as_json)


@simulate.command("collectives")
def simulate_collectives(
    ranks: Annotated[int, typer.Option("--ranks", "-p", help="P, how many ranks.")] = 8,
    latency: Annotated[float, typer.Option(help="Of a message, in seconds.")] = 50e-6,
    bandwidth: Annotated[float, typer.Option(help="Of a link, in bytes a second.")] = 125e6,
    size: Annotated[int, typer.Option("--bytes", help="Of the vector to sum.")] = 1_000_000,
    as_json: Json = False,
) -> None:
    """All-reduces of every kind: steps, messages, bytes, and the time they take.

    [dim]minidl simulate collectives --ranks 12 --latency 50e-6 --bandwidth 125e6[/dim]
    """
    from minidl.cli import simulate as command

    with _explained():
        command.collectives(ranks, latency, bandwidth, size, as_json=as_json)


@simulate.command("formulas")
def simulate_formulas(
    seed: Annotated[int, typer.Option(help="Decides times and noise.")] = 0,
    as_json: Json = False,
) -> None:
    """Every formula of the chapters beside what is measured, and whether the two agree.

    Exit status 1 says that a measured value is further from its formula than its stated error.
    """
    from minidl.cli import formulas as command

    with _explained():
        agrees = command.run(seed, as_json=as_json)
    raise typer.Exit(0 if agrees else 1)


@bench.command("scaling")
def bench_scaling(
    dataset: Annotated[
        str, typer.Option("--data", help="digits, fashion-mnist-small or fashion-mnist.")
    ] = "digits",
    model: Annotated[str, typer.Option("--model", "-m", help="Which network.")] = "digits_cnn",
    strategy: Annotated[
        str, typer.Option("--strategy", "-s", help="ring, or server: a parameter server.")
    ] = "ring",
    algorithm: Annotated[
        str | None,
        typer.Option(help="How workers sum, rather than by a ring: tree, server, full, torus ..."),
    ] = None,
    workers: Annotated[
        str, typer.Option("--workers", "-w", help="Numbers P, with commas between them.")
    ] = "1,2,4",
    mode: Annotated[
        str, typer.Option(help="strong: the global batch stays; weak: each worker's; or both.")
    ] = "both",
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", help="Of the serial run.")] = 64,
    target: Annotated[float, typer.Option(help="The test accuracy to which all train.")] = 0.95,
    epochs: Annotated[
        int, typer.Option("--epochs", "-e", help="Then a run is given up; 6 or more.")
    ] = 30,
    repeats: Annotated[int, typer.Option(help="Rounds in which each trains once.")] = 3,
    optimizer: Annotated[str, typer.Option(help="As in minidl train.")] = "sgd",
    lr: Annotated[
        float | None, typer.Option(help="Learning rate.", show_default="the optimizer's usual one")
    ] = None,
    threads: Annotated[int, typer.Option(help="Of each process, the serial one too.")] = 1,
    link: Annotated[
        str | None,
        typer.Option(
            metavar="LATENCY,BANDWIDTH",
            help="Emulate a network between the workers: seconds, and bytes a second.",
        ),
    ] = None,
    overlap: Annotated[
        bool, typer.Option("--overlap", help="Sum gradients beside the backward pass.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the first round; the next has the next.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Save a picture.")] = None,
    as_json: Json = False,
) -> None:
    """Speedup, efficiency, communication and time to accuracy, for P workers.

    [dim]minidl bench scaling --model lenet5 --workers 1,2,4 --plot scaling.png[/dim]
    """
    from minidl.cli import bench as command

    with _explained():
        command.scaling(
            command.Options(
                dataset, model, strategy, algorithm, workers, mode, batch_size, target, epochs,
                repeats, optimizer, lr, threads, link, overlap, seed, plot, as_json,
            )
        )  # fmt: skip


@app.command()
def summary(
    model: Annotated[str, typer.Argument(help="A network's name, e.g. resnet50; or all.")],
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
    as_json: Json = False,
) -> None:
    """Count a network: sizes, parameters, multiply-adds, activations, receptive fields.

    [dim]minidl summary lenet5 --input 28x28x1 --batch 64[/dim]

    [dim]minidl summary all --plot networks.png[/dim]
    """
    from minidl.cli import summary as command

    with _explained():
        command.run(model, shape, batch, classes, plot=plot, as_json=as_json)


@app.command()
def grade(
    exercise: Annotated[str, typer.Argument(help="The exercise's name, e.g. hw_ring.")],
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-d", help="Your files.", show_default="exercises/<name>"),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Write Gradescope's results.json here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Grade an exercise: run its property tests on your files.

    Exit status 1 says that some points are missing.
    """
    from rich.console import Console

    from minidl.course.grading import grade as run

    with _explained():
        report = run(exercise, directory or Path("exercises") / exercise)
        if results is not None:
            report.to_gradescope(results)
    if as_json:
        typer.echo(report.to_json())
    else:
        Console().print(report.render())
    raise typer.Exit(0 if report.passed else 1)


@app.command()
def doctor(
    clear: Annotated[bool, typer.Option(help="Remove leftover shared-memory segments.")] = False,
    as_json: Json = False,
) -> None:
    """Look at this machine: cores, threads, shared memory, GPU, leftovers of crashed runs."""
    from minidl.cli.doctor import main

    with _explained():
        raise typer.Exit(main(clear=clear, as_json=as_json))


if __name__ == "__main__":
    sys.exit(app())
