"""The commands that study instead of train: ``minidl simulate`` and ``minidl bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.options import Commands, Force, Json, explained

simulate = Commands("Formulas of servers and collectives beside what is simulated or counted.")
bench = Commands("Measurements of this machine, with everything that makes them comparable.")


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

    with explained():
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

    with explained():
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

    with explained():
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
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Speedup, efficiency, communication and time to accuracy, for P workers.

    [dim]minidl bench scaling --model lenet5 --workers 1,2,4 --plot scaling.png[/dim]
    """
    from minidl.cli import bench as command

    with explained():
        command.scaling(
            command.Options(
                dataset, model, strategy, algorithm, workers, mode, batch_size, target, epochs,
                repeats, optimizer, lr, threads, link, overlap, seed, plot, force,
                as_json,
            )
        )  # fmt: skip
