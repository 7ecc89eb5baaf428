"""The process in which a student's code runs: it answers with data and judges nothing.

Started by `minidl.course.student` as ``python -m minidl.course.child``. It reads one
JSON object a line, a question, from one file descriptor, and writes the answers to another.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from minidl.course.values import decode, encode
from minidl.errors import ExerciseError

MEMORY = 2 << 30
"""Bytes of address space that the student's code may add to what Python and minidl take."""


def main(arguments: list[str]) -> None:
    """Answer what is asked of a file: ``questions answers exercise path``.

    A question names a probe, which is a function of the exercise's module: it is given
    the student's module and the question's arguments, and what it returns is the answer.
    """
    exercise, path = importlib.import_module(arguments[2]), Path(arguments[3])
    with os.fdopen(int(arguments[0])) as questions, os.fdopen(int(arguments[1]), "w") as answers:

        def answer(**content: Any) -> None:
            print(json.dumps(content), file=answers, flush=True)

        if sys.platform == "linux":
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        answer(ready=True)
        try:
            module = _load(path, exercise.NAMES)
        # Whatever the file raises, sys.exit() too, is an answer for the student.
        except BaseException as error:
            answer(error=_explain(error, path))
            return
        answer(loaded=True)
        for line in questions:
            question = json.loads(line)
            probe = getattr(exercise, question["probe"])
            try:
                value = probe(module, *decode(question["arguments"]))
                answer(value=encode(value, "the result"))
            except BaseException as error:
                answer(error=_explain(error, path))


def _load(path: Path, names: tuple[str, ...]) -> ModuleType:
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


def _explain(error: BaseException, path: Path) -> dict[str, Any]:
    """What went wrong, and where in the student's file."""
    content: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
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
