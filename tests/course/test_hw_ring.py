"""Homework hw_ring: the solution passes, the stub and typical mistakes are told what is wrong."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console
from test_forms import graded_here

from minidl import plans
from minidl.course import Report, grade, load_plan_maker
from minidl.errors import ExerciseError, InputError, PlanError, UnknownNameError

ROOT = Path(__file__).parents[2]
WRONG = Path(__file__).parent / "wrong_rings"
EMPTY = "def ring_all_reduce(size):\n    return [[] for rank in range(size)]\n"


@pytest.fixture
def graded(tmp_path: Path):
    """Grade this source text; in this process, unless the time for a call is given."""

    def run(source: str, seconds: float | None = None) -> Report:
        if seconds is None:
            return graded_here("hw_ring", source, tmp_path)
        (tmp_path / "ring.py").write_text(source)
        return grade("hw_ring", tmp_path, seconds)

    return run


def wrong_ring(name: str) -> str:
    return (WRONG / f"{name}.py").read_text()


def message(report: Report, check: str) -> str:
    return next(result.message for result in report.results if result.name.startswith(check))


def scores(report: Report) -> list[float]:
    return [result.score for result in report.results]


def text(report: Report) -> str:
    console = Console(width=100, file=io.StringIO())
    console.print(report.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_solution_gets_all_points() -> None:
    report = grade("hw_ring", ROOT / "solutions" / "hw_ring")
    assert report.passed
    assert (report.score, report.max_score) == (100, 100)
    assert "100 of 100 points" in text(report) and "wrong" not in text(report)


def test_the_stub_gets_no_point_and_says_where_to_begin() -> None:
    report = grade("hw_ring", ROOT / "exercises" / "hw_ring")
    assert report.score == 0 and not report.passed
    assert text(report).count("not written yet: see the hints in ring.py") == 1
    assert "Traceback" not in text(report)


def test_a_chunk_off_by_one_in_the_second_phase(graded) -> None:
    report = graded(wrong_ring("off_by_one"))
    assert scores(report) == [10, 10, 20, 20, 0, 0, 0]
    found = message(report, "second phase")
    assert "smallest failing world size: 2" in found
    assert "in the end rank 0 holds of chunk 0 no contribution of rank 1" in found
    assert "chunk 0  0 ✗     0 ✗" in found
    assert "Which chunk is whole on rank r" in found
    assert "first make this right: second phase" in message(report, "no step")


def test_a_receiver_off_by_one(graded) -> None:
    # With two ranks the mistake makes no difference, so these points are earned.
    report = graded(wrong_ring("off_by_one_receiver"))
    assert scores(report) == [10, 10, 4, 4, 4, 3, 1]
    found = message(report, "every message")
    assert "smallest failing world size: 3" in found
    assert "rank 0 sends chunk 0 in its step 0, but what rank 1 receives" in found
    assert "0     »0→1 1+←2«  »1→2 2+←0«  2→0 0+←1" in found
    assert "If rank r sends chunk" in found


def test_a_missing_second_phase(graded) -> None:
    report = graded(wrong_ring("no_second_phase"))
    assert scores(report) == [10, 10, 20, 20, 0, 0, 0]
    found = message(report, "second phase")
    assert "smallest failing world size: 2" in found
    assert "Is the second phase, the all-gather, missing?" in found
    assert "chunk 0  0 ✗     0+1" in found


def test_a_deadlock(graded) -> None:
    report = graded(wrong_ring("deadlock"))
    assert scores(report) == [10, 10, 0, 0, 0, 0, 0]
    found = message(report, "every message")
    assert "smallest failing world size: 2" in found
    assert "deadlock: rank 0 waits for rank 1, rank 1 waits for rank 0" in found
    assert "0     »0→1«   »1→0«" in found
    assert "(Send(...), Receive(...))" in found


def test_a_mistake_in_larger_worlds_only_costs_these(graded) -> None:
    report = graded(wrong_ring("right_up_to_four"), seconds=10)
    assert scores(report) == [10, 10, 20, 8, 8, 6, 2]
    assert "smallest failing world size: 5" in message(report, "first phase")
    assert report.printed.startswith("asked for 1\nasked for 1\nasked for 2")
    assert "your code printed" in text(report)


def test_a_right_sum_that_is_no_ring(graded) -> None:
    report = graded(wrong_ring("direct"))
    assert scores(report) == [10, 2, 4, 4, 4, 3, 1]
    assert "rank 0 sends only to rank 1; in step 1 it has 2→2" in message(
        report, "every rank sends"
    )


def test_a_ring_with_wasted_steps(graded) -> None:
    source = (ROOT / "solutions/hw_ring/ring.py").read_text()
    wasteful = source.replace("        programs.append", "        program += program[-1:]\n"
                              "        programs.append")  # fmt: skip
    report = graded(wasteful)
    found = message(report, "no step")
    # The last message once more does no harm to the sum.
    assert scores(report)[:5] == [10, 10, 20, 20, 20] and "2(P - 1) = 2 are enough" in found


def test_a_ring_that_takes_turns_is_too_slow(graded) -> None:
    report = graded(wrong_ring("taking_turns"))
    assert scores(report) == [10, 10, 20, 20, 20, 0, 0]
    assert "takes 4 steps; 2(P - 1) = 2 are enough" in message(report, "no step")


def test_empty_programs_earn_nothing(graded) -> None:
    report = graded(EMPTY)
    assert report.score == 0
    assert "rank 0 does nothing at all" in message(report, "every rank has")


def test_an_endless_loop_in_large_worlds_keeps_the_points_of_small_ones(graded) -> None:
    source = (ROOT / "solutions/hw_ring/ring.py").read_text()
    loop = source.replace(
        "    programs = []", "    while size > 6:\n        pass\n    programs = []"
    )
    began = time.monotonic()
    report = graded(loop, seconds=1.5)
    assert time.monotonic() - began < 8
    assert report.score == 60
    words = "still running after 1.5 seconds in ring_all_reduce(7): is there an endless loop?"
    assert words in " ".join(text(report).split())


def test_endless_programs_are_stopped(graded) -> None:
    source = "import itertools\ndef ring_all_reduce(size):\n    return itertools.repeat([])\n"
    assert "has more than 10000 entries" in message(graded(source), "every rank has")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def ring_all_reduce(size:\n    pass\n", ["SyntaxError", "ring.py, line 1"]),
        ("import nonsense\n", ["No module named 'nonsense'", "ring.py, line 1: import nonsense"]),
        (
            "def ring_all_reduce(size):\n    chunks = []\n    return chunks[size]\n",
            ["ring_all_reduce(1): IndexError: list index", "ring.py, line 3: return chunks[size]"],
        ),
        ("def ring(size):\n    return []\n", ["defines no function named ring_all_reduce"]),
        ("def ring_all_reduce(size):\n    [[]]\n", ["is None: is a return missing?"]),
        ("def ring_all_reduce(size):\n    return 'ring'\n", ["for each rank, not 'ring'"]),
        ("def ring_all_reduce(size):\n    return [[7]] * size\n", ["should be a Send, a Receive"]),
        ("def ring_all_reduce(size):\n    return [[]]\n", ["gave 1 programs; each of 2 ranks"]),
        (
            "from minidl.plans import Send\n"
            "def ring_all_reduce(size):\n    return [[Send(1, 0.5)]] * size\n",
            ["step 0 of the program of rank 0 the item should be a whole number, not 0.5"],
        ),
        (
            "from minidl.plans import Send\n"
            "def ring_all_reduce(size):\n    return [[Send(size, 0)]] * size\n",
            ["rank 0 sends to rank 1 in step 0, but the ranks are 0 to 0"],
        ),
        ("raise SystemExit(0)\n", ["SystemExit: 0", "ring.py, line 1"]),
        (
            "def ring_all_reduce(size):\n    return ring_all_reduce(size)\n",
            ["RecursionError", "ring.py, line 2"],
        ),
    ],
    ids=[
        "syntax", "import", "exception", "name", "none", "string", "number", "count", "fraction",
        "beyond", "exit", "recursion",
    ],
)  # fmt: skip
def test_what_the_student_is_told(graded, source: str, words: list[str]) -> None:
    report = graded(source)
    shown = " ".join(text(report).replace("│", " ").split())
    assert report.score == 0
    for word in words:
        assert word in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os\nos._exit(0)\n", "the process ended by itself while loading"),
        (
            "def ring_all_reduce(size):\n    return bytearray(3 << 30)\n",
            "MemoryError\n  ring.py, line 2: return bytearray(3 << 30)",
        ),
    ],
    ids=["hard-exit", "memory"],
)
def test_what_ends_or_fills_the_process(graded, source: str, words: str) -> None:
    report = graded(source, seconds=10)
    assert report.score == 0
    assert words in message(report, "every rank has")


def test_other_files_beside_it_can_be_imported(
    graded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    (tmp_path / "helper.py").write_text((ROOT / "solutions/hw_ring/ring.py").read_text())
    assert graded("from helper import ring_all_reduce\n", seconds=10).passed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["helper.py", "ring.py"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "Ring.py.txt").touch()
    report = grade("hw_ring", tmp_path)
    assert report.score == 0
    assert f"there is no file ring.py in {tmp_path}; there is: Ring.py.txt" in message(report, "no")


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no directory .*nowhere"):
        grade("hw_ring", tmp_path / "nowhere")


def test_an_unknown_exercise_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown exercise 'hw_rings'; known: hw_"):
        grade("hw_rings", tmp_path)


def test_gradescope_reads_the_results(graded, tmp_path: Path) -> None:
    report = graded(wrong_ring("deadlock"), seconds=10)
    path = tmp_path / "out" / "results.json"
    report.to_gradescope(path)
    report.to_gradescope(path)  # over the old one
    content = json.loads(path.read_text())
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]
    assert content["score"] == 20 == sum(test["score"] for test in content["tests"])
    assert sum(test["max_score"] for test in content["tests"]) == 100
    assert content["execution_time"] > 0 and "20 of 100 points" in content["output"]
    for test in content["tests"]:
        assert set(test) == {
            "number", "name", "score", "max_score", "status", "output", "output_format"
        }  # fmt: skip
        assert test["status"] == ("passed" if test["score"] == test["max_score"] else "failed")
        assert bool(test["output"]) == (test["status"] == "failed")
    assert json.loads(report.to_json()) == content


def test_a_students_ring_becomes_a_plan() -> None:
    make = load_plan_maker(ROOT / "solutions" / "hw_ring" / "ring.py")
    assert make(3).programs == plans.ring_all_reduce(3).programs
    assert make(3) is make(3)


def test_a_wrong_ring_does_not_become_a_plan() -> None:
    with pytest.raises(PlanError, match="deadlock: rank 0 waits") as caught:
        load_plan_maker(WRONG / "deadlock.py")(3)
    assert "»0→1«" in str(caught.value)
    with pytest.raises(ExerciseError, match="not written yet"):
        load_plan_maker(ROOT / "exercises" / "hw_ring" / "ring.py")(2)


def test_a_missing_plan_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*none\.py"):
        load_plan_maker(tmp_path / "none.py")


def test_a_ring_that_turns_the_other_way_round_loses_little(graded) -> None:
    source = (ROOT / "solutions/hw_ring/ring.py").read_text()
    turned = source.replace(
        "after, before = (rank + 1) % size, (rank - 1) % size",
        "before, after, rank = (rank + 1) % size, (rank - 1) % size, -rank",
    )
    report = graded(turned)
    assert report.score >= 90
    assert "your ring turns the other way round" in message(report, "every rank sends")


@pytest.mark.parametrize("begin", ["KEPT", "KEPT\n    KEPT.clear()"])
def test_a_plan_that_is_another_one_each_time(graded, begin: str) -> None:
    """Since calls add to one list, or write the list anew that an earlier call has returned."""
    source = (ROOT / "solutions/hw_ring/ring.py").read_text()
    kept = source.replace("    programs = []", f"    programs = {begin}").replace(
        "Program = list", "KEPT = []\nProgram = list"
    )
    report = graded(kept)
    assert "gives another plan when it is asked again" in text(report)
    assert report.score < 100


def test_the_marked_place_is_within_80_columns(graded) -> None:
    source = (ROOT / "solutions/hw_ring/ring.py").read_text()
    wrong_at_the_end = source.replace(
        "        programs.append", "        if rank == size - 1 > 7:\n            program[-1] = "
        "program[-1][:1]\n        programs.append"
    )  # fmt: skip
    lines = message(graded(wrong_at_the_end), "every message").splitlines()
    assert any("»" in line for line in lines)
    assert all(len(line) <= 76 for line in lines if line[:1].isdigit() or "rank 0" in line[:12])
