"""Every layer and loss is numerically safe: far out, at ties, and on the smallest of inputs."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn

IMAGE, SEQUENCE, VECTOR = (3, 3, 4), (3, 4), (4,)
SMALLEST = {IMAGE: (1, 1, 4), SEQUENCE: (1, 4), VECTOR: (1,)}
"""An image of one pixel, a sequence of one step, a vector of one number."""

LAYERS = {
    nn.AuxiliaryHeads: [
        (lambda: nn.AuxiliaryHeads(nn.Tanh(), nn.Linear(2), heads=[nn.Linear(2)]), VECTOR)
    ],
    nn.AvgPool1d: [(lambda: nn.AvgPool1d(2, 2, 1, True, False), SEQUENCE)],
    nn.AvgPool2d: [
        (lambda: nn.AvgPool2d(2, 1, "same"), IMAGE),
        (lambda: nn.AvgPool2d(2, 2, 1, True, False), IMAGE),
    ],
    nn.BatchNorm: [(nn.BatchNorm, IMAGE), (nn.BatchNorm, VECTOR)],
    nn.Concat: [(lambda: nn.Concat(nn.Linear(2), nn.Tanh()), SEQUENCE)],
    nn.Conv2d: [(lambda: nn.Conv2d(2, 3, padding="same"), IMAGE)],
    nn.Conv1d: [(lambda: nn.Conv1d(2, 3, padding=1), SEQUENCE)],
    nn.Conv1d: [(lambda: nn.Conv1d(2, 3, padding="same"), SEQUENCE)],
    nn.Conv2d: [
        (lambda: nn.Conv2d(2, 3, padding="same"), IMAGE),
        (lambda: nn.Conv2d(4, 3, padding="same", groups=4), IMAGE),
    ],
    nn.ConvTranspose2d: [(lambda: nn.ConvTranspose2d(2, 3, 2), IMAGE)],
    nn.Dropout: [(nn.Dropout, IMAGE)],
    nn.ELU: [(nn.ELU, VECTOR)],
    nn.Embedding: [(lambda: nn.Embedding(3, 2), VECTOR)],
    nn.FitImage: [(lambda: nn.FitImage(6), IMAGE)],
    nn.Flatten: [(nn.Flatten, IMAGE)],
    nn.GELU: [(nn.GELU, VECTOR)],
    nn.GRU: [(lambda: nn.GRU(2, layers=2, bidirectional=True), SEQUENCE)],
    nn.GlobalAvgPool2d: [(nn.GlobalAvgPool2d, IMAGE)],
    nn.GlobalMaxPool2d: [(nn.GlobalMaxPool2d, IMAGE)],
    nn.GroupNorm: [(lambda: nn.GroupNorm(2), IMAGE)],
    nn.Hardswish: [(nn.Hardswish, VECTOR)],
    nn.LSTM: [(lambda: nn.LSTM(2, layers=2, bidirectional=True), SEQUENCE)],
    nn.LayerNorm: [(nn.LayerNorm, SEQUENCE)],
    nn.LeakyReLU: [(nn.LeakyReLU, VECTOR)],
    nn.Linear: [(lambda: nn.Linear(3), SEQUENCE), (lambda: nn.Linear(3), VECTOR)],
    nn.MaxPool1d: [(lambda: nn.MaxPool1d(2, 2, 1, True), SEQUENCE)],
    nn.MaxPool2d: [
        (lambda: nn.MaxPool2d(2, 1, "same"), IMAGE),
        (lambda: nn.MaxPool2d(2, 2, 1, True), IMAGE),
    ],
    nn.Mish: [(nn.Mish, VECTOR)],
    nn.PReLU: [(nn.PReLU, VECTOR), (lambda: nn.PReLU(True), IMAGE)],
    nn.Pad2d: [(lambda: nn.Pad2d(1, "replicate"), IMAGE), (lambda: nn.Pad2d(1), IMAGE)],
    nn.PadChannels: [(lambda: nn.PadChannels(5, 2), IMAGE)],
    nn.RMSNorm: [(nn.RMSNorm, SEQUENCE)],
    nn.RNN: [(lambda: nn.RNN(2, masked=True), SEQUENCE), (lambda: nn.RNN(2), SEQUENCE)],
    nn.ReLU: [(nn.ReLU, VECTOR)],
    nn.Reshape: [(lambda: nn.Reshape(2, 18), IMAGE)],
    nn.Residual: [(lambda: nn.Residual(nn.LayerNorm()), SEQUENCE)],
    nn.Sequential: [(lambda: nn.Sequential(nn.Linear(3), nn.Softmax()), SEQUENCE)],
    nn.SiLU: [(nn.SiLU, VECTOR)],
    nn.Sigmoid: [(nn.Sigmoid, VECTOR)],
    nn.Softmax: [(nn.Softmax, SEQUENCE)],
    nn.Softplus: [(nn.Softplus, VECTOR)],
    nn.Softsign: [(nn.Softsign, VECTOR)],
    nn.TakeLast: [(lambda: nn.TakeLast(bidirectional=True), SEQUENCE)],
    nn.Tanh: [(nn.Tanh, VECTOR)],
    nn.Upsample: [(lambda: nn.Upsample(2), IMAGE)],
}
LOSSES = {
    nn.BCEWithLogits: [nn.BCEWithLogits()],
    nn.CrossEntropy: [nn.CrossEntropy(), nn.CrossEntropy(0.1), nn.CrossEntropy(0.1, 0)],
    nn.Hinge: [nn.Hinge()],
    nn.Huber: [nn.Huber(), nn.Huber(1e-3)],
    nn.L1: [nn.L1()],
    nn.MSE: [nn.MSE()],
    nn.WithAuxiliary: [nn.WithAuxiliary(nn.CrossEntropy(), 1), nn.WithAuxiliary(nn.MSE(), 1)],
}
BASES = {nn.Layer, nn.Recurrent, nn.Loss}

each_layer = pytest.mark.parametrize(
    ("make", "shape"),
    [pytest.param(*case, id=kind.__name__) for kind, cases in LAYERS.items() for case in cases],
)
each_loss = pytest.mark.parametrize(
    "loss", [pytest.param(one, id=kind.__name__) for kind, ones in LOSSES.items() for one in ones]
)
dtypes = st.sampled_from([np.float32, np.float64])
fills = st.sampled_from(["far", "equal", "zero"])
seeds = st.integers(0, 99)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


@pytest.fixture(autouse=True)
def without_warnings():
    with np.errstate(over="raise", invalid="raise", divide="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def filled(fill, shape, generator):
    """Numbers of ±1e4 in any mixture, all 1e4 or all -1e4, or all 0."""
    if fill == "far":
        return 1e4 * generator.choice([-1, 0, 1], shape)
    return np.full(shape, 0 if fill == "zero" else generator.choice([-1e4, 1e4]))


def run(layer, shape, n, fill, dtype, generator):
    """Forward and backward, and in evaluation, on a batch; all is finite and as it should be."""
    buffer = layer.initialise(shape, dtype=dtype)
    out = layer.build(shape)
    x = filled(fill, (n, *shape), generator).astype(dtype)
    if layer.takes_integers:
        x = (x > 0).astype(np.int64)
    y, saved = layer.forward(x, nn.Mode(training=True, batch_size=max(1, n)))
    dx = layer.backward(generator.choice([-1, 0.5, 1], y.shape).astype(dtype), saved)
    evaluated, kept = layer.forward(x, nn.EVALUATE)
    assert kept is None
    assert evaluated.shape == (n, *out)
    assert y.shape == (n, *out) or isinstance(layer, nn.AuxiliaryHeads)
    assert dx.shape == x.shape
    for array in (y, evaluated, dx, buffer.values, buffer.grads):
        assert array.dtype == dtype
        assert np.isfinite(array).all()
    if n == 0:
        assert not buffer.grads.any()
    buffer.follow_means()
    assert np.isfinite(buffer.values).all()
    assert np.isfinite(layer.forward(x, nn.EVALUATE)[0]).all()


def test_every_public_layer_and_loss_is_in_the_lists_above():
    public = {
        kind
        for kind in vars(nn).values()
        if inspect.isclass(kind) and issubclass(kind, nn.Layer | nn.Loss)
    }
    assert public - BASES == {*LAYERS, *LOSSES}
    for kind, cases in LAYERS.items():
        assert all(type(make()) is kind for make, _ in cases)
    for kind, losses in LOSSES.items():
        assert all(type(loss) is kind for loss in losses)


@each_layer
@given(n=st.integers(0, 3), fill=fills, dtype=dtypes, seed=seeds)
def test_inputs_far_out_or_all_equal_in_batches_of_any_size(make, shape, n, fill, dtype, seed):
    run(make(), shape, n, fill, dtype, np.random.default_rng(seed))


@each_layer
@given(n=st.integers(0, 2), fill=fills, dtype=dtypes, seed=seeds)
def test_the_smallest_samples(make, shape, n, fill, dtype, seed):
    layer, smallest = make(), SMALLEST[shape]
    if isinstance(layer, nn.Reshape):
        layer = nn.Reshape(2, 2)
    run(layer, smallest, n, fill, dtype, np.random.default_rng(seed))


@each_loss
@given(n=st.integers(0, 3), steps=st.lists(st.integers(0, 2), max_size=1), c=st.integers(1, 4),
       fill=fills, dtype=dtypes, seed=seeds)  # fmt: skip
def test_losses_far_out_at_ties_and_of_nothing(loss, n, steps, c, fill, dtype, seed):
    generator = np.random.default_rng(seed)
    outputs = filled(fill, (n, *steps, c), generator).astype(dtype)
    kind = loss.loss if isinstance(loss, nn.WithAuxiliary) else loss
    if isinstance(kind, nn.CrossEntropy | nn.Hinge):
        targets = generator.integers(0, c, outputs.shape[:-1])
    elif isinstance(kind, nn.BCEWithLogits):
        targets = generator.integers(0, 2, outputs.shape)
    else:
        targets = filled(fill, outputs.shape, generator)
    if isinstance(loss, nn.WithAuxiliary):
        loss = nn.WithAuxiliary(kind, c)
    loss.check(outputs.shape[1:], targets)
    if isinstance(loss, nn.WithAuxiliary):
        outputs = np.concatenate((outputs, -outputs, outputs), axis=-1)
    losses, saved = loss.forward(outputs, targets)
    gradient = loss.backward(generator.uniform(0, 1, n).astype(dtype), saved)
    assert losses.shape == (n,)
    assert gradient.shape == outputs.shape
    for array in (losses, gradient, *loss.metrics(outputs, targets).values()):
        assert np.isfinite(array).all()
    assert losses.dtype == gradient.dtype == dtype
    assert (losses >= 0).all()
