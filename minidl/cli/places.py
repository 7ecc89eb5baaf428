"""Where commands save: nothing that exists is replaced unless ``--force`` says so."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from minidl.errors import InputError

PICTURES = (".png", ".pdf", ".svg", ".jpg")


def require_place(path: Path | None, *, force: bool = False) -> None:
    """Refuse, before any work, a file that could not be written, or that exists already.

    Parameters
    ----------
    path
        The file; None, if nothing is to be saved.
    force
        Whether a file that exists may be replaced.

    Raises
    ------
    InputError
        If it cannot be written or may not be replaced.
    """
    if path is None:
        return
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{path} cannot be written: a file in a folder of yours is needed")
    if path.exists() and not force:
        raise InputError(f"{path} exists already: choose another name, or replace it with --force")


def require_picture(path: Path | None, *, force: bool = False) -> None:
    """As `require_place`, for a picture.

    Raises
    ------
    InputError
        If the name's ending is no kind of picture, too.
    """
    require_place(path, force=force)
    if path is not None and path.suffix not in PICTURES:
        raise InputError(f"{path} must end in one of {', '.join(PICTURES)}")


def fresh(folder: Path) -> Path:
    """This folder if there is none of its name yet, else one with a number: ``compared-2``."""
    names = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    return folder if not folder.exists() else next(name for name in names if not name.exists())
