"""A column of weights after a row of them is a square kernel, for fewer multiplications."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


@given(h=st.integers(1, 9), w=st.integers(1, 9), half=st.integers(0, 3), seed=st.integers(0, 99))
def test_a_row_and_a_column_are_the_square_of_rank_one(h, w, half, seed):
    size = 2 * half + 1
    generator = np.random.default_rng(seed)
    row = nn.Conv2d(1, (1, size), padding=(0, half), bias=False)
    column = nn.Conv2d(1, (size, 1), padding=(half, 0), bias=False)
    square = nn.Conv2d(1, size, padding=half, bias=False)
    for layer in (row, column, square):
        buffer = layer.initialise((h, w, 1), dtype=np.float64)
        buffer.values[...] = generator.normal(size=len(buffer))
    square.weight.value[...] = column.weight.value * row.weight.value
    x, mode = generator.normal(size=(2, h, w, 1)), nn.Mode(training=True, batch_size=2)
    between, of_row = row.forward(x, mode)
    y, of_column = column.forward(between, mode)
    whole, of_square = square.forward(x, mode)
    np.testing.assert_allclose(y, whole, atol=1e-10)
    dy = generator.normal(size=y.shape)
    np.testing.assert_allclose(
        row.backward(column.backward(dy, of_column), of_row),
        square.backward(dy, of_square),
        atol=1e-10,
    )
