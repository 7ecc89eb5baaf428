"""Wrong calls of every kernel, layer, loss and update rule.

What the definition refuses is refused, what it computes is equal.

Run by `test_wrong_calls.py` in a process of its own, under a heap checker, for what goes wrong
here may end the process:

    python tests/kernels/hostile.py CALLS SEED
"""

# ruff: noqa: E402, the modules imported lie in folders of other tests

from __future__ import annotations

import copy
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / name) for name in ("table", "strategy", "nn"))]

from kernel_cases import CASES
from layer_rows import LAYERS
from loss_rows import LOSSES
from rows import OneLayer, OneLoss, OneRule
from rule_rows import RULES
from test_equal_to_reference import assert_close

from minidl import kernels as choice
from minidl import nn, optim
from minidl.errors import InputError
from minidl.kernels import cpu, reference

GUARD = 64
"""Numbers on either side of each array, which nobody may touch."""
Wrong = Callable[[np.ndarray], Any]


def big_endian(x: np.ndarray) -> np.ndarray:
    return x.astype(x.dtype.newbyteorder(">"))


def other_float(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64 if x.dtype == np.float32 else np.float32)


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


MISTAKES: dict[str, Wrong] = {
    "a row less": lambda x: x[:-1],
    "a row more": lambda x: np.concatenate((x, x[:1])),
    "a column less": lambda x: x[..., :-1],
    "a column more": lambda x: np.concatenate((x, x[..., :1]), axis=-1),
    "one row, to be spread": lambda x: x[:1],
    "one column, to be spread": lambda x: x[..., :1],
    "no row": lambda x: x[:0],
    "no column": lambda x: x[..., :0],
    "an axis more": lambda x: x[None],
    "an axis less": lambda x: x.reshape(-1),
    "no axis": lambda x: np.asarray(x.sum()),
    "another order of axes": lambda x: x.T,
    "whole numbers": lambda x: np.nan_to_num(x).astype(np.int64),
    "truth values": lambda x: x > 0,
    "complex numbers": lambda x: x.astype(complex),
    "objects": lambda x: x.astype(object),
    "text": lambda x: x.astype(str),
    "big-endian": big_endian,
    "the other float": other_float,
    "half floats": lambda x: x.astype(np.float16),
    "long doubles": lambda x: x.astype(np.longdouble),
    "read-only": read_only,
    "by columns": np.asfortranarray,
    "with gaps": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "far out of range": lambda x: np.full_like(x, 100_000 if x.itemsize > 2 else 127),
    "below zero": lambda x: np.full_like(x, -100) if x.dtype.kind in "if" else x,
    "a list": np.ndarray.tolist,
    "nothing": lambda x: None,
}


SIZE_MISTAKES: dict[str, Callable[[tuple[int, ...]], Any]] = {
    "a half more": lambda sizes: (sizes[0] + 0.5, *sizes[1:]),
    "a float": lambda sizes: (*sizes[:-1], float(sizes[-1])),
    "zero": lambda sizes: (0, *sizes[1:]),
    "below zero": lambda sizes: (*sizes[:-1], -1),
    "one less": lambda sizes: sizes[:-1],
    "text": lambda sizes: tuple(map(str, sizes)),
    "nothing": lambda sizes: None,
}
"""Of windows, strides, paddings and shapes, and of numbers of groups."""


def wrong_size(given: Any, mistake: str) -> Any:
    """A tuple of sizes, or a single one, with something wrong about it."""
    if isinstance(given, tuple):
        return SIZE_MISTAKES[mistake](given)
    made = SIZE_MISTAKES[mistake]((given,))
    return made[0] if made else None


def guarded(x: Any) -> tuple[Any, np.ndarray | None]:
    """A copy of an array within a larger one, whose other numbers are known."""
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiu" or not x.flags.c_contiguous:
        return x, None
    around = np.full(x.size + 2 * GUARD, 7, x.dtype)
    inside = around[GUARD : GUARD + x.size].reshape(x.shape)
    inside[...] = x
    inside.flags.writeable = x.flags.writeable
    return inside, around


def outcome(kernels: ModuleType, name: str, given: list[Any]) -> tuple[Any, Any]:
    """What a call gives or raises, and its arguments after it."""
    pairs = [guarded(x.copy() if isinstance(x, np.ndarray) else x) for x in given]
    for (inside, _), x in zip(pairs, given, strict=True):
        if isinstance(x, np.ndarray):
            inside.flags.writeable = x.flags.writeable
    arguments = [inside for inside, _ in pairs]
    try:
        with np.errstate(all="ignore"):
            result = getattr(kernels, name)(*arguments)
    except InputError as error:
        result = error
    for _, around in pairs:
        if around is not None:
            assert (around[:GUARD] == 7).all() and (around[-GUARD:] == 7).all(), "wrote outside"
    return result, arguments


def told(what: str, definition: Any, found: Any) -> str:
    return f"{what}: the definition gives {definition!r}, the CPU's kernels {found!r}"


def compare(name: str, given: list[Any], mistake: str) -> bool:
    """Whether the call was refused; both ways must agree on that, and on what was computed."""
    wanted, definition_arguments = outcome(reference, name, given)
    found, arguments = outcome(cpu, name, given)
    if isinstance(wanted, InputError) or isinstance(found, InputError):
        alike = type(wanted) is type(found) and str(wanted) == str(found)
        assert alike, told(f"{name}, {mistake}", wanted, found)
        return True
    numbers = [isinstance(x, np.ndarray) and x.dtype.kind in "fiu" for x in definition_arguments]
    sizes = [abs(x) if n else x for x, n in zip(definition_arguments, numbers, strict=True)]
    with np.errstate(all="ignore"):
        scale = getattr(reference, name)(*sizes)
    if isinstance(wanted, np.generic):  # what NumPy makes of an array without axes
        wanted, scale = np.asarray(wanted), np.asarray(scale)
    assert_close(found, wanted, scale)
    for one, other in zip(arguments, definition_arguments, strict=True):
        if isinstance(other, np.ndarray) and other.dtype.kind == "f":
            assert_close(one, other, other)
    return False


def overlapping(name: str, arguments: list[Any]) -> None:
    """A slot that lies where the weights are is refused."""
    w, *others = (k for k, x in enumerate(arguments) if isinstance(x, np.ndarray) and x.size)
    given = [arguments[w] if k == others[-1] else x for k, x in enumerate(arguments)]
    for kernels in (reference, cpu):
        try:
            getattr(kernels, name)(*given)
        except InputError:
            continue
        raise AssertionError(f"{name} took a slot that is the weights")


def both(what: str, call: Callable[[], Any]) -> bool:
    """Whether a call of something public was refused; both ways must agree, also on results."""
    found = {}
    for name in choice.CHOICES:
        with choice.using(name), np.errstate(all="ignore"):
            try:
                found[name] = call()
            except InputError as error:  # any other is no answer in words
                found[name] = error
    fast, definition = found["cpu"], found["reference"]
    if isinstance(definition, InputError) or isinstance(fast, InputError):
        assert type(definition) is type(fast), told(what, definition, fast)
        return True
    # What cancels is as far off as what it was made of: the largest number in the call.
    numbers = [x for x in definition if getattr(x, "dtype", np.dtype("O")).kind in "fiu"]
    scale = max((abs(x[np.isfinite(x)]).max(initial=1.0) for x in numbers), default=1.0)
    for one, other in zip(fast, definition, strict=True):
        if isinstance(other, np.ndarray | np.generic):
            assert one.dtype == other.dtype, told(what, other, one)
            if other.dtype.kind == "O":  # Python's numbers
                one, other = one.astype(np.float64), other.astype(np.float64)
            if other.dtype.kind not in "fiubc":  # what no kernel has seen
                assert np.array_equal(one, other), told(what, other, one)
                continue
            # Of float64 that was made from float32, only the latter's digits are equal.
            tolerance = (1e-2 if other.dtype.itemsize < 4 else 1e-4) * scale
            np.testing.assert_allclose(one, other, rtol=0, atol=tolerance, err_msg=what)
    return False


def of_layer(one: OneLayer, mistake: Wrong, where: str) -> list[Any]:
    """A pass both ways of a layer in float32, with something wrong about x, dy or the weights."""
    layer, n = copy.deepcopy(one.layer), len(one.x)
    buffer = layer.initialise(one.x.shape[1:])
    x = one.x if layer.takes_integers else one.x.astype(np.float32)
    x = mistake(x) if where == "x" else x
    if where == "weights":
        for parameter in layer.parameters().values():
            parameter.value = mistake(parameter.value.copy())
    mode = nn.Mode(training=True, seed=3, step=5, batch_size=n)
    y, saved = layer.forward(x, mode)
    dy = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
    dx = layer.backward(mistake(dy) if where == "dy" else dy, saved)
    return [y, dx, buffer.grads]


def of_loss(one: OneLoss, mistake: Wrong, where: str) -> list[Any]:
    """A loss and its gradient in float32, with something wrong about one argument."""
    given = {
        "outputs": one.outputs.astype(np.float32),
        "targets": one.targets,
        "dlosses": np.ones(len(one.outputs), np.float32),
    }
    given[where] = mistake(given[where])
    losses, saved = one.loss.forward(given["outputs"], given["targets"])
    return [losses, one.loss.backward(given["dlosses"], saved)]


def of_rule(one: OneRule, mistake: Wrong, where: str) -> list[Any]:
    """A step of an update rule in float32, with something wrong about one vector."""
    numbers = np.random.default_rng(2).normal(size=(2, 6)).astype(np.float32)
    given = {"values": numbers[0], "grads": numbers[1]}
    slots = {name: np.zeros(6, np.float32) for name in one.rule.slots}
    if where == "slots":
        slots = {name: mistake(slot) for name, slot in slots.items()}
    else:
        given[where] = mistake(given[where])
    places = {"weight": slice(0, 4), "bias": slice(4, 6)}
    one.rule.update(given["values"], given["grads"], slots, 0, places, 1.0)
    return [given["values"], *slots.values()]


def overlapping_rule(one: OneRule) -> None:
    """A gradient or a slot that lies where weights are is refused, also in part."""
    for where in ("grads", *one.rule.slots):
        shared = np.ones(9, np.float32)
        slots = {name: np.zeros(6, np.float32) for name in one.rule.slots}
        vectors = {"grads": np.ones(6, np.float32), **slots, where: shared[3:]}
        grads = vectors.pop("grads")
        places = {"weight": slice(0, 4), "bias": slice(4, 6)}
        refused = both(
            f"{one.rule}, {where} in the weights",
            lambda: [one.rule.update(shared[:6], grads, vectors, 0, places, 1.0)],  # noqa: B023
        )
        copied = where == "grads" and isinstance(one.rule, optim.Clipped)
        assert refused or copied, f"{one.rule} took {where} that overlap the weights"


ARGUMENTS: dict[Callable[..., list[Any]], tuple[str, ...]] = {
    of_layer: ("x", "dy", "weights"),
    of_loss: ("outputs", "targets", "dlosses"),
    of_rule: ("values", "grads", "slots"),
}


def main(calls: int, chosen: int) -> None:
    """Make so many wrong calls of each kernel, layer, loss and rule, and count them."""
    counts: Counter[str] = Counter()
    drawing = settings(
        max_examples=calls, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip

    @seed(chosen)
    @drawing
    @given(data=st.data())
    def wrong_row(row: Any, call: Callable[..., list[Any]], data: st.DataObject) -> None:
        one = data.draw(row.drawn)
        where = data.draw(st.sampled_from(ARGUMENTS[call]))
        mistake = data.draw(st.sampled_from([*MISTAKES]))
        what = f"{row.title}, {where} with {mistake}"
        refused = both(what, lambda: call(one, MISTAKES[mistake], where))
        counts["refused" if refused else "computed"] += 1
        if call is of_rule:
            overlapping_rule(one)
            counts["refused"] += 1

    @seed(chosen)
    @drawing
    @given(data=st.data())
    def wrong(name: str, data: st.DataObject) -> None:
        arguments = list(data.draw(CASES[name]))
        sized = "2d" in name or name == "embedding_gradient"
        kinds = (np.ndarray, int, tuple) if sized else np.ndarray
        where = data.draw(
            st.sampled_from([k for k, x in enumerate(arguments) if isinstance(x, kinds)])
        )
        x = arguments[where]
        if not isinstance(x, np.ndarray):
            mistake = data.draw(st.sampled_from([*SIZE_MISTAKES]))
            arguments[where] = wrong_size(x, mistake)
            counts["refused" if compare(name, arguments, mistake) else "computed"] += 1
            return
        mistake = data.draw(st.sampled_from([*MISTAKES]))
        if x.ndim == 0 or (mistake.startswith("a ") and mistake.endswith("more") and not x.size):
            return
        arguments[where] = MISTAKES[mistake](x)
        counts["refused" if compare(name, arguments, mistake) else "computed"] += 1
        if name.endswith("_step") and x.size:
            arguments[where] = x
            overlapping(name, arguments)
            counts["refused"] += 1

    for name in CASES:
        wrong(name)
    for rows, call in ((LAYERS, of_layer), (LOSSES, of_loss), (RULES, of_rule)):
        for row in rows:
            wrong_row(row, call)
    print(f"{counts['refused']} refused, {counts['computed']} computed alike")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
