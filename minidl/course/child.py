"""The process in which a student's code runs: it answers with data and judges nothing.

Started by `minidl.course.student` as ``python -m minidl.course.child``. It reads one
JSON object a line, a question, from one file descriptor, and writes the answers to another.
"""

from __future__ import annotations

import bdb
import builtins
import contextlib
import importlib
import importlib.util
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from minidl.course import answers as minidls
from minidl.course.channel import MOST_BYTES
from minidl.course.values import decode, encode
from minidl.course.warden import PR_SET_PDEATHSIG, control
from minidl.errors import ExerciseError

TOO_LARGE = {
    "kind": ExerciseError.__name__,
    "message": f"gives more than {MOST_BYTES >> 20} MiB, which is taken for a mistake",
}
MEMORY = 2 << 30
"""Bytes of address space that the student's code may add to what Python and minidl take."""
FILE_BYTES = 64 << 20
"""Of each file that it writes."""
FILES = 256
"""That it may have open at a time."""
PROCESSES = 256
"""And threads, that it may have beside those that the user has already; root may have more."""


def main(arguments: list[str]) -> None:
    """Answer what is asked of a file: ``questions answers exercise path breakpoints``.

    A question names a probe, which is a function of the exercise's module: it is given
    the student's module and the question's arguments, and what it returns is the answer.
    """
    exercise, path = arguments[2], Path(arguments[3])
    control(PR_SET_PDEATHSIG, signal.SIGKILL)
    probes = importlib.import_module(f"minidl.course.{exercise}")
    questions = os.fdopen(int(arguments[0]))

    def answer(nonce: str, **content: Any) -> None:
        data = json.dumps({"nonce": nonce} | content).encode() + b"\n"
        if len(data) > MOST_BYTES:
            answer(nonce, error=TOO_LARGE)
            return
        while data:
            data = data[os.write(int(arguments[1]), data) :]

    _limit()
    _without_keyboard(exercise, refused=arguments[4] == "1")
    minidls.guard(exercise)
    answer(json.loads(questions.readline())["nonce"], value=None)
    nonce = json.loads(questions.readline())["nonce"]
    try:
        module = load(path, probes.NAMES)
    # Whatever the file raises, sys.exit() too, is an answer for the student.
    except BaseException as error:
        answer(nonce, error=_explain(error, path, exercise))
        return
    answer(nonce, value=None)
    for line in questions:
        question = json.loads(line)
        probe = getattr(probes, question["probe"])
        try:
            value = encode(probe(module, *decode(question["arguments"])), "the result")
        except BaseException as error:
            answer(question["nonce"], error=_explain(error, path, exercise))
        else:
            answer(question["nonce"], value=value)


def load(path: Path, names: tuple[str, ...]) -> ModuleType:
    """The module that the file is; it has to define these functions and classes."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ExerciseError(f"{path.name} is not a Python file; its name has to end in .py")
    # So that the file can import others beside it; last, so that it hides no library.
    sys.path.append(str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    for name in names:
        if not callable(getattr(module, name, None)):
            kind = "class" if name[0].isupper() else "function"
            raise ExerciseError(f"{path.name} defines no {kind} named {name}")
    return module


def _limit() -> None:
    """Limit what this process may take, and those that it starts, each for itself."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    threads = sum(_my_threads(name) for name in os.listdir("/proc") if name.isdigit())
    for name, limit in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY),
        (resource.RLIMIT_NPROC, threads + PROCESSES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(name)[1]
        least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(name, (least, least))


def _my_threads(process: str) -> int:
    """The threads of a process, if it is one of this user."""
    with contextlib.suppress(OSError):  # it has ended
        if os.stat(f"/proc/{process}").st_uid == os.getuid():
            return len(os.listdir(f"/proc/{process}/task"))
    return 0


def _without_keyboard(exercise: str, *, refused: bool) -> None:
    def refuse(*arguments: Any, **named: Any) -> NoReturn:
        raise EOFError(_no_keyboard(exercise))

    builtins.input = refuse
    sys.breakpointhook = refuse if refused else lambda *arguments, **named: None


def _no_keyboard(exercise: str) -> str:
    if exercise not in minidls.ANSWERS:
        return "your code runs without a keyboard here: try it in a program of its own"
    return (
        f"the judge has no keyboard. To look into your code, run a case in your own terminal: "
        f"minidl grade {exercise} --case 1 --here, with the number that the report gives it"
    )


def _explain(error: BaseException, path: Path, exercise: str) -> dict[str, Any]:
    """What went wrong, and where in the student's file."""
    try:
        message = "\n".join([str(error), *getattr(error, "__notes__", ())])
    except BaseException:  # of the student's own class, whose __str__ may do anything
        message = "(its text raises an error itself)"
    if isinstance(error, bdb.BdbQuit) or message == "EOF when reading a line":
        message = _no_keyboard(exercise)
    content: dict[str, Any] = {"kind": type(error).__name__, "message": message}
    if isinstance(error, SyntaxError):
        content |= {"message": error.msg, "file": error.filename and Path(error.filename).name}
        content |= {"line": error.lineno, "code": (error.text or "").strip()}
        return content
    folder = path.parent.resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).resolve().is_relative_to(folder):
            content |= {"file": Path(frame.filename).name, "line": frame.lineno}
            content["code"] = (frame.line or "").strip()
            break
    return content


if __name__ == "__main__":
    main(sys.argv[1:])
