"""The command line: what it prints, what it writes, and the status it exits with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from minidl import data, models, nn, optim
from minidl.cli import compare as command
from minidl.cli.main import app
from minidl.plans import Collective, Receive, ring_all_reduce
from minidl.train import Trainer

ROOT = Path(__file__).parents[2]
SOLUTION = ROOT / "solutions" / "hw_ring"
WRONG = ROOT / "tests" / "course" / "wrong_rings"


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The digits, but few of them; and a folder of its own to write to."""
    train, test = data.digits()
    few = train.take(slice(0, 200)), test.take(slice(0, 60))
    monkeypatch.setitem(data._MAKERS, "digits", lambda: few)
    monkeypatch.chdir(tmp_path)


def minidl(*words: str | Path) -> Any:
    """Run the command line in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: str | Path) -> str:
    """Run what must fail with status 2 and one message; returns the message."""
    before = set(Path().rglob("*"))
    result = minidl(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.output
    assert set(Path().rglob("*")) == before
    return " ".join(result.stderr.split())


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command, groups included."""
    yield words
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*words, name))


SAID = {
    (): "train compare simulate summary grade doctor --version --install-completion",
    ("train",): "--strategy --servers --resume --save --json digits",
    ("compare",): "--plan --workers --epochs --json status",
    ("summary",): "--input --batch --classes --plot --json resnet50 all",
    ("grade",): "--directory --results --here hw_ring",
    ("doctor",): "--clear --json",
    ("bench", "scaling"): "--link --workers --algorithm --mode --target --repeats --plot",
}


def test_help_says_what_there_is_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = {words: minidl(*words, "-h").stdout for words in commands(get_command(app))}
    assert len(told) == 14
    for words, shown in told.items():
        assert all(word in shown for word in SAID.get(words, "--help").split()), words
        assert "<bool>" not in shown, words  # a flag takes no value
        assert max(map(len, shown.splitlines())) <= 80, words
    assert minidl("train", "--help").stdout == told["train",]


def test_nothing_asked_for_shows_the_help() -> None:
    assert "compare" in minidl().output
    assert minidl("--no-such-option").exit_code == 2
    assert minidl("no-such-command").exit_code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "digit"], "unknown task 'digit'; known: dates, digits, fashion"),
        (
            ["train", "digits", "-m", "lenet"],
            "unknown model 'lenet'; known: alexnet, char_lstm, dcgan, digits_cnn",
        ),
        (["train", "digits", "-s", "mesh"], "unknown strategy 'mesh'; known: pipeline, ring, se"),
        (
            ["train", "digits", "--optimizer", "lion"],
            "unknown optimizer 'lion'; known: adagrad, adam,",
        ),
        (["train", "digits", "-w", "4"], "'serial' is one process, so there cannot be 4 workers"),
        (["train", "digits", "-s", "ring", "-w", "0"], "workers must be a whole number of at lea"),
        (["train", "digits", "-s", "ring", "-w", "9", "-b", "8"], "8 cannot be shared by 9 work"),
        (["train", "digits", "-s", "pipeline", "-w", "50"], "50 stages need as many layers"),
        (["train", "digits", "-s", "ring", "--servers", "2"], "'ring' has no servers, so there"),
        (["train", "digits", "-s", "server", "--servers", "0"], "servers must be a whole number"),
        (["train", "digits", "-e", "0"], "epochs must be a whole number of at least 1, not 0"),
        (["train", "digits", "--lr", "0"], "lr must be greater than 0"),
        (["train", "digits", "--seed", "-1"], "seed must be a whole number of at least 0"),
        (["train", "digits", "--resume", "gone"], "there is no checkpoint at gone"),
        (["train", "digits", "--save", "."], ". cannot be written"),
        (["train", "digits", "--trace", "/dev/null/trace.json"], "cannot be written"),
        (["train", "digits", "--plot", "curves.xyz"], "curves.xyz must end in one of .png"),
        (["compare", "digit"], "unknown data set 'digit'; known: digits"),
        (["compare", "digits", "--workers", "0"], "workers must be a whole number of at least 1"),
        (["compare", "digits", "--workers", "40"], "a batch of 32 cannot be shared by 40 workers"),
        (["compare", "digits", "--workers", "20"], "20 stages need as many layers"),
        (["compare", "digits", "--epochs", "0"], "epochs must be a whole number of at least 1"),
        (["compare", "digits", "--out", "/dev/null"], "cannot be written"),
        (["compare", "digits", "--plan", "gone.py"], "there is no file gone.py"),
        (["grade", "hw_rings"], "unknown exercise 'hw_rings'; known: hw_"),
        (["grade", "hw_ring", "-d", "gone"], "there is no directory gone"),
    ],
)
def test_bad_input_is_one_message_and_status_2(words: list[str], message: str) -> None:
    said = refused(*words)
    assert message in said
    assert "steps in float64" not in said  # nothing has been trained


@pytest.mark.parametrize("word", ["--workers", "--epochs", "--batch-size", "--lr"])
def test_what_is_no_number_is_refused(word: str) -> None:
    message = refused("train", "digits", word, "many")
    assert word in message and "parse" in message


def train(*words: str | Path) -> dict[str, Any]:
    """Train a small network; the result, which is all that is printed on standard output."""
    result = minidl("train", "digits", "-m", "mlp", "--json", *words)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("strategy", ["serial", "ring"])
def test_train_writes_what_it_is_asked_for(strategy: str, tmp_path: Path) -> None:
    files = {
        "--save": "new/run.safetensors",
        "--plot": "curves.png",
        "--timeline": "deep/er/timeline.pdf",
        "--trace": "other/trace.json",
    }
    words = [word for pair in files.items() for word in pair]
    found = train("-s", strategy, "-e", "2", *words)
    assert found["written"] == list(files.values())
    assert all((tmp_path / file).stat().st_size > 1000 for file in files.values())
    assert json.loads((tmp_path / "other/trace.json").read_text())["traceEvents"]
    assert (found["epoch"], found["samples"], found["strategy"]) == (1, 200, strategy)
    assert set(found["train"]) == set(found["validation"]) == {"loss", "accuracy"}
    assert len(found["bytes_sent"]) == (2 if strategy == "ring" else 1)
    assert found["total_seconds"] > 0


def test_parameters_can_lie_on_several_servers() -> None:
    found = train("-s", "server", "-w", "1", "--servers", "2", "-e", "1")
    one, learner, other = found["bytes_sent"]
    assert one > 0 and other > 0
    assert one + other == learner


def test_a_run_that_is_resumed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = train("-e", "3", "--save", "whole")
    train("-e", "1", "--save", "part")
    resumed = train("-e", "2", "--resume", "part", "--save", "part")
    for key in ("epoch", "train", "validation", "samples"):
        assert resumed[key] == whole[key]
    assert resumed["epoch"] == 2
    states = []
    for file in ("whole", "part"):
        trainer = Trainer(models.mlp(), nn.CrossEntropy(), optim.SGD(lr=0.05, momentum=0.9))
        trainer.load(tmp_path / file)
        states.append(trainer.weights())
    for key, array in states[0].items():
        np.testing.assert_array_equal(states[1][key], array)
    message = refused("train", "digits", "-m", "mlp", "--resume", "part", "--optimizer", "adam")
    assert "saved with optimizer SGD(" in message and "this trainer has Adam(" in message


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("train d", "digits dates"),
        ("train digits --strategy ", "serial server ring pipeline"),
        ("train digits --model le", "lenet5"),
        ("compare f", "fashion-mnist fashion-mnist-small"),
        ("summary resnet2", "resnet20"),
        ("grade hw_r", "hw_receptive_field hw_ring"),
        ("course start hw_t", "hw_torus"),
    ],
)
def test_names_are_completed(words: str, found: str) -> None:
    environment = {
        "_MINIDL_COMPLETE": "complete_bash",
        "COMP_WORDS": f"minidl {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }
    shown = CliRunner().invoke(app, [], env=environment, prog_name="minidl")
    assert shown.stdout.split() == found.split()


def test_train_tells_what_it_does() -> None:
    result = minidl(
        "train", "digits", "-m", "mlp", "-e", "2", "--save", "run", "--optimizer", "adam"
    )
    assert result.exit_code == 0, result.output
    assert re.search(r"serial +epoch 2/2 +loss \d.*accuracy \d.*samples/s", result.stderr)
    assert re.search(
        r"test: loss \d.*, accuracy \d.*; \d.* s of training, \d.* s of preparation", result.stdout
    )
    name = re.search(r"^saved run\nsaved (run\.\w{8}\.history) beside it: ", result.stdout, re.M)
    assert name and Path(name[1]).stat().st_size > 100


def test_a_loss_that_is_not_finite_is_one_message() -> None:
    result = minidl("train", "digits", "-m", "mlp", "--lr", "1e30", "--json")
    assert result.exit_code == 2 and result.stdout == ""
    assert "not finite" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def compare(*words: str | Path, status: int) -> tuple[dict[str, Any], str]:
    """Compare once; what it says as JSON, and what it would have printed on a wide terminal."""
    found: list[command.Comparison] = []
    with pytest.MonkeyPatch.context() as patch:
        run = command.compare
        patch.setattr(command, "compare", lambda *a, **k: found.append(run(*a, **k)) or found[0])
        result = minidl("compare", "digits", "--epochs", "1", "--json", *words)
        assert result.exit_code == status, result.output
        patch.setattr(command, "compare", lambda *a, **k: found[0])
        patch.setenv("COLUMNS", "160")
        shown = minidl("compare", "digits")
        assert shown.exit_code == status
    return json.loads(result.stdout), shown.stdout


def test_compare_finds_that_all_strategies_agree_a_students_ring_too(tmp_path: Path) -> None:
    found, table = compare("--out", tmp_path / "pictures", "--plan", SOLUTION / "ring.py", status=0)
    assert (found["dataset"], found["workers"], found["epochs"]) == ("digits", 2, 1)
    assert found["agrees"] is True
    rows = {row["strategy"]: row for row in found["rows"]}
    assert list(rows) == ["serial", "server", "ring", "pipeline"]
    assert rows["serial"]["difference"] == rows["serial"]["drift"] == 0
    for row in rows.values():
        assert row["agrees"] is True
        assert 0 <= row["difference"] <= command.ROUNDING
        assert 0 <= row["accuracy"] <= 1
        assert row["loss"] > 0 and row["seconds"] > 0 and row["samples_per_second"] > 0
        assert len(row["ranks"]) == len(row["bytes_measured"]) == len(row["bytes_expected"])
        for measured, expected in zip(row["bytes_measured"], row["bytes_expected"], strict=True):
            assert measured == pytest.approx(expected, rel=1e-3)
    assert rows["server"]["ranks"] == ["server", "learner 1", "learner 2"]
    assert rows["ring"]["ranks"] == ["worker 0", "worker 1"]
    assert rows["pipeline"]["ranks"] == ["stage 0", "stage 1"]
    assert rows["ring"]["bytes_measured"][0] > 100_000
    assert [Path(picture).parent for picture in found["pictures"]] == [tmp_path / "pictures"] * 2
    assert all(Path(picture).stat().st_size > 10_000 for picture in found["pictures"])
    for word in ("serial", "server", "ring", "pipeline", "accuracy", "pictures/curves.png"):
        assert word in table
    assert table.count("✓") == 4


def forgetful_ring(size: int) -> Collective:
    """A ring that replaces where it should add, so that a rank's gradients are lost."""
    plan = ring_all_reduce(size)
    return Collective(
        "forgetful ring",
        tuple(
            tuple(
                tuple(
                    Receive(i.peer, i.item) if isinstance(i, Receive) and i.item == 0 else i
                    for i in step
                )
                for step in program
            )
            for program in plan.programs
        ),
        plan.chunks,
    )


def test_compare_exits_with_1_where_a_strategy_departs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ring_all_reduce", forgetful_ring)
    # As if there were no proof that would have refused it.
    monkeypatch.setattr("minidl.strategy.all_reduce.check_all_reduce", lambda plan: None)
    found, table = compare("--workers", "3", status=1)
    assert found["agrees"] is False
    assert [row["strategy"] for row in found["rows"] if not row["agrees"]] == ["ring"]
    assert min(r["difference"] for r in found["rows"] if not r["agrees"]) > 1e-6
    assert (table.count("✓"), table.count("✗")) == (3, 1)
    assert [Path(picture).parent for picture in found["pictures"]] == [Path("compared")] * 2


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (WRONG / "off_by_one.py", "rank"),
        (WRONG / "deadlock.py", "waits"),
        (ROOT / "exercises" / "hw_torus" / "torus.py", "torus_all_reduce is not written yet"),
    ],
)
def test_compare_refuses_a_students_ring_that_is_wrong(file: Path, message: str) -> None:
    """Before anything starts, and with the plan drawn where there is one."""
    said = refused("compare", "digits", "--plan", file)
    assert message in said
    if file.parent == WRONG:
        assert "←" in said and "→" in said


def test_grade_gives_points_and_writes_them_for_gradescope(tmp_path: Path) -> None:
    result = minidl("grade", "hw_ring", "-d", SOLUTION, "--results", "results.json", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["tests"]
    assert sum(test["score"] for test in written["tests"]) == sum(
        test["max_score"] for test in written["tests"]
    )
    assert found


def test_summary_counts_without_training_anything() -> None:
    told = json.loads(minidl("summary", "vgg16", "--json").stdout)
    assert told["parameters"] == 138_357_544
    assert told["input_shape"] == [224, 224, 3]
    table = minidl("summary", "lenet5", "--input", "28x28x1", "--classes", "7", "-b", "64").stdout
    assert "lenet5 for 64 samples of 28×28×1" in table
    assert f"{61_706 - 3 * 85:,}" in table
    assert len(re.findall(r"^\d+ +[A-Z]", table, re.MULTILINE)) == 13


def test_summary_counts_each_network_on_samples_it_is_drawn_for() -> None:
    assert models.usual_input("lenet5") == (28, 28, 1)
    told = json.loads(minidl("summary", "all", "--json", "-b", "2").stdout)
    assert list(told) == list(models.known())
    assert min(each["parameters"] for each in told.values()) > 10_000
    assert told["lenet5"]["multiply_adds"] == 2 * 416_520
    assert told["resnet20"]["input_shape"] == [32, 32, 3]
    assert told["vgg16"]["parameters"] == 138_357_544
    table = minidl("summary", "all", "--plot", "new/networks.svg").stdout
    assert re.search(r"^lenet5 +28×28×1 +61,706 +416.52 k", table, re.MULTILINE)
    assert table.endswith("\nsaved new/networks.svg\n")
    assert "resnet152" in Path("new/networks.svg").read_text()


def test_summary_draws_a_networks_memory() -> None:
    shown = minidl("summary", "lenet5", "--plot", "memory.png").stdout
    assert shown == minidl("summary", "lenet5").stdout + "saved memory.png\n"
    assert Path("memory.png").read_bytes().startswith(b"\x89PNG")


def test_summary_refuses_what_cannot_be_counted() -> None:
    assert "known: alexnet" in refused("summary", "lenet")
    for text in ("28x28x", "0x28x1", "a", "28,28,1", "-1x2x3"):
        assert "such as 224x224x3" in refused("summary", "lenet5", "--input", text)
    assert "at most 32×32" in refused("summary", "lenet5", "--input", "224x224x3")
    assert "one network" in refused("summary", "all", "--input", "32x32x3")
    assert "one network" in refused("summary", "all", "--classes", "3")
    assert "must end in" in refused("summary", "lenet5", "--plot", "picture.doc")
    assert "batch must be" in refused("summary", "mlp", "--batch", "0")
