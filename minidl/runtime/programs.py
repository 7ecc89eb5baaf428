"""How programs, results and errors travel between the caller and its ranks.

Everything is pickled, classes, functions and lambdas of a script or a notebook cell included.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from minidl.errors import InputError, MinidlError, PlanError, WorkerError
from minidl.runtime import pickler
from minidl.runtime.requests import RankContext, RankProgram


def pack(value: Any, what: str) -> bytes:
    """Turn `value` into bytes.

    Raises
    ------
    InputError
        If that is impossible; `what` names the value in its message.
    """
    try:
        return pickler.dumps(value)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise InputError(
            f"{what} cannot be copied to another process: {type(error).__name__}: {error}; "
            "it may hold functions, classes and arrays, but no open file, lock, socket or generator"
        ) from error


def pack_small(value: Any, what: str) -> bytes:
    """As `pack`, by the much faster pickle where that will do."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError):
        return pack(value, what)


def unpack(packed: bytes) -> Any:
    """The value that `pack` was given."""
    return pickler.loads(packed)


def make_program(packed: bytes, context: RankContext) -> RankProgram:
    """A rank's program, from the packed function that makes it."""
    program = unpack(packed)(context)
    if not isinstance(program, Generator):
        raise PlanError(
            "a rank's program must be a generator (a function that yields requests), "
            f"not {type(program).__name__}"
        )
    return program


@dataclass(frozen=True)
class Failure:
    """An exception on its way from a rank to the caller.

    Parameters
    ----------
    kind
        The packed class of an error raised on purpose; empty for any other exception.
    message
        What it said.
    worker_traceback
        The traceback where it was raised, as text.
    """

    kind: bytes
    message: str
    worker_traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an exception that is being handled."""
        text = "".join(traceback.format_exception(error)).rstrip()
        kind = b""
        if isinstance(error, MinidlError):
            kind = pack(type(error), f"the class {type(error).__name__}")
        return cls(kind, str(error), text)

    def error(self, name: str) -> MinidlError:
        """The exception to raise in the caller, `name` being what the rank is called."""
        if not self.kind:
            return WorkerError(
                f"{name} raised an exception; its traceback:\n{self.worker_traceback}"
            )
        kind: type[MinidlError] = unpack(self.kind)
        error = kind.__new__(kind, f"{name}: {self.message}")  # it may be made of other arguments
        error.add_note(f"The traceback in {name}:\n{self.worker_traceback}")
        return error


def rank_names(names: Sequence[str] | None, size: int) -> tuple[str, ...]:
    """What `size` ranks are called in errors and pictures."""
    if names is None:
        return tuple(f"rank {rank}" for rank in range(size))
    if len(names) != size:
        raise InputError(f"{len(names)} names were given for {size} ranks: {list(names)}")
    return tuple(names)


def check_channels(channels: Sequence[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...]:
    """The channels without repeats; InputError where one does not join two of `size` ranks."""
    for sender, receiver in channels:
        if sender == receiver or not (0 <= sender < size and 0 <= receiver < size):
            raise InputError(
                f"a channel from rank {sender} to rank {receiver} cannot be among {size} ranks: "
                f"it joins two different ranks of 0 to {size - 1}"
            )
    return tuple(dict.fromkeys((int(a), int(b)) for a, b in channels))
