"""The checks of exercise hw_receptive_field: what gradients reach, and `minidl.analysis`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import models, nn
from minidl.analysis import Field, summary
from minidl.course.checks import Check, entries, judge
from minidl.course.habits import refuse_change
from minidl.course.report import Result
from minidl.course.student import Student
from minidl.errors import ExerciseError

FILE, NAMES = "receptive_field.py", ("receptive_fields", "Window", "View")
Windows = list[tuple[int, int, int, int]]
"""Kernel, stride, padding and dilation of each layer."""


def views(module: ModuleType, size: int, windows: Windows) -> list[Any]:
    """A probe: size, stride, centre and field of each layer."""
    given = [module.Window(*window) for window in windows]
    return _views(module.receptive_fields(size, given), len(windows))


def habits(module: ModuleType, size: int, windows: Windows) -> None:
    """A probe: that windows are left as they are, and that the same call gives the same."""
    given = [module.Window(*window) for window in windows]
    kept = list(given)
    found = _views(module.receptive_fields(size, given), len(windows))
    refuse_change("windows", kept, given)
    held = module.receptive_fields(size, given)
    _views(module.receptive_fields(2 * size, given), len(windows))
    again = _views(held, len(windows))
    if found != again:
        raise ExerciseError(
            f"gives {found}, and {again} when it is asked again, and then for an input of twice "
            f"the size: keep nothing from call to call"
        )


def last_field(module: ModuleType, size: int, windows: Windows) -> Any:
    """A probe: the number that the file's own script prints and trains by."""
    if not hasattr(module, "last_field"):
        raise ExerciseError("the function last_field is missing: it stands below your function")
    return module.last_field(size, [module.Window(*window) for window in windows])


def _views(value: Any, layers: int) -> list[list[Any]]:
    """What came of a call, as four numbers for each layer."""
    wanted = f"should return a list of {layers} Views"
    found = entries(value, wanted)
    if len(found) != layers:
        raise ExerciseError(f"{wanted}, not of {len(found)}: one for each layer")
    views = [entries(view, "the list should hold Views") for view in found]
    for view in views:
        if len(view) != 4:
            raise ExerciseError(f"a View has size, stride, centre and field, so not {view!r:.200}")
    return views


def grade(student: Student) -> tuple[Result, ...]:
    """Judge a student's arithmetic."""
    return judge(student, CHECKS)


def _footprint(size: int, windows: Windows, place: int) -> tuple[int, int]:
    """The first and the last pixel that the gradient of one output position reaches.

    All weights are 1, so that no two contributions cancel.
    """
    network = nn.Sequential(*[nn.Conv1d(1, *window, bias=False) for window in windows])
    buffer = network.initialise((size, 1), dtype=np.float64)
    buffer.values[...] = 1
    y, saved = network.forward(np.ones((1, size, 1)), nn.Mode(training=True))
    dy = np.zeros_like(y)
    dy[0, place] = 1
    reached = np.flatnonzero(network.backward(dy, saved))
    return int(reached[0]), int(reached[-1])


def _walk(size: int, windows: Windows, layer: int, slip: str) -> list[float]:
    """Size, stride, centre and field of a layer, with a slip in the arithmetic."""
    jump, centre, field = 1, 0.0, 1
    for k, s, p, d in windows[: layer + 1]:
        span = d * (k - 1) if slip != "dilation" else k - 1
        seen = {"own stride": jump * s, "no stride": 1}.get(slip, jump)
        rest = size + (p if slip == "one end" else 2 * p) - span - 1
        size = (-(-rest // s) if slip == "ceiling" else rest // s) + (slip != "first")
        half = {"half": d * (k // 2), "from the edge": (span + 1) / 2, "cut": span // 2}
        shift = {"padding": 0, "dilated": d * p}.get(slip, p)
        turned = -1 if slip == "turned" else 1
        centre += (half.get(slip, span / 2) - shift) * seen * turned
        if slip == "padding unscaled":
            centre += shift * (seen - 1)
        field += (span + (slip == "kernel") - (slip == "less") * p) * seen
        jump = {"added": jump + s - 1, "last": s, "still": 1}.get(slip, jump * s)
    if slip == "as in the middle of the field":
        centre = (field - 1) / 2
    return [size, jump, int(centre) if slip == "whole" else centre, field]


SLIPS = {
    "dilation": "the elements of a window lie `dilation` positions apart: it spans d (k - 1)",
    "own stride": "count in positions of the layer's input: the layer's own stride comes after",
    "no stride": "a position of the layer's input is as many pixels as the strides before it make",
    "ceiling": "windows that reach beyond the padding at the end are left out: round down",
    "half": "half the span of an even kernel is no whole number: (k - 1) / 2, not k // 2",
    "padding": "the first window begins `padding` positions before the first of its input",
    "kernel": "from the first to the last element are k - 1 gaps, not k",
    "added": "strides of layers multiply: 2 pixels apart, and every second of these, are 4",
    "last": "the stride is in pixels of the network's input: those of all layers so far count",
    "still": "a layer's stride moves its own output, too: it counts from this layer on",
    "one end": "there is padding at both ends",
    "first": "the first window counts, too: if it can move by n positions, there are n + 1",
    "from the edge": "pixel 0 has its middle at 0, so k elements have theirs at (k - 1) / 2",
    "cut": "half the span may be no whole number; leave it so",
    "whole": "a centre may lie between two pixels: leave it as a float",
    "dilated": "padding is counted in positions of the layer's input, whatever the dilation",
    "turned": "the sign is wrong: padding moves the centre to the left, the span to the right",
    "padding unscaled": "padding is in positions of the layer's input: how many pixels are they?",
    "less": "padding is not taken off: the field counts it, as if the input were longer",
    "as in the middle of the field": "padding moves the centre; the field alone does not tell it",
}
"""Known slips, by what is told of them."""


def _known(size: int, windows: Windows, layer: int, number: int, found: Any, hint: str) -> str:
    """A hint on the slip that gives what was found, if it is known."""
    walks = {words: _walk(size, windows, layer, slip) for slip, words in SLIPS.items()}
    known = (words for words, walk in walks.items() if walk[number] == found)
    return next(known, hint)


def _sizes(student: Student, windows: Windows, beyond: int) -> None:
    size = _room(windows) + beyond
    found = student.ask("views", size, windows, call="receptive_fields")
    for layer, (view, expected) in enumerate(zip(found, _lengths(size, windows), strict=True)):
        _same(
            f"an input of {size} pixels: the size of layer {layer}'s output", view[0], expected,
            _known(size, windows, layer, 0, view[0],
                   "how often does the window fit in, with the padding at both ends?"),
        )  # fmt: skip


def _strides(student: Student, windows: Windows) -> None:
    _measure(student, windows, "stride")


def _fields(student: Student, windows: Windows) -> None:
    _measure(student, windows, "field")


def _centres(student: Student, windows: Windows) -> None:
    _measure(student, windows, "centre")


HINTS = {
    "stride": "a layer's own stride counts positions of its input, which lie apart themselves",
    "field": "a window adds the span from its first to its last element, d (k - 1) positions of "
    "its input; how many pixels is that?",
    "centre": "the middle of the first window lies half its span after its first element, and "
    "that lies p positions before the first of its input",
}


def _measure(student: Student, windows: Windows, what: str) -> None:
    """Hold one figure of each layer to gradients of neighbours in the middle of its output."""
    # Three fields long, so that what is measured does not end where the input ends.
    size = 3 * _room(windows)
    found = student.ask("views", size, windows, call="receptive_fields")
    for layer, length in enumerate(_lengths(size, windows)):
        place = length // 2
        part = windows[: layer + 1]
        first, last = _footprint(size, part, place)
        stride = _footprint(size, part, place + 1)[0] - first
        measured = {
            "stride": stride,
            "field": last - first + 1,
            "centre": (first + last) / 2 - place * stride,
        }
        number = {"stride": 1, "centre": 2, "field": 3}[what]
        _same(
            f"the {what} of layer {layer}", found[layer][number], measured[what],
            f"with {size} pixels, the gradient of its position {place} reaches pixels {first} to "
            f"{last}, and that of the next one begins at {first + stride}.\n"
            + _known(size, windows, layer, number, found[layer][number], HINTS[what]),
        )  # fmt: skip


def _published(student: Student, model: str, size: int) -> None:
    network = models.make(model)
    layers = [part for _, part in network.walk() if isinstance(part, nn.Conv2d | nn.MaxPool2d)]
    windows: Windows = []
    for part in layers:
        kernel = part.kernel_size if isinstance(part, nn.Conv2d) else part.size
        dilation = part.dilation if isinstance(part, nn.Conv2d) else (1, 1)
        windows.append((kernel[0], part.stride[0], int(part.padding[0]), dilation[0]))
    rows = summary(network, (size, size, 3)).rows
    images = [row for row in rows if row.kind in ("Conv2d", "MaxPool2d")]
    found = student.ask("views", size, windows, call="receptive_fields")
    for layer, (row, view) in enumerate(zip(images, found, strict=True)):
        assert row.fields is not None
        field = row.fields[0]
        expected = [row.shape[0], field.jump, field.centre, field.size]
        for what, ours, right in zip(
            ("size", "stride", "centre", "field"), view, expected, strict=True
        ):
            hint = f"layer {layer} is {windows[layer]}: kernel, stride, padding and dilation"
            before = f"those before are {windows[:layer]}" if layer else "it is the first"
            _same(f"{model}: the {what} of layer {layer}", ours, right, f"{hint}; {before}")
    student.ask("habits", size, windows, call="receptive_fields")
    field = student.ask("last_field", size, windows, call="last_field")
    _same(f"{model}: the last layer's field, as last_field gives it,", field, found[-1][3],
          "your views are right; does the script below them see something else?")  # fmt: skip


def _same(what: str, found: Any, expected: float, hint: str) -> None:
    if isinstance(found, bool) or not isinstance(found, int | float) or found != expected:
        raise ExerciseError(f"{what} is {found!r} and should be {expected:g}\n\nHint: {hint}")


def _room(windows: Windows) -> int:
    """The field of the last layer, and somewhat more."""
    field = Field()
    for window in windows:
        field = field.behind_window(*window)
    return int(field.size + 2 * field.jump)


def _lengths(size: int, windows: Windows) -> list[int]:
    """The number of positions of each layer's output, by building it."""
    lengths = []
    for window in windows:
        size = nn.Conv1d(1, *window).build((size, 1))[0]
        lengths.append(size)
    return lengths


kernel = st.sampled_from([1, 2, 3, 4, 5, 7, 11])
window = st.tuples(kernel, st.integers(1, 3), st.integers(0, 3), st.integers(1, 3))
LAYERS = {"windows": st.lists(window, min_size=1, max_size=4)}
SOME_OR_NONE = {"windows": st.lists(window, max_size=4), "beyond": st.integers(0, 9)}
CHECKS = (
    Check("size: the positions of every output", 20, SOME_OR_NONE, _sizes),
    Check("stride: as far as the gradients of two neighbours lie apart", 15, LAYERS, _strides),
    Check("field: as wide as the gradient of one position", 25, LAYERS, _fields),
    Check("centre: where that gradient lies", 25, LAYERS, _centres),
    Check("all four, for AlexNet and VGG-16", 15,
          {"model": st.sampled_from(["alexnet", "vgg16"]), "size": st.just(224)}, _published),
)  # fmt: skip
"""100 points."""
