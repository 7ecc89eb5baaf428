"""Asking a student's code for plans: in a process of its own, with limits on time and memory.

The code only ever gives data. What is right is judged in the caller's process, which
the code cannot reach.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from minidl.errors import ExerciseError, InputError, NotWrittenError
from minidl.plans import Collective, Instruction, Receive, Send, check_all_reduce

SECONDS = 10.0
"""How long the code may take for one world size."""
START_SECONDS = 120.0
"""How long Python itself may take to start, on a machine that is busy with other things."""
MOST_OUTPUT = 2000
"""How many characters of what the code prints are kept."""


@dataclass(frozen=True)
class Failure:
    """Why there is no plan for a world size."""

    message: str


@dataclass(frozen=True)
class Answers:
    """What a student's code gave.

    Parameters
    ----------
    plans
        For each world size a plan, not yet checked, or why there is none.
    printed
        What the code printed, its end if there was much of it.
    """

    plans: dict[int, Collective | Failure]
    printed: str = ""


def load_plan_maker(path: str | Path) -> Callable[[int], Collective]:
    """A student's all-reduce as a function of the number of ranks, proved before each use.

    Parameters
    ----------
    path
        A Python file that defines ``ring_all_reduce(size)``, as exercise ``hw_ring`` asks.

    Returns
    -------
    callable
        Takes the number of ranks, gives the plan. It raises `PlanError`, with the plan
        drawn, if the plan is wrong, and `ExerciseError` if the code fails, ends the
        process, or takes more than ten seconds.

    Raises
    ------
    InputError
        If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")

    @functools.cache
    def make(size: int) -> Collective:
        plan = ask(path, "ring_all_reduce", [size]).plans[size]
        if isinstance(plan, Failure):
            raise ExerciseError(f"{path}: {plan.message}")
        check_all_reduce(plan)
        return plan

    return make


def ask(path: Path, function: str, sizes: Sequence[int], seconds: float = SECONDS) -> Answers:
    """Call ``function(size)`` of a file for each size.

    Parameters
    ----------
    path
        The student's file.
    function
        The function's name in it.
    sizes
        The world sizes, in the order in which they are asked for.
    seconds
        How long loading the file, and each call, may take. What has not been answered
        when one takes longer is not asked again.
    """
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as output, open(reader, "rb", buffering=0) as answers:
        command = [sys.executable, "-P", "-m", "minidl.course.child", str(writer)]
        process = subprocess.Popen(
            [*command, str(path.resolve()), function, *map(str, sizes)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(),
            pass_fds=[writer],
            start_new_session=True,
        )
        os.close(writer)
        try:
            plans = _collect(_lines(answers, seconds), function, sizes, seconds)
        finally:
            _kill(process)
        return Answers(plans, _end_of(output))


def _collect(
    lines: Iterator[dict[str, Any] | None], function: str, sizes: Sequence[int], seconds: float
) -> dict[int, Collective | Failure]:
    """One entry for each size, whatever became of the process."""
    plans: dict[int, Collective | Failure] = {}
    asked = "while loading the file"
    for line in lines:
        if line is None:
            reason = f"still running after {seconds:g} seconds {asked}: is there an endless loop?"
            break
        if "size" in line:
            plans[line["size"]] = _decode(line, function)
        elif "error" in line:
            return dict.fromkeys(sizes, Failure(_explain(line["error"])))
        left = [size for size in sizes if size not in plans]
        if not left:
            return plans
        if "ready" not in line:
            asked = f"in {function}({left[0]})"
    else:
        reason = f"the process ended by itself {asked}"
    first, *later = [size for size in sizes if size not in plans]
    plans[first] = Failure(reason)
    return plans | dict.fromkeys(later, Failure(f"not tried: {reason}"))


def _lines(answers: IO[bytes], seconds: float) -> Iterator[dict[str, Any] | None]:
    """The child's answers as they come; None, as the last one, if the next takes too long."""
    buffer = b""
    limit = START_SECONDS
    deadline = time.monotonic() + limit
    while True:
        readable, _, _ = select.select([answers], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            yield None
            return
        received = answers.read(1 << 16)
        if not received:
            return
        *complete, buffer = (buffer + received).split(b"\n")
        for line in complete:
            yield json.loads(line)
            deadline = time.monotonic() + seconds


def _decode(line: dict[str, Any], function: str) -> Collective | Failure:
    size = line["size"]
    call = f"{function}({size})"
    if "error" in line:
        words = _explain(line["error"])
        return Failure(
            words if line["error"]["kind"] == NotWrittenError.__name__ else f"{call}: {words}"
        )
    programs = tuple(
        tuple(tuple(_instruction(*words) for words in step) for step in program)
        for program in line["programs"]
    )
    if len(programs) != size:
        return Failure(f"{call} gave {len(programs)} programs; each of {size} ranks needs one")
    return Collective(call, programs, chunks=line["chunks"])


def _instruction(kind: str, peer: int, chunk: int, reduce: bool = False) -> Instruction:
    return Send(peer, chunk) if kind == "send" else Receive(peer, chunk, reduce)


def _explain(error: dict[str, Any]) -> str:
    """An exception in the student's code, as one or two lines."""
    text = str(error["message"])
    ours = error["kind"] in (ExerciseError.__name__, NotWrittenError.__name__)
    if not ours:
        text = f"{error['kind']}: {text}".rstrip(": ")
    if error.get("file") and not ours:
        text += f"\n  {error['file']}, line {error['line']}: {error['code']}"
    return text


def _environment() -> dict[str, str]:
    """This process's, with the same minidl, and nothing written beside the student's files."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it has started."""
    with contextlib.suppress(ProcessLookupError):  # when all of them have ended already
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end_of(output: IO[bytes]) -> str:
    end = output.seek(0, os.SEEK_END)
    output.seek(max(0, end - MOST_OUTPUT))
    return output.read().decode(errors="replace").strip()
