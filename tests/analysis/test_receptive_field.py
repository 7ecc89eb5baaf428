"""Receptive fields are the footprints of the gradient of one output position."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minidl import kernels, models, nn
from minidl.analysis import Field, summary

sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))
steps = st.tuples(st.integers(1, 2), st.integers(1, 2))
SIDES = (23, 26, 1)


@pytest.fixture(autouse=True, scope="module")
def on_the_definitions():
    with kernels.using("reference"):
        yield


@st.composite
def windows(draw: st.DrawFn) -> nn.Layer:
    size, stride = draw(sizes), draw(steps)
    if draw(st.booleans()):
        padding = tuple(draw(st.integers(0, k // 2)) for k in size)
        return nn.AvgPool2d(size, stride, padding, draw(st.booleans()), draw(st.booleans()))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)) | st.just("same"))
    return nn.Conv2d(2, size, stride, padding, draw(steps))


def same_size(size: int, channels: int = 2) -> nn.Layer:
    return nn.Conv2d(channels, size, padding=size // 2)


odd = st.sampled_from([1, 3, 5])
blocks = st.one_of(
    windows(),
    windows(),
    st.just(nn.ReLU()),
    st.builds(lambda a, b: nn.Residual(same_size(a), same_size(b)), odd, odd),
    st.builds(
        lambda a, b: nn.Concat(same_size(a), nn.Sequential(same_size(b), nn.ReLU())), odd, odd
    ),
    st.builds(lambda stride: nn.PadChannels(9, stride), st.integers(1, 2)),
    st.builds(nn.Pad2d, st.tuples(steps, steps)),
)


def footprint(network: nn.Layer, shape: tuple[int, ...], place: tuple[int, int]) -> np.ndarray:
    """Which pixels one output position depends on: where its gradient is not zero.

    All weights are positive, so no two contributions cancel.
    """
    buffer = network.initialise(shape, dtype=np.float64)
    buffer.values[...] = np.random.default_rng(0).uniform(0.5, 1, len(buffer))
    y, saved = network.forward(np.ones((1, *shape)), nn.Mode(training=True))
    dy = np.zeros_like(y)
    dy[0, *place] = 1
    return network.backward(dy, saved)[0].any(axis=-1)


def seen(field: Field, position: int) -> tuple[int, int]:
    """The first and the last pixel that a field touches, also in part."""
    first, last = field.at(position)
    return floor(round(first, 9)), ceil(round(last, 9))


def check(network: nn.Layer, shape: tuple[int, ...], place: tuple[int, int]) -> bool:
    """Hold one position's field to its footprint; whether it lay within the image."""
    row = summary(network, shape).rows[-1]
    assert row.fields is not None
    inside = True
    bounds = []
    for field, position, side in zip(row.fields, place, shape, strict=False):
        first, last = seen(field, position)
        bounds.append((first, last))
        inside &= first >= 0 and last < side
    marks = footprint(network, shape, place)
    for axis, (first, last) in enumerate(bounds):
        touched = np.flatnonzero(marks.any(axis=1 - axis))
        if inside:
            assert (touched[0], touched[-1]) == (first, last)
        else:
            assert all(first <= pixel <= last for pixel in touched)
    return inside


@settings(max_examples=60)
@given(st.lists(blocks, min_size=1, max_size=4), st.data())
def test_fields_are_footprints_of_gradients(layers, data):
    network = nn.Sequential(*layers)
    try:
        last = summary(network, SIDES).rows[-1]
    except ValueError:
        assume(False)  # a window larger than the image, or fewer channels wanted than there are
    assume(last.fields is not None)
    down, across = last.shape[:2]
    check(network, SIDES, (down // 2, across // 2))
    anywhere = st.tuples(st.integers(0, down - 1), st.integers(0, across - 1))
    check(network, SIDES, data.draw(anywhere, label="place"))


@given(st.integers(1, 4), st.integers(1, 4), st.integers(20, 40), st.integers(1, 3), odd)
def test_fields_behind_an_enlarged_image(h, w, size, stride, kernel):
    network = nn.Sequential(nn.FitImage(size), nn.Conv2d(1, kernel, stride), nn.AvgPool2d(2, 1))
    down, across = summary(network, (h, w, 1)).output_shape[:2]
    assert check(network, (h, w, 1), (down // 2, across // 2)) or min(h, w) < 4


def test_most_of_the_law_is_about_fields_within_the_image():
    """A named example that the equality, not only the bound, is tested."""
    network = nn.Sequential(nn.Conv2d(1, (3, 5), 2, 1), nn.AvgPool2d(2), same_size(3, 1))
    assert check(network, SIDES, (2, 2))
    assert summary(network, SIDES).rows[-1].fields == (Field(13, 4, 1), Field(15, 4, 2))


def last_field(name: str, kind: str) -> Field:
    """Of the last image that a layer of this kind makes."""
    rows = summary(models.make(name), (224, 224, 3)).rows
    down, across = [row.fields for row in rows if row.kind == kind and row.fields is not None][-1]
    assert down == across
    return down


def test_published_fields():
    """Araujo, Norris and Sim (2019)."""
    for name, size in (("alexnet", 195), ("vgg16", 212)):
        field = last_field(name, "MaxPool2d")
        assert (field.size, field.jump) == (size, 32)


def test_field_of_resnet50():
    """By hand: 7 and 2·2 at the entrance, then each 3×3 adds twice the jump of what it is given."""
    inside = [3 * [4], [4, 8, 8, 8], [8, *5 * [16]], [16, 32, 32]]
    field = last_field("resnet50", "ReLU")
    assert field == Field(7 + 2 * 2 + 2 * sum(map(sum, inside)), 32, 0)
    assert field.size == 427
