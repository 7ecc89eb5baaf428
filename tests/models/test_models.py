"""The networks of the lecture: counts, shapes, names, and that they learn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from minidl import kernels, models, nn, optim
from minidl.data import digits
from minidl.errors import InputError, ShapeError, UnknownNameError

for_digits = pytest.mark.parametrize("name", ["mlp", "lenet5", "digits_cnn", "resnet20"])


def test_lenet5_has_the_count_of_the_books():
    for side in (8, 28, 32):
        network = models.lenet5()
        assert len(network.initialise((side, side, 1))) == 61_706
    sizes = {
        name.removesuffix(".weight"): p.size + network.parameters()[f"{name[:-6]}bias"].size
        for name, p in network.parameters().items()
        if name.endswith("weight")
    }
    assert list(sizes.values()) == [156, 2_416, 48_120, 10_164, 850]


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5)])
def test_mlp_has_a_weight_matrix_between_each_two_sizes(hidden):
    network = models.mlp(hidden, classes=3)
    sizes = (4 * 4, *hidden, 3)
    count = sum(a * b + b for a, b in pairwise(sizes))
    assert len(network.initialise((4, 4, 1))) == count


@for_digits
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1)])
def test_small_models_take_both_sizes_of_digits(name, shape):
    network = models.make(name, classes=7)
    network.initialise(shape)
    with kernels.using("reference"):
        y, saved = network.forward(
            np.zeros((2, *shape), np.float32), nn.Mode(training=True, batch_size=2)
        )
        assert y.shape == (2, 7)
        assert network.backward(y, saved).shape == (2, *shape)


def test_digits_cnn_suits_pipelines():
    network = models.digits_cnn()
    assert len(network) >= 8
    assert not any(isinstance(layer, nn.BatchNorm) for _, layer in network.walk())


def test_unknown_names_and_settings_are_refused():
    with pytest.raises(UnknownNameError, match="'lenet'; known: alexnet, .*, lenet5, mlp"):
        models.make("lenet")
    with pytest.raises(InputError, match="mlp has no setting width; its settings are hidden"):
        models.make("mlp", width=3)
    with pytest.raises(InputError, match="dropout must be at least 0.0 and less than 1, not 1"):
        models.make("digits_cnn", dropout=1.0)
    models.make("digits_cnn", dropout=0)  # a whole number for a fraction is no count
    with pytest.raises(ShapeError, match="at most 32×32"):
        models.lenet5().initialise((33, 33, 1))


@pytest.mark.parametrize(
    ("name", "rule", "epochs", "least"),
    [
        ("digits_cnn", optim.Adam(2e-3), 12, 0.97),
        ("lenet5", optim.SGD(0.1, momentum=0.9), 3, 0.85),
        ("mlp", optim.SGD(0.1, momentum=0.9), 5, 0.90),
    ],
)
def test_digits_are_learnt(name, rule, epochs, least):
    train, test = digits()
    x, labels = train.batch(slice(None))
    network, loss = models.make(name), nn.CrossEntropy()
    buffer = network.initialise(train.sample_shape)
    learnt = slice(0, buffer.trainable)
    slots = {slot: np.zeros(buffer.trainable, np.float32) for slot in rule.slots}
    step = 0
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(x))
        for start in range(0, len(x), 32):
            rows = order[start : start + 32]
            mode = nn.Mode(training=True, step=step, batch_size=len(rows))
            outputs, saved = network.forward(x[rows], mode)
            _, kept = loss.forward(outputs, labels[rows])
            dlosses = np.full(len(rows), 1 / len(rows), np.float32)
            network.backward(loss.backward(dlosses, kept), saved)
            rule.step(buffer.values[learnt], buffer.grads[learnt], slots, step)
            buffer.grads[...] = 0
            step += 1
    x, labels = test.batch(slice(None))
    outputs, _ = network.forward(x, nn.EVALUATE)
    assert loss.metrics(outputs, labels)["accuracy"].mean() >= least
