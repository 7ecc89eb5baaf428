"""The transposed convolution: the adjoint of a convolution, which gives images back their size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.analysis import summary
from minidl.errors import InputError, ShapeError

some = st.integers(1, 3)
pairs = st.tuples(some, some)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


@given(n=st.integers(0, 2), h=st.integers(3, 8), w=st.integers(3, 8), c=some, o=some, size=pairs,
       stride=pairs, padding=st.tuples(st.integers(0, 1), st.integers(0, 1)),
       seed=st.integers(0, 99))  # fmt: skip
def test_it_is_the_adjoint_of_the_convolution(n, h, w, c, o, size, stride, padding, seed):
    """<conv(x), y> = <x, conv_t(y)>; the output padding is what the stride left over."""
    generator = np.random.default_rng(seed)
    settings = zip((h, w), size, stride, padding, strict=True)
    left = tuple((length + 2 * p - k) % s for length, k, s, p in settings)
    convolution = nn.Conv2d(o, size, stride, padding, bias=False)
    transposed = nn.ConvTranspose2d(c, size, stride, padding, left, bias=False)
    convolution.initialise((h, w, c), dtype=np.float64)
    made = convolution.build((h, w, c))
    transposed.initialise(made, dtype=np.float64)
    assert transposed.build(made) == (h, w, c)
    weight = generator.normal(size=convolution.weight.shape)
    convolution.weight.value[...] = weight
    transposed.weight.value[...] = weight.swapaxes(2, 3)
    x, y = generator.normal(size=(n, h, w, c)), generator.normal(size=(n, *made))
    there, back = convolution.forward(x, nn.EVALUATE)[0], transposed.forward(y, nn.EVALUATE)[0]
    assert back.shape == x.shape
    np.testing.assert_allclose((there * y).sum(), (x * back).sum(), atol=1e-10)


@given(h=some, w=some, scale=pairs)
def test_with_a_kernel_of_ones_as_large_as_its_stride_it_repeats_pixels(h, w, scale):
    layer = nn.ConvTranspose2d(1, scale, scale, bias=False, weight_init=nn.init.ones)
    layer.initialise((h, w, 1), dtype=np.float64)
    x = np.random.default_rng(0).normal(size=(2, h, w, 1))
    enlarged = nn.Upsample(scale).forward(x, nn.EVALUATE)[0]
    np.testing.assert_array_equal(layer.forward(x, nn.EVALUATE)[0], enlarged)


def test_summary_counts_a_window_for_each_input_pixel():
    counted = summary(nn.Sequential(nn.ConvTranspose2d(5, (3, 2), 2)), (4, 6, 7))
    assert counted.multiply_adds == 4 * 6 * 3 * 2 * 7 * 5
    assert counted.parameters == 3 * 2 * 7 * 5 + 5
    assert counted.rows[-1].fields is None


def test_weights_are_drawn_for_the_inputs_that_feed_an_output():
    wide, narrow = nn.ConvTranspose2d(2, 3), nn.ConvTranspose2d(200, 3)
    for layer, channels in ((wide, 200), (narrow, 2)):
        layer.initialise((2, 2, channels), dtype=np.float64)
        deviation = np.sqrt(2 / (9 * channels))
        assert layer.weight.value.std() == pytest.approx(deviation, rel=0.1)


@pytest.mark.parametrize("more", [2, (0, 3), (1, 2)])
def test_an_output_padding_of_a_stride_or_more_is_refused(more):
    with pytest.raises(InputError, match=r"output_padding must be less than the stride \(2, 2\)"):
        nn.ConvTranspose2d(1, 3, 2, output_padding=more)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.ConvTranspose2d(1, 2), (3, 3), r"\(height, width, channels\), not \(3, 3\)"),
        (nn.ConvTranspose2d(1, 2), (0, 3, 1), "images of shape"),
        (nn.ConvTranspose2d(1, 2, padding=2), (3, 4, 1), r"0×1 from one of 3×4.*\(2, 2\)"),
    ],
)
def test_samples_that_do_not_fit_are_refused(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        layer.build(shape)
