"""Making exercises from their solutions: ``python -m minidl.course.stubs solutions exercises``.

In a solution, the lines from ``# solution: begin`` to ``# solution: end`` are left
out, and a line ``# stub: CODE`` becomes ``CODE``. With ``--check`` nothing is written;
exit status 1 and a diff say that an exercise is out of step.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from minidl.errors import InputError, MinidlError

BEGIN, END, STUB = "# solution: begin", "# solution: end", "# stub: "


def stub(text: str, name: str = "solution") -> str:
    """The exercise that belongs to a solution.

    Parameters
    ----------
    text
        The solution's source.
    name
        What it is called in errors.

    Raises
    ------
    InputError
        If a begin has no end, or the other way round, or there is nothing to leave out.
    """
    kept: list[str] = []
    inside, parts = False, 0
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.strip()
        if words in (BEGIN, END):
            if inside == (words == BEGIN):
                raise InputError(f"{name}, line {number}: {words!r} without its other half")
            inside = not inside
            parts += inside
        elif words.startswith(STUB):
            kept.append(line.replace(STUB, "", 1))
        elif not inside:
            kept.append(line)
    if inside or not parts:
        raise InputError(f"{name} needs pairs of {BEGIN!r} and {END!r}, the last one closed")
    return "\n".join(kept) + "\n"


def make(solutions: Path, exercises: Path) -> dict[Path, str]:
    """What every exercise file should hold, by its path."""
    sources = sorted(solutions.glob("*/*.py"))
    if not sources:
        raise InputError(f"there are no solutions (*/*.py) in {solutions}")
    return {
        exercises / source.relative_to(solutions): stub(source.read_text("utf-8"), str(source))
        for source in sources
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the exercises, or compare them; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m minidl.course.stubs", description=__doc__)
    parser.add_argument("solutions", type=Path)
    parser.add_argument("exercises", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing, show differences")
    options = parser.parse_args(arguments)
    try:
        wanted = make(options.solutions, options.exercises)
    except MinidlError as error:
        print(error, file=sys.stderr)
        return 2
    status = 0
    for path, text in wanted.items():
        present = path.read_text("utf-8") if path.is_file() else ""
        if present == text:
            continue
        if options.check:
            lines = (present.splitlines(), text.splitlines())
            print(*difflib.unified_diff(*lines, str(path), "made from solution", "", "", 3, ""),
                  sep="\n")  # fmt: skip
            status = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            print(f"wrote {path}")
    if status:
        print(f"out of step: python -m minidl.course.stubs {options.solutions} {options.exercises}")
    return status


if __name__ == "__main__":
    sys.exit(main())
