"""A stand-in for CuPy where there is no GPU: NumPy's arrays that refuse to meet others.

A real device refuses to mix its arrays with the host's; so does this. What it computes is
NumPy's, so it shows that nothing is left on the wrong side, not that CuPy agrees.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np

FROM_HOST = {"asarray", "array", "asanyarray"}


class ndarray(np.ndarray):  # noqa: N801, it is CuPy's name
    """An array that is said to lie on a GPU."""

    __module__ = "cupy"

    def get(self) -> np.ndarray:
        return np.array(self.view(np.ndarray))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        _refuse_host((*inputs, *settings.get("out", ())))
        if "out" in settings:
            settings["out"] = tuple(map(_plain, settings["out"]))
        return _ours(getattr(ufunc, method)(*map(_plain, inputs), **settings))

    def __array_function__(self, function: Any, types: Any, args: Any, settings: Any) -> Any:
        _refuse_host((*args, *settings.values()))
        return _ours(function(*_plain(args), **{k: _plain(v) for k, v in settings.items()}))

    def __setitem__(self, place: Any, value: Any) -> None:
        _refuse_host((value,))
        super().__setitem__(_plain(place), _plain(value))

    def __getitem__(self, place: Any) -> Any:
        return _ours(super().__getitem__(_plain(place)))


class Pretended(types.ModuleType):
    """NumPy's functions, for these arrays only."""

    def __init__(self, original: types.ModuleType) -> None:
        super().__init__("cupy")
        self.original = original

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.original, name)
        if isinstance(found, types.ModuleType):
            return Pretended(found)
        if isinstance(found, type) or not callable(found):
            return found

        def function(*args: Any, **settings: Any) -> Any:
            if name not in FROM_HOST:
                _refuse_host((*args, *settings.values()))
            return _ours(found(*_plain(args), **{k: _plain(v) for k, v in settings.items()}))

        return function if not isinstance(found, np.ufunc) else _Ufunc(found)


class _Ufunc:
    def __init__(self, ufunc: np.ufunc) -> None:
        self.ufunc = ufunc

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return self._do("__call__", *args, **settings)

    def __getattr__(self, method: str) -> Any:
        return lambda *args, **settings: self._do(method, *args, **settings)

    def _do(self, method: str, *args: Any, **settings: Any) -> Any:
        _refuse_host((*args, *settings.values()))
        settings = {name: _plain(value) for name, value in settings.items()}
        return _ours(getattr(self.ufunc, method)(*_plain(args), **settings))


def pretended(devices: int = 1) -> types.ModuleType:
    """A module to put in CuPy's place."""
    cupy = Pretended(np)
    cupy.ndarray = ndarray  # type: ignore[attr-defined]
    error = type("CUDARuntimeError", (RuntimeError,), {})
    runtime = types.SimpleNamespace(getDeviceCount=lambda: devices, CUDARuntimeError=error)
    cupy.cuda = types.SimpleNamespace(runtime=runtime)  # type: ignore[attr-defined]
    return cupy


def _refuse_host(values: Any) -> None:
    for value in values:
        if type(value) is np.ndarray and value.ndim:
            raise TypeError("an array of the host meets one of the device")
        if isinstance(value, list | tuple):
            _refuse_host(value)


def _plain(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value.view(np.ndarray)
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
    return value


def _ours(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_ours, value))
    return value.view(ndarray) if isinstance(value, np.ndarray) else value
