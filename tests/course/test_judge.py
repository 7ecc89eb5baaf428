"""Code that attacks its judge: it gets no points, is told why, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minidl.course import Report, grade, sandbox, usage, warden
from minidl.course.channel import Channel
from minidl.course.student import START_SECONDS

ROOT = Path(__file__).parents[2]
SOLUTION = (ROOT / "solutions" / "hw_ring" / "ring.py").read_text()
RIGHT = SOLUTION.replace("from __future__ import annotations", "")
"""So that something can stand before it."""
WRITER = "import os, sys, time, signal, subprocess\nanswers = int(sys.argv[2])\n"
NONCE = WRITER + (
    "import json\nframe = sys._getframe()\n"
    "while 'nonce' not in frame.f_locals: frame = frame.f_back\n"
    "def forge(**content):\n"
    "    text = json.dumps({'nonce': frame.f_locals['nonce']} | content)\n"
    "    os.write(answers, text.encode() + b'\\n')\n"
    "    time.sleep(60)\n"
)
NOT_OURS = "is not one that the judge's own code writes"
SLOW = pytest.mark.slow
SLEEPERS = "subprocess.Popen(['sleep', '{name}'], start_new_session=True)\n"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files, which is empty at the end; and no sandbox."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr(sandbox, "trouble", lambda path: "not tried")
    yield folder
    assert not [*folder.iterdir()]


@pytest.fixture
def attacked(tmp_path: Path):
    """Grade this text, which also leaves a process in a session of its own."""
    name = f"98765.{os.getpid()}{time.monotonic_ns() % 10**6}"

    def run(source: str, seconds: float = 0.5, total_seconds: float = 300.0) -> Report:
        file = tmp_path / "work" / "ring.py"
        file.parent.mkdir()
        file.write_text(WRITER + SLEEPERS.format(name=name) + source)
        return grade("hw_ring", file.parent, seconds, total_seconds)

    yield run
    assert name not in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout


def said(report: Report) -> str:
    assert report.score == 0
    return report.results[0].message


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("os.write(answers, b'{nope\\n')", NOT_OURS, id="malformed"),
        pytest.param("os.write(answers, b'\\xff\\xfe\\n')", NOT_OURS, id="bytes", marks=SLOW),
        pytest.param("os.write(answers, b'[' * 5000 + b'\\n')", NOT_OURS, id="deep", marks=SLOW),
        pytest.param(
            "os.write(answers, b'{\"nonce\": \"\", \"value\": [1, [[]]]}\\n'); time.sleep(0.3)",
            f"the answer while loading the file {NOT_OURS}", id="early"
        ),
        pytest.param("while True: os.write(answers, b'x' * 65536)", NOT_OURS, id="flood"),
        pytest.param(
            "while True: os.write(answers, b'x'), time.sleep(0.01)",
            "still running after 0.5 seconds while loading the file", id="drip",
        ),
        pytest.param("time.sleep(60)", "still running after 0.5 seconds", id="sleep", marks=SLOW),
        pytest.param("os.closerange(3, 256)", "ended by itself", id="closed", marks=SLOW),
        pytest.param("os.close(answers); time.sleep(60)", "ended by itself",
                     id="answers-closed", marks=SLOW),
        pytest.param("raise ValueError('\\ud800 \\x1b[2J')", r"ValueError: \ud800 \x1b[2J",
                     id="surrogate"),
        pytest.param(
            "class E(Exception):\n    def __str__(self): raise self\nraise E",
            "E: (its text raises an error itself)", id="error-in-error", marks=SLOW,
        ),
        pytest.param("raise ValueError('x' * 10**6)", "xxx…", id="long-error", marks=SLOW),
        pytest.param("os.truncate(os.open('x', 65), 1 << 40)", "File too large", id="large-file"),
        pytest.param(
            "import atexit; atexit.register(time.sleep, 60)\n"
            "for n in range(1, 32):\n"
            "    if n not in (9, 19): signal.signal(n, signal.SIG_IGN)\nos.close(1); sys.exit(0)",
            "SystemExit", id="signals", marks=SLOW,
        ),
        pytest.param("input('a number? ')", "EOFError: the judge has no keyboard", id="input"),
        pytest.param("breakpoint()", "--case 1 --here", id="breakpoint"),
        pytest.param("import pdb; pdb.set_trace()", "the judge has no keyboard",
                     id="pdb", marks=SLOW),
    ],
)  # fmt: skip
def test_an_attack_while_loading(source: str, words: str, attacked, tmp_path: Path) -> None:
    began = time.monotonic()
    report = attacked(f"{source}\n{RIGHT}")
    assert words in said(report)
    assert time.monotonic() - began < 30
    report.to_gradescope(tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text("utf-8"))["score"] == 0


def test_a_forged_answer(attacked) -> None:
    """Also with the number of the question, which the code can find in Python's memory."""
    huge = "{'shape': [10**9, 10**9], 'dtype': '<f8', 'numbers': []}"
    assert NOT_OURS in said(attacked(f"{NONCE}forge(value={huge})\n{RIGHT}"))


def test_a_forged_answer_of_another_form_than_the_probes(attacked) -> None:
    lying = f"{NONCE}def ring_all_reduce(size): forge(value=[1, 5])\n"
    lying = lying.replace("'nonce': frame.f_locals['nonce']", "'nonce': asked()")
    lying += (
        "def asked():\n    frame = sys._getframe()\n"
        "    while 'question' not in frame.f_locals: frame = frame.f_back\n"
        "    return frame.f_locals['question']['nonce']\n"
    )
    assert "the judge cannot read what your code gives" in said(attacked(lying))


@pytest.mark.parametrize(
    ("limit", "value", "source", "words"),
    [
        ("MOST_WRITTEN", 16 << 20,
         "n = 0\nwhile True:\n    open(f'/{os.environ[\"TMPDIR\"]}/{(n := n + 1)}', 'wb')"
         ".write(bytes(1 << 20))\n    time.sleep(0.01)", "more than 16 MiB were written"),
        pytest.param("MOST_WRITTEN", 16 << 20,
         "while True: print('x' * (1 << 16)), time.sleep(0.001)",
         "more than 16 MiB were written", marks=SLOW),
        pytest.param("MOST_FILES", 100, "for n in range(200): open(str(n), 'w')\ntime.sleep(60)",
         "more than 100 files", marks=SLOW),
        ("MOST_PROCESSES", 20, "for n in range(50):\n    if not os.fork(): time.sleep(60)\n"
         "time.sleep(60)", "more than 20 processes were started"),
        pytest.param("MOST_MEMORY", 256 << 20,
         "for n in range(4):\n    if not os.fork(): x = b'x' * (100 << 20); time.sleep(60)\n"
         "time.sleep(60)", "the processes use more than 256 MiB of memory", marks=SLOW),
    ],
    ids=["files", "prints", "many-files", "forks", "memory"],
)  # fmt: skip
def test_limits_of_all_processes(
    limit: str, value: int, source: str, words: str, attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, limit, value)
    assert words in said(attacked(source, seconds=30.0))


@SLOW
def test_the_time_of_all_calls_together(attacked) -> None:
    slow = f"{RIGHT}\nright = ring_all_reduce\n"
    slow += "def ring_all_reduce(size): return time.sleep(0.2) or right(size)\n"
    report = attacked(slow, seconds=10.0, total_seconds=1.0)
    words = "all calls together took 1 seconds; stopped in ring_all_reduce("
    assert words in report.results[0].message


@SLOW
def test_folders_that_are_hard_to_remove(attacked) -> None:
    hard = "for n in range(1100): os.mkdir('x'), os.chdir('x')\nos.chmod('.', 0)\n"
    assert "ended by itself" in said(attacked(hard + "os._exit(0)", seconds=10.0))


def test_no_orphan_changes_the_score_afterwards(attacked, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    orphan = (
        "if not os.fork():\n    os.setsid()\n    if os.fork(): os._exit(0)\n    while True:\n"
        f"        open({str(results)!r}, 'w').write('100'), time.sleep(0.01)\n"
        "time.sleep(0.1)\nos._exit(0)\n"
    )
    report = attacked(orphan)
    assert results.read_text() == "100"
    report.to_gradescope(results)
    time.sleep(0.1)
    assert json.loads(results.read_text())["score"] == 0


def test_an_interrupt_while_the_code_is_loaded(attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = Channel.exchange

    def interrupted(channel: Channel, question: dict[str, Any], seconds: float) -> Any:
        answer = exchange(channel, question, seconds)
        if seconds < START_SECONDS:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(Channel, "exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        attacked(RIGHT, seconds=10.0)


@SLOW
def test_a_stopped_warden(attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warden, "SECONDS", 0.5)
    stop = "os.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(60)\n"
    assert "still running after 0.5 seconds" in said(attacked(stop))


@pytest.mark.parametrize(
    "how",
    [
        "os.killpg(os.getpgid(os.getppid()), 9)",
        pytest.param("os.kill(os.getppid(), 9)", marks=SLOW),
    ],
)
def test_the_judge_outlives_what_kills_its_parent(how: str, tmp_path: Path, place: Path) -> None:
    """In a session apart: what has this judge killed would kill this test as well."""
    name = f"98765.{os.getpid()}{time.monotonic_ns() % 10**6}"
    (tmp_path / "ring.py").write_text(f"{WRITER}{SLEEPERS.format(name=name)}{how}\ntime.sleep(60)")
    judged = subprocess.run(
        [sys.executable, "-m", "minidl.cli.main", "grade", "hw_ring", "-d", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(place), "COLUMNS": "200"},
        capture_output=True, text=True, start_new_session=True, timeout=100,
    )  # fmt: skip
    assert judged.returncode == 1, judged.stderr
    assert "the process ended by itself while loading the file" in judged.stdout
    assert name not in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout


def test_a_judge_that_is_killed_leaves_no_code_running(tmp_path: Path, place: Path) -> None:
    name = f"98765.{os.getpid()}{time.monotonic_ns() % 10**6}"
    ready = tmp_path / "ready"
    (tmp_path / "ring.py").write_text(
        f"{WRITER}{SLEEPERS.format(name=name)}open({str(ready)!r}, 'w')\ntime.sleep(60)"
    )
    judge = subprocess.Popen(
        [sys.executable, "-m", "minidl.cli.main", "grade", "hw_ring", "-d", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(place)},
    )
    _until(ready.exists)
    judge.send_signal(signal.SIGKILL)
    judge.wait()
    _until(lambda: not [*place.iterdir()])
    assert name not in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout


def _until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
