"""Every layer's gradients equal finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from finite_differences import away_from_ties, check_layer, check_loss
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import ShapeError

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
few = st.integers(0, 3)
some = st.integers(1, 4)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request: pytest.FixtureRequest):
    with kernels.using(request.param):
        yield


@st.composite
def shapes(draw: st.DrawFn, last: st.SearchStrategy[int] = some) -> tuple[int, ...]:
    return (draw(few), *draw(st.lists(st.integers(1, 3), max_size=2)), draw(last))


@st.composite
def images(draw: st.DrawFn) -> tuple[int, ...]:
    return (draw(few), draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 3)))


def fits(layer: nn.Layer, shape: tuple[int, ...]) -> bool:
    try:
        layer.build(shape[1:])
    except ShapeError:
        return False
    return True


@given(shapes(), some, st.booleans(), seeds)
def test_linear(shape, out_features, bias, generator):
    layer = nn.Linear(out_features, bias)
    check_layer(layer, generator.normal(size=shape), generator)


@given(images(), some, pairs, pairs, st.tuples(few, few), pairs, st.booleans(), seeds)
def test_conv2d(shape, out_channels, size, stride, padding, dilation, bias, generator):
    layer = nn.Conv2d(out_channels, size, stride, padding, dilation, bias)
    assume(fits(layer, shape))
    check_layer(layer, generator.normal(size=shape), generator)


@given(images(), st.integers(2, 3), some, pairs, pairs, st.booleans(), seeds)
def test_conv2d_in_groups(shape, groups, out_channels, size, stride, bias, generator):
    layer = nn.Conv2d(groups * out_channels, size, stride, 1, bias=bias, groups=groups)
    shape = (shape[0], min(shape[1], 4), min(shape[2], 4), groups * min(shape[3], 2))
    assume(fits(layer, shape))
    check_layer(layer, generator.normal(size=shape), generator)


@given(few, st.integers(1, 7), some, some, some, some, few | st.just("same"), some, seeds)
def test_conv1d(n, steps, channels, size, groups, stride, padding, dilation, generator):
    layer = nn.Conv1d(2 * groups, size, stride, padding, dilation, groups=groups)
    shape = (n, steps, groups * channels)
    assume(fits(layer, shape))
    check_layer(layer, generator.normal(size=shape), generator)


@given(images(), some, pairs, pairs, st.tuples(few, few), pairs, st.booleans(), seeds)
def test_conv_transpose2d(shape, out_channels, size, stride, padding, more, bias, generator):
    more = (more[0] % stride[0], more[1] % stride[1])
    layer = nn.ConvTranspose2d(out_channels, size, stride, padding, more, bias)
    shape = (shape[0], min(shape[1], 4), min(shape[2], 4), shape[3])
    assume(fits(layer, shape))
    check_layer(layer, generator.normal(size=shape), generator)


@given(images(), st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]), pairs, pairs, seeds)
def test_pooling(shape, kind, size, stride, generator):
    padding = (int(generator.integers(size[0] // 2 + 1)), int(generator.integers(size[1] // 2 + 1)))
    layer = kind(size, stride, padding)
    assume(fits(layer, shape))
    check_layer(layer, away_from_ties(generator, shape), generator)


@given(images(), seeds)
def test_global_avg_pool2d(shape, generator):
    check_layer(nn.GlobalAvgPool2d(), generator.normal(size=shape), generator)


@given(images(), some, pairs, pairs, pairs, seeds)
def test_same_convolution(shape, out_channels, size, stride, dilation, generator):
    layer = nn.Conv2d(out_channels, size, stride, "same", dilation)
    check_layer(layer, generator.normal(size=shape), generator)


@given(images(), st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]), pairs, pairs, seeds)
def test_same_pooling(shape, kind, size, stride, generator):
    check_layer(kind(size, stride, "same"), away_from_ties(generator, shape), generator)


@given(shapes(), seeds)
def test_batch_norm(shape, generator):
    assume(np.prod(shape[:-1]) != 1)
    check_layer(nn.BatchNorm(), away_from_ties(generator, shape), generator)


@given(shapes(), seeds)
def test_layer_norm(shape, generator):
    check_layer(nn.LayerNorm(eps=0.01), generator.normal(size=shape), generator)


@given(shapes(), st.integers(1, 3), seeds)
def test_group_norm(shape, groups, generator):
    shape = (*shape[:-1], groups * shape[-1])
    check_layer(nn.GroupNorm(groups, eps=0.01), generator.normal(size=shape), generator)


@given(shapes(), st.floats(0, 0.95), seeds)
def test_dropout(shape, rate, generator):
    check_layer(nn.Dropout(rate), generator.normal(size=shape), generator)


@given(
    shapes(),
    st.sampled_from(
        [
            nn.ReLU(),
            nn.LeakyReLU(0.1),
            nn.LeakyReLU(-0.5),
            nn.Tanh(),
            nn.Sigmoid(),
            nn.ELU(),
            nn.ELU(0.3),
            nn.GELU(),
            nn.SiLU(),
            nn.Softplus(),
            nn.Softmax(),
        ]
    ),
    seeds,
)
def test_activations(shape, layer, generator):
    check_layer(layer, away_from_ties(generator, shape), generator)


@given(shapes(), seeds)
def test_flatten(shape, generator):
    check_layer(nn.Flatten(), generator.normal(size=shape), generator)


@given(images(), seeds)
def test_reshape(shape, generator):
    height, width, channels = shape[1:]
    check_layer(nn.Reshape(channels, height * width), generator.normal(size=shape), generator)


@given(images(), pairs, seeds)
def test_upsample(shape, scale, generator):
    check_layer(nn.Upsample(scale), generator.normal(size=shape), generator)


@given(images(), st.integers(1, 13), seeds)
def test_fit_image(shape, size, generator):
    assume(max(shape[1:3]) <= size)
    check_layer(nn.FitImage(size), generator.normal(size=shape), generator)


@given(shapes(), some, seeds)
def test_residual(shape, width, generator):
    body = nn.Sequential(nn.Linear(width), nn.Tanh(), nn.Linear(shape[-1]))
    check_layer(nn.Residual(body), generator.normal(size=shape), generator)
    projected = nn.Residual(nn.Sequential(nn.Linear(width), nn.Tanh()), nn.Linear(width))
    check_layer(projected, generator.normal(size=shape), generator)


@given(images(), few, some, seeds)
def test_pad_channels(shape, more, stride, generator):
    layer = nn.PadChannels(shape[-1] + more, stride)
    check_layer(layer, generator.normal(size=shape), generator)


@given(shapes(), st.lists(some, max_size=3), seeds)
def test_concat(shape, widths, generator):
    branches = [nn.Sequential(nn.Linear(width), nn.Tanh()) for width in widths]
    check_layer(nn.Concat(*branches, nn.Sequential()), generator.normal(size=shape), generator)


@given(images(), some, seeds)
def test_concat_of_convolutions(shape, width, generator):
    branches = (nn.Conv2d(width, (3, 1), padding=(1, 0)), nn.AvgPool2d(3, 1, 1), nn.Conv2d(2, 1))
    check_layer(nn.Concat(*branches), generator.normal(size=shape), generator)


@settings(max_examples=10)
@given(seeds)
def test_a_network_of_everything(generator):
    network = nn.Sequential(
        nn.FitImage(5),
        nn.Conv2d(3, 2, padding=1),
        nn.BatchNorm(),
        nn.Tanh(),
        nn.Residual(nn.Sequential(nn.Conv2d(3, 3, padding=1), nn.Dropout(0.3))),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4),
        nn.Sigmoid(),
    )
    check_layer(network, generator.normal(size=(3, 2, 2, 2)), generator)


@given(seeds, st.integers(1, 5))
def test_a_layer_used_twice_adds_up_both_uses(generator, width):
    shared = nn.Linear(width)
    network = nn.Sequential(shared, nn.Tanh(), shared)
    check_layer(network, generator.normal(size=(3, width)), generator)


@given(shapes(), st.floats(0, 0.9), seeds)
def test_cross_entropy(shape, smoothing, generator):
    labels = generator.integers(0, shape[-1], shape[:-1])
    check_loss(nn.CrossEntropy(smoothing), 3 * generator.normal(size=shape), labels, generator)


@given(shapes(), st.floats(0, 0.9), seeds)
def test_cross_entropy_with_an_ignored_label(shape, smoothing, generator):
    labels = generator.integers(0, shape[-1] + 1, shape[:-1])
    labels[labels == shape[-1]] = -100
    loss = nn.CrossEntropy(smoothing, ignore_index=-100)
    check_loss(loss, 3 * generator.normal(size=shape), labels, generator)


@given(shapes(), seeds)
def test_hinge(shape, generator):
    labels = generator.integers(0, shape[-1], shape[:-1])
    z = 0.97 * away_from_ties(generator, shape)  # no two differ by 1, where the margin begins
    check_loss(nn.Hinge(), z, labels, generator)


@given(shapes(), st.sampled_from([nn.L1(), nn.Huber(), nn.Huber(0.3)]), seeds)
def test_l1_and_huber(shape, loss, generator):
    targets = generator.choice([-4.0, 0, 4], shape)
    check_loss(loss, targets + away_from_ties(generator, shape), targets, generator)


@given(shapes(), seeds)
def test_mse(shape, generator):
    targets = generator.normal(size=shape)
    check_loss(nn.MSE(), generator.normal(size=shape), targets, generator)


@given(shapes(), seeds)
def test_bce_with_logits(shape, generator):
    targets = generator.uniform(size=shape)
    check_loss(nn.BCEWithLogits(), 3 * generator.normal(size=shape), targets, generator)
