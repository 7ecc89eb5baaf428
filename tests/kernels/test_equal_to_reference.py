"""Every fast kernel equals its definition, and changes no argument that the latter keeps."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import CASES, an_array

from minidl.kernels import reference

CLOSE = 200
"""How many roundings of the largest number that a result is made of two kernels may differ."""


HERE = ("cpu", "cpu shared", "gpu on numpy")
"""Ways that need no GPU; "cpu shared" shares even the smallest work among threads."""


@functools.cache
def _gpu_on_numpy() -> ModuleType:
    """The module `gpu` with NumPy in CuPy's place: what it computes, though not where."""
    found = importlib.util.find_spec("minidl.kernels.gpu")
    assert found is not None and found.origin is not None
    spec = importlib.util.spec_from_file_location("gpu_on_numpy", found.origin)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", np)
        spec.loader.exec_module(module)
    return module


def _kernels(name: str) -> ModuleType:
    if name == "gpu on numpy":
        return _gpu_on_numpy()
    return importlib.import_module(f"minidl.kernels.{name}")


@contextlib.contextmanager
def _on(way: str) -> Iterator[ModuleType]:
    """The kernels under test."""
    with pytest.MonkeyPatch.context() as patch:
        if way == "cpu shared":
            patch.setattr("minidl.kernels.cpu.calls.ENOUGH", 0)
            patch.setattr("minidl.kernels.cpu.products.SERIAL", 0)
        yield _kernels(way.removesuffix(" shared"))


def _move(x: Any, module: ModuleType) -> Any:
    return module.asarray(x) if isinstance(x, np.ndarray) else x


def _back(x: Any) -> Any:
    return x.get() if type(x).__module__.startswith("cupy") else x


def assert_close(given: Any, wanted: Any, parts: Any) -> None:
    """Two results agree; `parts` is as large as what cancelled on the way to them."""
    if isinstance(wanted, tuple):
        for one, other, part in zip(given, wanted, parts, strict=True):
            assert_close(one, other, part)
    elif isinstance(wanted, np.ndarray):
        given = _back(given)
        assert (given.shape, given.dtype) == (wanted.shape, wanted.dtype)
        unit = np.finfo(wanted.dtype).eps if wanted.dtype.kind == "f" else 0
        scale = max(1.0, *(float(abs(x).max(initial=0)) for x in (wanted, parts)))
        np.testing.assert_allclose(given, wanted, rtol=0, atol=CLOSE * unit * scale)
    else:
        assert given == wanted


def check(ways: tuple[str, ...], name: str, arguments: tuple[Any, ...]) -> None:
    kept = copy.deepcopy(arguments)
    definition = getattr(reference, name)
    wanted = definition(*kept)
    # Of numbers without signs nothing cancels: their sums are what rounding is relative to.
    sizes = [abs(x) if isinstance(x, np.ndarray) else x for x in arguments]
    scale = definition(*sizes)
    for way in ways:
        home = importlib.import_module("cupy") if way == "gpu" else None
        moved = [_move(x, home) if home else copy.deepcopy(x) for x in arguments]
        for x, original in zip(moved, arguments, strict=True):
            if isinstance(x, np.ndarray):
                x.flags.writeable = original.flags.writeable
        try:
            with _on(way) as fast:
                found = getattr(fast, name)(*moved)
            assert_close(found, wanted, scale)
            for x, original in zip(moved, kept, strict=True):
                assert_close(x, original, original)
        except Exception as error:
            error.add_note(f"{name} on {way}")
            raise


@pytest.mark.parametrize(
    "ways", [pytest.param(HERE, id="here"), pytest.param(("gpu",), id="gpu", marks=pytest.mark.gpu)]
)
@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_equals_the_definition(ways: tuple[str, ...], name: str, data: st.DataObject):
    check(ways, name, data.draw(CASES[name]))


@given(data=st.data(), room=st.integers(0, 40))
def test_an_embedding_gradient_in_parts_is_that_of_the_whole(data: st.DataObject, room: int):
    with pytest.MonkeyPatch.context() as patch:
        on_numpy = _gpu_on_numpy()
        patch.setattr(on_numpy, "ONE_HOT", room)
        check(("gpu on numpy",), "embedding_gradient", data.draw(CASES["embedding_gradient"]))


@given(data=st.data(), n=st.integers(1, 2), width=st.integers(3, 14), c=st.integers(2, 3))
def test_blocks_of_a_depthwise_line_leave_no_seam(data: st.DataObject, n: int, width: int, c: int):
    padding, dilation = data.draw(st.tuples(st.just((0, 0)) | st.just((1, 2)), st.integers(1, 2)))
    shape, w_shape = (n, 6, width + 2, c), (3, 3, 1, c)
    steps = ((1, 1), padding, (1, dilation), c)
    x, w = (an_array(data.draw, s, np.float64) for s in (shape, w_shape))
    dy = reference.conv2d(x, w, None, *steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minidl.kernels.cpu.depthwise.BLOCK", 8)
        check(("cpu",), "conv2d", (x, w, None, *steps))
        check(("cpu",), "conv2d_input_gradient", (dy, w, shape, *steps))
        check(("cpu",), "conv2d_weight_gradient", (dy, x, w_shape, *steps))


def test_all_modules_offer_the_same_functions():
    assert set(reference.__all__) == set(CASES)
    for other in map(_kernels, ("cpu", "gpu on numpy")):
        assert set(other.__all__) == set(CASES)
        for name in CASES:
            offered = inspect.signature(getattr(other, name))
            assert str(offered) == str(inspect.signature(getattr(reference, name))), name


@settings(max_examples=10)
@given(data=st.data(), name=st.sampled_from(["matmul", "conv2d_weight_gradient", "batch_norm"]))
def test_results_repeat_bit_for_bit(name: str, data: st.DataObject):
    arguments = data.draw(CASES[name])
    first, second = (getattr(_kernels("cpu"), name)(*arguments) for _ in range(2))
    np.testing.assert_equal(first, second)
