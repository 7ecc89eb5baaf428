"""Asking a student's code: in a process of its own, with limits on time and memory.

The code only ever gives data. What is right is judged in the caller's process, which
the code cannot reach.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Self

from minidl.course.values import decode, encode
from minidl.errors import ExerciseError, NotWrittenError

SECONDS = 10.0
"""How long one call of the code may take."""
START_SECONDS = 120.0
"""How long Python itself may take to start, on a machine that is busy with other things."""
MOST_OUTPUT = 2000
"""How many characters of what the code prints are kept."""


class GoneError(ExerciseError):
    """The student's code cannot be asked, or not any more."""


class Student:
    """A student's file at work, to be asked; a context manager that ends its process.

    Parameters
    ----------
    path
        The file.
    exercise
        The module of `minidl.course` that has the exercise's probes, the functions that
        a question names, and the `NAMES` of what the file has to define.
    seconds
        How long loading the file, and each call, may take. After one that takes longer
        nothing more is asked.
    """

    def __init__(self, path: Path, exercise: str, seconds: float = SECONDS) -> None:
        self.path, self.exercise, self.seconds = path, exercise, seconds
        self.gone = ""
        """Why nothing can be asked; empty if it can."""
        self.case = ""
        """What the code is tried on, for messages."""
        self.printed = ""
        """What the code printed, its end if there was much of it; known on leaving."""

    def __enter__(self) -> Self:
        self._buffer = b""
        self._output = tempfile.TemporaryFile()
        theirs, self._questions = os.pipe()
        self._answers, writer = os.pipe()
        command = [sys.executable, "-P", "-m", "minidl.course.child", str(theirs), str(writer)]
        self._process = subprocess.Popen(
            [*command, f"minidl.course.{self.exercise}", str(self.path.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=_environment(),
            pass_fds=[theirs, writer],
            start_new_session=True,
        )
        os.close(theirs)
        os.close(writer)
        with contextlib.suppress(GoneError):
            self._answer(START_SECONDS, "while starting")
            loaded = self._answer(self.seconds, "while loading the file")
            if "error" in loaded:
                self.gone = _explain(loaded["error"])
        return self

    def __exit__(self, *error: object) -> None:
        self._end()
        os.close(self._questions)
        os.close(self._answers)
        with self._output:
            self.printed = _end_of(self._output)

    def ask(self, probe: str, *arguments: Any, call: str = "") -> Any:
        """What a probe of the exercise gives for these arguments.

        Parameters
        ----------
        probe
            Its name.
        arguments
            Numbers, arrays and lists of them.
        call
            Which call of the student's code this is, for messages; by default, the probe's name.

        Raises
        ------
        ExerciseError
            If the student's code raises something, or gives what the probe refuses.
        GoneError
            If it does not answer, now or at an earlier call.
        """
        call = call or probe
        if self.gone:
            raise GoneError(self.gone)
        question = json.dumps({"probe": probe, "arguments": encode(arguments, "arguments")})
        with contextlib.suppress(BrokenPipeError):  # that it has ended is seen below
            _write(self._questions, question.encode() + b"\n")
        during = f"in {call} for {self.case}" if self.case else f"in {call}"
        answer = self._answer(self.seconds, during)
        if "error" not in answer:
            return decode(answer["value"])
        words = _explain(answer["error"])
        if answer["error"]["kind"] == NotWrittenError.__name__:
            raise NotWrittenError(words)
        raise ExerciseError(f"{call}: {words}")

    def _answer(self, seconds: float, during: str) -> dict[str, Any]:
        """The next line that the process writes."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._answers], [], [], left)[0]:
                self._lose(
                    f"still running after {seconds:g} seconds {during}: is there an endless loop?"
                )
            received = os.read(self._answers, 1 << 16)
            if not received:
                self._lose(f"the process ended by itself {during}")
            self._buffer += received
        line, self._buffer = self._buffer.split(b"\n", 1)
        return dict(json.loads(line))

    def _lose(self, reason: str) -> None:
        self.gone = reason
        self._end()
        raise GoneError(reason)

    def _end(self) -> None:
        """End the process and whatever it has started."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):  # when all of them have ended already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


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


def _end_of(output: IO[bytes]) -> str:
    end = output.seek(0, os.SEEK_END)
    output.seek(max(0, end - MOST_OUTPUT))
    return output.read().decode(errors="replace").strip()
