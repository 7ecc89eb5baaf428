"""Where compiled kernels are kept: on disk, one file for each function and form of arguments.

numba has a cache of its own. This one differs where it failed: it needs no folder that can be
written to when a kernel is defined, it tries several where one is full or read-only, and a file
carries a checksum, since LLVM ends the process when it is given damaged code. A file also says what
it was made from, and is read only if that is still the same: the sources of all kernels, since
kernels inline each other, the versions of numba and what it stands on, and the processor.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import caching
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from minidl import files

DIGEST_BYTES = 16
VERSIONS = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
"""Of what compiles the kernels; a file made by other ones is stale."""
SUFFIX = ".kernel"
_warned = threading.Event()
made: list[Any] = []
"""All kernels, each with the forms of arguments that it has been compiled or loaded for."""


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As `numba.njit`, and what is compiled is kept on disk."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        dispatcher._cache = KernelCache(function)
        made.append(dispatcher)
        return dispatcher

    return decorate


def folders(source: Path, *, make: bool = False) -> Iterator[Path]:
    """Where the kernels of a source folder may be kept, the best place first.

    That is the folder that the environment variable ``NUMBA_CACHE_DIR`` names, if it does; the
    one beside the source; one in the user's cache; one of this user's in the folder for
    temporary files, which is made if `make`.
    """
    own = f"minidl_{hashlib.sha256(os.fsencode(source)).hexdigest()[:16]}"
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR, own).absolute()
    yield source / "__pycache__"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(home):  # not so for a user without a home
        yield Path(home, "numba", own)
    if (temporary := private_folder(make=make)) is not None:
        yield temporary / own


def private_folder(*, make: bool = False) -> Path | None:
    """This user's folder among the temporary ones, if nobody else can put code there."""
    try:
        folder = Path(tempfile.gettempdir(), f"minidl-kernels-{os.getuid()}")
        if make:
            folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    safe = stat.S_ISDIR(found.st_mode) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if safe and found.st_uid == os.getuid() else None


def keep(source: Path, name: str, data: bytes) -> tuple[Path | None, list[str]]:
    """Keep a file in the first of the folders that takes it.

    Returns
    -------
    path
        Where it is, or None.
    failures
        What went wrong in the folders before that one.
    """
    failures: list[str] = []
    for folder in folders(source, make=True):
        try:
            files.replace(folder / name, data)
            return folder / name, failures
        except OSError as error:
            failures.append(f"{folder}: {os.strerror(error.errno or 0)}")
    return None, failures


class KernelCache(caching.FunctionCache):  # type: ignore[misc]
    """The compiled forms of one function.

    Parameters
    ----------
    function
        What is compiled.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        code = function.__code__
        self._py_func = function
        self._package = function.__globals__["__package__"]
        self._source = Path(code.co_filename).absolute()
        self._name = f"{self._source.stem}.{function.__qualname__}-{code.co_firstlineno}"
        self._cache_path = str(self._source.parent)
        self.kept: Path | None = None
        self.failures: list[str] = []
        self.enable()

    def flush(self) -> None:
        """Do nothing: what has become stale is noticed when it is read."""

    def _load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        identity = self._identity(sig, target_context.codegen())
        for folder in folders(self._source.parent):
            payload = _read(folder / self._file(sig, target_context.codegen()), identity)
            if payload is not None:
                return CompileResult._rebuild(target_context, *payload)
        return None

    def _save_overload(self, sig: Any, data: CompileResult) -> None:
        if data.library.has_dynamic_globals:
            return
        body = self._identity(sig, data.codegen) + dumps(data._reduce())
        name = self._file(sig, data.codegen)
        self.kept, self.failures = keep(self._source.parent, name, _digest(body) + body)
        if self.kept is None and not _warned.is_set():
            _warned.set()
            warnings.warn(
                "compiled kernels cannot be kept on disk, so every process compiles them anew, "
                "which takes up to a minute: make room, or set NUMBA_CACHE_DIR to a folder that "
                f"can be written to ({'; '.join(self.failures)})",
                stacklevel=2,
            )

    def _identity(self, sig: Any, codegen: Any) -> bytes:
        """A digest of what the contents of a file must be made from, or they are stale."""
        made_from = VERSIONS, _sources(self._package), self._index_key(sig, codegen)
        return _digest(repr(made_from).encode())

    def _file(self, sig: Any, codegen: Any) -> str:
        form = repr((sig, codegen.magic_tuple(), sys.version_info[:2])).encode()
        return f"{self._name}.{hashlib.sha256(form).hexdigest()[:16]}{SUFFIX}"


def body(path: Path) -> bytes | None:
    """What was kept in a file, or None if that is damaged or not there."""
    try:
        return unwrapped(path.read_bytes())
    except OSError:
        return None


def unwrapped(data: bytes) -> bytes | None:
    """What stands behind a checksum, or None if it does not fit."""
    digest, body = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    return body if digest == _digest(body) else None


def _read(path: Path, identity: bytes) -> Any:
    """What a file holds, or None if it is stale; only what is not is unpickled."""
    kept = body(path)
    if kept is None or kept[:DIGEST_BYTES] != identity:
        return None
    return pickle.loads(kept[DIGEST_BYTES:])


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()


@cache
def _sources(package: str) -> str:
    """A digest of all modules of a package, which may lie in an archive."""
    digest = hashlib.sha256()
    for file in sorted(resources.files(package).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            digest.update(file.name.encode() + b"\0" + _digest(file.read_bytes()))
    return digest.hexdigest()
