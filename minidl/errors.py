"""Every exception minidl raises on purpose.

Each message says what was given and what is allowed. The classes take the
finished message as their only argument, so that a worker process can send one
to its caller unchanged.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

from minidl.reprs import printable


class MinidlError(Exception):
    """The base of every error below."""

    def __str__(self) -> str:
        return printable(super().__str__())


class InputError(MinidlError, ValueError):
    """An argument or a data set that cannot be used as given."""


class ShapeError(InputError):
    """An array or a layer whose shape does not fit."""


class UnknownNameError(InputError):
    """A data set, model, strategy or exercise that does not exist."""


class NotBuiltError(MinidlError, RuntimeError):
    """A layer was used before its parameters were made."""


class NonFiniteError(MinidlError, ArithmeticError):
    """The loss became NaN or infinite."""


class CheckpointError(MinidlError):
    """A checkpoint is truncated, foreign, or made for another model."""


class DatasetNotFoundError(MinidlError, FileNotFoundError):
    """A data set is in none of the places where it may be."""


class PlanError(MinidlError):
    """A plan is wrong: a message without a partner, a chunk summed twice, a deadlock."""


class DeadlockError(PlanError):
    """Every rank that has not finished waits for another."""


class ExerciseError(MinidlError):
    """Homework that cannot be run, or does not answer with what its task asks for."""


class NotWrittenError(ExerciseError):
    """A function of an exercise that its student has still to write."""


class MessageMismatchError(MinidlError, RuntimeError):
    """A rank received a message other than the one its program expects."""


class WorkerError(MinidlError, RuntimeError):
    """A worker process raised, died or stopped answering; the message names its rank."""


class FileError(MinidlError, OSError):
    """A file that cannot be written, or a folder that cannot be made."""


class SharedMemoryError(MinidlError, OSError):
    """Shared memory could not be reserved."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not among the known ones of its kind."""
    return UnknownNameError(f"unknown {kind} {name!r}; known: {', '.join(sorted(known))}")


def warn(message: str) -> None:
    """Issue a UserWarning for the innermost line of the caller's own code, outside minidl."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "minidl":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


class FitInterrupted(KeyboardInterrupt):
    """Ctrl-C during a fit; the message says what has been kept.

    It ends a script as any `KeyboardInterrupt` does. A notebook shows its message alone.
    """

    def _render_traceback_(self) -> list[str]:
        # IPython shows these lines in place of the traceback.
        return [str(self)]
