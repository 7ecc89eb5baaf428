"""An exercise's files: where they come from, where a student has them."""

from __future__ import annotations

from pathlib import Path

from minidl.course.grading import load_exercise
from minidl.course.stubs import stub
from minidl.errors import InputError

SHIPPED = Path(__file__).with_name("exercises")
"""Where they lie in an installation; a clone has them in its own folder `exercises`."""
CLONE = Path(__file__).resolve().parents[2]
USUAL = Path("exercises")


def start(exercise: str, folder: str | Path | None = None) -> dict[Path, bool]:
    """Lay out what a student begins an exercise with.

    Parameters
    ----------
    exercise
        Its name.
    folder
        Where to; by default ``exercises/<name>``. It is made if it isn't there.

    Returns
    -------
    dict
        For each file, whether it was written. One that was there is left as it is.

    Raises
    ------
    UnknownNameError
        If there is no such exercise.
    InputError
        If the folder cannot be one.
    """
    contents = _contents(exercise)
    folder = USUAL / exercise if folder is None else Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder for {exercise}")
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, text in contents.items():
        path = folder / name
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            written[path] = True
        except FileExistsError:
            written[path] = False
    return written


def find(exercise: str) -> Path:
    """Where a student has an exercise's files: ``exercises/<name>``, ``<name>``, or here.

    Raises
    ------
    UnknownNameError
        If there is no such exercise.
    InputError
        If there are none.
    """
    file = load_exercise(exercise).FILE
    for folder in (USUAL / exercise, Path(exercise)):
        if folder.is_dir():
            return folder
    if Path(file).is_file():
        return Path()
    raise InputError(
        f"there is no directory {USUAL / exercise} or {exercise} and no file {file} here. "
        f"`minidl course start {exercise}` lays out the task; --directory says where it lies"
    )


def _contents(exercise: str) -> dict[str, str]:
    """What each file holds at the beginning, whatever a clone's exercises hold by now."""
    file = load_exercise(exercise).FILE
    folder = (SHIPPED if SHIPPED.is_dir() else CLONE / "exercises") / exercise
    solution = CLONE / "solutions" / exercise / file
    try:
        texts = {path.name: path.read_text("utf-8") for path in (folder / "README.md",)}
        if not SHIPPED.is_dir() and solution.is_file():
            return texts | {file: stub(solution.read_text("utf-8"), str(solution))}
        return texts | {file: (folder / file).read_text("utf-8")}
    except FileNotFoundError as error:
        raise InputError(f"this installation of minidl lacks {error.filename}") from None
