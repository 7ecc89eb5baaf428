"""``minidl bench scaling``: a small run for real, and bad input in one message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from minidl import data
from minidl.cli import bench as command
from minidl.cli.bench import _table
from minidl.cli.main import app
from minidl.data import Dataset
from minidl.runtime.machine import Machine
from minidl.strategy import Strategy
from minidl.train import Trainer
from minidl.train.benchmark import LEAST_EPOCHS
from minidl.train.scaling import Fit, Measured, Scaling


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train, test = data.digits()
    few = train.take(slice(0, 200)), test.take(slice(0, 60))
    monkeypatch.setitem(data._MAKERS, "digits", lambda: few)
    monkeypatch.chdir(tmp_path)


def bench(*words: str) -> Any:
    return CliRunner().invoke(app, ["bench", "scaling", "-m", "mlp", *words])


@pytest.mark.timeout(60)
def test_a_small_run(tmp_path: Path) -> None:
    result = bench("-w", "2", "--repeats", "1", "--mode", "strong", "-b", "50", "-e", "12",
                   "--target", "0.7", "--overlap", "--json", "--plot", "scaling.png")  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    serial, alone, two = found["rows"]
    assert (serial["strategy"], alone["strategy"], two["strategy"]) == ("serial", "ring", "ring")
    assert [row["workers"] for row in found["rows"]] == [1, 1, 2]
    assert serial["communication"]["median"] == alone["communication"]["median"] == 0
    assert 0 < two["communication"]["median"] < 1
    assert two["efficiency"]["median"] * 2 == pytest.approx(two["speedup"]["median"])
    epochs = [row["epochs"]["median"] for row in found["rows"]]
    assert epochs[0] == epochs[1] and abs(epochs[2] - epochs[0]) <= 1  # but for rounding, the same
    assert all(row["seconds"]["median"] > 0 for row in found["rows"])
    assert found["settings"]["model"] == "mlp" and found["settings"]["plot"] == "scaling.png"
    assert (found["target"], found["train"], found["test"]) == (0.7, 200, 60)
    machine = found["machine"]
    assert machine["cores"] >= machine["usable"] > 0 and machine["memory"] > 1 << 28
    assert set(machine["versions"]) == {"Python", "NumPy", "numba"} and machine["processor"]
    assert (tmp_path / "scaling.png").stat().st_size > 10_000


def unreached(
    trainer: Callable[[int], Trainer],
    strategy: Callable[[int], Strategy],
    train: Dataset,
    test: Dataset,
    *,
    workers: list[int],
    modes: list[str],
    batch_size: int,
    target: float,
    epochs: int,
    shown: Callable[[int, int, str], None],
    **more: Any,
) -> Scaling:
    """As `measure_scaling`, without the training: no run reaches the target."""
    (count,), (mode,) = workers, modes
    assert strategy(count).name == "server" and trainer(0).optimizer.lr == 1e-6
    shown(0, 1, f"warm-up: server, P = {count}, batches of {count * batch_size}")
    fits = (Fit(100.0, 0.5, None, None, {"wait": 0.4}),)
    rows = (
        Measured("one", "serial", 1, 1, batch_size, fits, fits),
        *(Measured(mode, "server", n, n + 1, n * batch_size, fits, fits) for n in (1, count)),
    )
    return Scaling(Machine.here(), target, epochs, len(train), len(test), rows)


def test_the_table_says_what_was_not_reached_and_that_processes_take_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("minidl.runtime.machine.container_cores", lambda: 1.0)
    monkeypatch.setattr(command, "measure_scaling", unreached)
    result = bench("-s", "server", "-w", "2", "--mode", "weak", "--repeats", "1", "--target", "1",
                   "-e", str(LEAST_EPOCHS), "-b", "20", "--lr", "1e-6",
                   "--link", "1e-3,1e9")  # fmt: skip
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "until 100.0% of the 60 test samples were right" in said
    assert said.count("not reached") == 6  # of three rows, epochs and seconds
    assert "server, weak 2 40" in said and "emulated link: 1e-3,1e9" in said
    for text in (said, " ".join(result.stderr.split())):
        assert "warning: P = 2: 3 processes share 1 cores and take turns" in text
    assert "warm-up: server, P = 2, batches of 40" in result.stderr


@pytest.mark.parametrize("algorithm", ["ring", "double-tree", "halving-doubling"])
@pytest.mark.parametrize("reached", [12, None])
def test_the_table_loses_no_figure_on_a_terminal_of_80_columns(
    algorithm: str, reached: int | None
) -> None:
    def fits(*rates: float) -> tuple[Fit, ...]:
        seconds = reached and 104.25
        return tuple(Fit(rate, 0.9, reached, seconds, {"wait": 0.4}) for rate in rates)

    base, some = fits(17622.0, 15084.0, 20012.0), fits(16000.0, 8400.0, 123123.0)
    rows = (
        Measured("one", "serial", 1, 1, 64, base, base),
        *(Measured("weak", algorithm, 16, 16, 1024, some, base) for _ in range(2)),
    )
    table = _table(rows)
    narrow, wide = Console(width=80), Console(width=200)
    with narrow.capture() as caught:
        narrow.print(table)
    said = caught.get()
    assert "…" not in said and max(map(len, said.splitlines())) <= 80
    with wide.capture() as caught:
        wide.print(table)
    figures = {word for word in caught.get().split() if word[0].isdigit()}
    assert {"8,400", "123,123", "6%", "6.15"} <= figures <= {*said.split()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "digit"], "unknown data set 'digit'"),
        (["-m", "lenet"], "unknown model 'lenet'"),
        (["-s", "mesh"], "unknown strategy 'mesh'; known: ring, server"),
        (["-s", "server", "--algorithm", "tree"], "--algorithm and --overlap are for all-reduces"),
        (["-s", "server", "--overlap"], "--algorithm and --overlap are for all-reduces"),
        (["--algorithm", "stairs"], "there is no all-reduce 'stairs'"),
        (["-w", "1,two"], "takes numbers with commas between them, not 1,two"),
        (["-w", "0"], "workers must be a whole number of at least 1"),
        (["--link", "fast"], "--link takes seconds and bytes a second with a comma between"),
        (["--link", "0,-1"], "bandwidth must be above 0 bytes a second"),
        (["--mode", "fast"], "unknown mode 'fast'; known: both, strong, weak"),
        (["--target", "95"], "above 0 and at most 1, not 95"),
        (["--threads", "0"], "a rank needs at least 1 thread, not 0"),
        (["-b", "150"], "weak scaling to 2 workers needs batches of 300"),
        (["--plot", "scaling.xyz"], "must end in one of .png"),
        (["--optimizer", "lion"], "unknown optimizer 'lion'"),
    ],
)
def test_bad_input_is_one_message_and_status_2(words: list[str], message: str) -> None:
    result = bench(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == "" and "Traceback" not in result.output
    assert message in " ".join(result.stderr.split())
    assert "round" not in result.stderr and "warm-up" not in result.stderr
