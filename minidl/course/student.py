"""Asking a student's code: in a process of its own, with limits on time, memory and files.

The code only ever gives data, and what is right is judged in the caller's process, after a
strict look at what came. What an adversary can do nevertheless is in docs/judge.md.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from minidl.course import sandbox, warden
from minidl.course.channel import Channel
from minidl.course.usage import excess
from minidl.course.values import MOST_CHARACTERS, ProtocolError, decode, encode, plain
from minidl.errors import ExerciseError, NotWrittenError

SECONDS = 10.0
"""How long one call of the code may take."""
TOTAL_SECONDS = 300.0
"""How long all calls together may take."""
START_SECONDS = 120.0
"""How long Python itself may take to start, on a machine that is busy with other things."""


class GoneError(ExerciseError):
    """The student's code cannot be asked, or not any more."""


@dataclass(frozen=True)
class Question:
    """What a student's code was asked.

    Parameters
    ----------
    probe
        The name of the exercise's probe.
    arguments
        Of the probe, as `minidl.course.values.encode` gives them.
    call
        Which call of the student's code this is.
    """

    probe: str
    arguments: Any
    call: str


class Student:
    """A student's file at work, to be asked; a context manager that ends its processes.

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
    total_seconds
        How long all of this may take together.
    breakpoints
        Whether ``breakpoint()`` is an error, because there is no keyboard; else it does nothing.
    """

    def __init__(
        self,
        path: Path,
        exercise: str,
        seconds: float = SECONDS,
        total_seconds: float = TOTAL_SECONDS,
        *,
        breakpoints: bool = True,
    ) -> None:
        self.path, self.exercise, self.seconds = path, exercise, seconds
        self.breakpoints = breakpoints
        self._total = self._left = total_seconds
        self.gone = ""
        """Why nothing can be asked; empty if it can."""
        self.asked: list[Question] = []
        """The questions of this case."""
        self._case = ""
        self.printed = ""
        """What the code printed, its end if there was much of it; known on leaving."""
        self.isolation = ""
        """What keeps the code from the rest of the machine; known on entering."""

    @property
    def case(self) -> str:
        """What the code is tried on, for messages; empty after the last case."""
        return self._case

    @case.setter
    def case(self, case: str) -> None:
        self._case = case
        if case:
            self.asked.clear()

    def __enter__(self) -> Self:
        if sys.platform != "linux":
            raise ExerciseError("a student's code can be run and ended safely on Linux only")
        self._start()
        try:
            with contextlib.suppress(GoneError):
                self._exchange({}, START_SECONDS, "while starting")
                loaded = self._exchange({}, self.seconds, "while loading the file")
                if "error" in loaded:
                    self.gone = _explain(loaded["error"])
        except BaseException:  # an interrupt by the keyboard: nobody will call __exit__
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        """Start the warden, and under it the process that is asked."""
        self._mark = f"MINIDL_STUDENT={secrets.token_hex(8)}"
        self._folder = tempfile.mkdtemp(prefix="minidl-judge-")
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        theirs, questions = os.pipe()
        answers, writer = os.pipe()
        lifeline, self._lifeline = os.pipe()
        self._channel = Channel(questions, answers, self._watch)
        command = [sys.executable, "-P", "-m", "minidl.course.child", str(theirs), str(writer)]
        command += [self.exercise, str(self.path.resolve()), str(int(self.breakpoints))]
        trouble = sandbox.trouble(self.path)
        if not trouble:
            command = sandbox.wrapped(command, self._folder, self.path)
        self.isolation = f"without a sandbox: {trouble}" if trouble else "in a sandbox"
        keeper = [sys.executable, "-I", "-S", warden.__file__, str(lifeline), self._folder]
        self._process = subprocess.Popen(
            [*keeper, *command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            env=_environment(self._folder) | dict([self._mark.split("=")]),
            pass_fds=[theirs, writer, lifeline],
            start_new_session=True,
        )
        for descriptor in (theirs, writer, lifeline):
            os.close(descriptor)

    def __exit__(self, *error: object) -> None:
        self._end()
        self._channel.close()
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
        question = Question(probe, encode(arguments, "arguments"), call or probe)
        self.asked.append(question)
        if self.gone:
            raise GoneError(self.gone)
        during = f"in {question.call} for {self.case}" if self.case else f"in {question.call}"
        asked = {"probe": probe, "arguments": question.arguments}
        answer = self._exchange(asked, self.seconds, during)
        if "error" not in answer:
            return answer["value"]
        words = _explain(answer["error"])
        if answer["error"]["kind"] == NotWrittenError.__name__:
            raise NotWrittenError(words)
        raise ExerciseError(f"{question.call}: {words}")

    def _exchange(self, question: dict[str, Any], seconds: float, during: str) -> dict[str, Any]:
        """The answer to a question; without one, the process is ended."""
        starts = seconds == START_SECONDS
        allowed = seconds if starts else min(seconds, max(self._left, 0.0))
        began = time.monotonic()
        try:
            return _checked(self._channel.exchange(question, allowed))
        except TimeoutError:
            reason = f"still running after {allowed:g} seconds {during}: is there an endless loop?"
            if allowed < seconds:
                reason = f"all calls together took {self._total:g} seconds; stopped {during}"
        except EOFError:
            reason = f"the process ended by itself {during}"
        except ProtocolError:
            reason = (
                f"the answer {during} is not one that the judge's own code writes: does yours "
                f"write to files that it has not opened?"
            )
        except GoneError as error:
            reason = f"{error} {during}"
        finally:
            if not starts:
                self._left -= time.monotonic() - began
        self.gone = reason
        self._end()
        raise GoneError(reason)

    def _watch(self) -> None:
        """Raise if the code takes more of the machine than it may."""
        written = os.fstat(self._output.fileno()).st_size
        if found := excess(self._process.pid, self._folder, written):
            raise GoneError(found)

    def _end(self) -> None:
        """End the process and whatever it has started, and remove what it has written."""
        if self._process.returncode is not None:
            return
        os.close(self._lifeline)
        try:
            self._process.wait(2 * warden.SECONDS)
        except subprocess.TimeoutExpired:  # the code has stopped it
            self._process.kill()
            self._process.wait()
        if self._process.returncode:
            warden.end_marked(self._mark)
        warden.remove(self._folder)


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer's value decoded, or its error as texts; nothing else."""
    if answer.keys() == {"value"}:
        return {"value": decode(answer["value"])}
    error = answer.get("error")
    if answer.keys() != {"error"} or not isinstance(error, dict):
        raise ProtocolError("neither a value nor an error")
    texts = {name: plain(str(error.get(name) or "")) for name in ERROR}
    return {"error": texts}


ERROR = ("kind", "message", "file", "line", "code")
"""What is known of an error in a student's code."""


def _explain(error: dict[str, str]) -> str:
    """An exception in the student's code, as one or two lines."""
    text = error["message"]
    ours = error["kind"] in (ExerciseError.__name__, NotWrittenError.__name__)
    if not ours:
        text = f"{error['kind']}: {text}".rstrip(": ")
    if error["file"] and not ours:
        text += f"\n  {error['file']}, line {error['line']}: {error['code']}"
    return text


def _environment(folder: str) -> dict[str, str]:
    """This process's, with the same minidl, and nothing written but to the folder."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",  # what is printed is not lost when the process is ended
        "MINIDL_KERNELS": "reference",  # nothing here is worth a compilation
        "TMPDIR": folder,
    }


def _end_of(output: IO[bytes]) -> str:
    end = output.seek(0, os.SEEK_END)
    output.seek(max(0, end - MOST_CHARACTERS))
    return plain(output.read().decode(errors="replace").strip())
