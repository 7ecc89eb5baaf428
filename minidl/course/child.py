"""The process in which a student's code runs: it answers with data and judges nothing.

Started by `minidl.course.student` as ``python -m minidl.course.child``. It writes one
JSON object a line to the file descriptor it is given.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import operator
import os
import resource
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minidl.errors import ExerciseError
from minidl.plans import Collective, Receive, Send

MEMORY = 2 << 30
"""Bytes of address space that the student's code may add to what Python and minidl take."""
MOST_STEPS = 10_000
"""Steps of a rank's program after which it is taken for an endless one."""


def main(arguments: list[str]) -> None:
    """Run ``function(size)`` of the file for each size: ``descriptor path function size ...``."""
    descriptor, file, name, *sizes = arguments
    path = Path(file)
    with os.fdopen(int(descriptor), "w") as answers:

        def answer(**content: Any) -> None:
            print(json.dumps(content), file=answers, flush=True)

        if sys.platform == "linux":
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        answer(ready=True)
        try:
            function = _load(path, name)
        # Whatever the file raises, sys.exit() too, is an answer for the student.
        except BaseException as error:
            answer(error=_explain(error, path))
            return
        answer(loaded=True)
        for size in map(int, sizes):
            try:
                answer(size=size, **_encode(function(size), size))
            except BaseException as error:
                answer(size=size, error=_explain(error, path))


def _load(path: Path, name: str) -> Any:
    """The function of this name in the file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ExerciseError(f"{path.name} is not a Python file; its name has to end in .py")
    # So that the file can import others beside it; last, so that it hides no library.
    sys.path.append(str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise ExerciseError(f"{path.name} defines no function named {name}")
    return function


def _encode(result: Any, size: int) -> dict[str, Any]:
    """What the function returned, as plain JSON; ExerciseError if it is no set of programs."""
    chunks = size
    if isinstance(result, Collective):
        result, chunks = result.programs, result.chunks
    programs = _items(result, "the function", "a list with one program for each rank")
    return {
        "chunks": chunks,
        "programs": [_program(program, rank) for rank, program in enumerate(programs)],
    }


def _program(program: Any, rank: int) -> list[Any]:
    where = f"the program of rank {rank}"
    steps = _items(program, where, "a list of steps")
    return [_step(step, f"step {n} of {where}") for n, step in enumerate(steps)]


def _step(step: Any, where: str) -> list[Any]:
    wanted = "a Send, a Receive or a tuple of them"
    if isinstance(step, Send | Receive):
        step = (step,)
    encoded = []
    for instruction in _items(step, where, wanted):
        if not isinstance(instruction, Send | Receive):
            raise ExerciseError(f"{where} should be {wanted}; it holds {instruction!r}")
        peer = _whole(instruction.peer, "peer", where)
        chunk = _whole(instruction.item, "item", where)
        if isinstance(instruction, Send):
            encoded.append(["send", peer, chunk])
        else:
            encoded.append(["receive", peer, chunk, bool(instruction.reduce)])
    return encoded


def _items(value: Any, where: str, wanted: str) -> list[Any]:
    if value is None:
        raise ExerciseError(f"{where} should be {wanted}, but is None: is a return missing?")
    if isinstance(value, str | dict) or not isinstance(value, Iterable):
        raise ExerciseError(f"{where} should be {wanted}, not {value!r}")
    items = list(itertools.islice(value, MOST_STEPS + 1))
    if len(items) > MOST_STEPS:
        raise ExerciseError(f"{where} should be {wanted}, but has more than {MOST_STEPS} entries")
    return items


def _whole(value: Any, name: str, where: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ExerciseError(
            f"in {where} the {name} should be a whole number, not {value!r}"
        ) from None


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
