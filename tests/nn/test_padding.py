"""Borders around images, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import nn
from minidl.errors import InputError, ShapeError, UnknownNameError

NUMPYS = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
ends = st.tuples(st.integers(0, 3), st.integers(0, 3))


@pytest.mark.parametrize("mode", NUMPYS)
@given(
    h=st.integers(4, 5), w=st.integers(4, 5), down=ends, across=ends, n=st.integers(0, 2),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]), seed=st.integers(0, 99),
)  # fmt: skip
def test_borders_are_those_of_numpy(mode, h, w, down, across, n, dtype, seed):
    x = np.random.default_rng(seed).normal(size=(n, h, w, 2)).astype(dtype)
    constant = {"constant_values": 0.5} if mode == "constant" else {}
    layer = nn.Pad2d((down, across), mode, 0.5)
    y, _ = layer.forward(x, nn.EVALUATE)
    expected = np.pad(x, ((0, 0), down, across, (0, 0)), NUMPYS[mode], **constant)
    assert y.dtype == dtype
    assert y.shape[1:] == layer.build(x.shape[1:])
    np.testing.assert_array_equal(y, expected)


def test_one_number_is_for_every_side_and_two_are_for_the_axes():
    assert nn.Pad2d(2).padding == ((2, 2), (2, 2))
    assert nn.Pad2d((1, 2)).padding == ((1, 1), (2, 2))
    assert nn.Pad2d(((1, 2), (0, 3))).padding == ((1, 2), (0, 3))


@pytest.mark.parametrize("padding", [-1, 1.5, (1, 2, 3, 4), ((1, 2), (3, -1)), "same", (1,), ()])
def test_other_paddings_are_refused(padding):
    with pytest.raises(InputError, match="Pad2d: padding must be"):
        nn.Pad2d(padding)


def test_other_modes_and_values_are_refused():
    with pytest.raises(UnknownNameError, match="Pad2d: mode"):
        nn.Pad2d(1, "edge")
    with pytest.raises(InputError, match="value must be finite"):
        nn.Pad2d(1, value=float("inf"))


def test_a_mirror_shows_no_more_than_there_is():
    assert nn.Pad2d(2, "reflect").build((3, 3, 1)) == (7, 7, 1)
    with pytest.raises(ShapeError, match="must be fewer than those of an image"):
        nn.Pad2d(((0, 3), (0, 0)), "reflect").build((3, 3, 1))
    with pytest.raises(ShapeError, match="needs images"):
        nn.Pad2d(1).build((3, 3))
