"""The large networks: published parameter counts, and gradients of small versions of them."""

from __future__ import annotations

import numpy as np
import pytest

from minidl import kernels, models, nn

COUNTS = {
    # https://pytorch.org/vision/stable/models.html, num_params of each set of weights
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "googlenet": 6_624_904,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}
MILLIONS = {"resnet20": 0.27, "resnet32": 0.46, "resnet56": 0.85}
"""He et al. 2016, table 6."""


def count(name, shape, **settings):
    """Trainable parameters, which are never given values."""
    network = models.make(name, **settings)
    assert network.build(shape) == (1000 if name in COUNTS else 10,)
    parameters = network.parameters().values()
    assert not any(parameter.initialised for parameter in parameters)
    return sum(parameter.size for parameter in parameters if parameter.trainable)


@pytest.mark.parametrize("name", COUNTS)
def test_published_count_of_parameters(name):
    assert count(name, (224, 224, 3)) == COUNTS[name]


def test_published_count_of_googlenet_with_its_auxiliary_heads():
    """As torchvision.models.googlenet(init_weights=False) has them, heads included."""
    assert count("googlenet", (224, 224, 3), auxiliary=True) == 13_004_888


@pytest.mark.parametrize("name", MILLIONS)
def test_published_millions_of_parameters(name):
    assert round(count(name, (32, 32, 3)) / 1e6, 2) == MILLIONS[name]


def test_every_model_is_counted_or_has_a_test_of_its_own():
    own = {"mlp", "lenet5", "digits_cnn", "char_lstm", "seq2seq", "dcgan", "mlp_gan"}
    assert {*models.known()} == {*COUNTS, *MILLIONS, *own}


@pytest.mark.parametrize(
    ("name", "side", "settings"),
    [
        ("alexnet", 63, {"width": 3, "hidden": 12}),
        ("vgg11", 32, {"width": 3, "hidden": 12}),
        ("googlenet", 64, {"width": 8}),
        ("googlenet", 80, {"width": 8, "auxiliary": True}),
        ("resnet18", 33, {"width": 3}),
        ("resnet50", 33, {"width": 3}),
        ("resnet20", 17, {"width": 3}),
    ],
)
def test_a_step_against_the_gradient_lowers_the_loss_by_its_square(name, side, settings):
    network, loss = models.make(name, classes=5, **settings), nn.CrossEntropy()
    if settings.get("auxiliary"):
        loss = nn.WithAuxiliary(loss, 5)
    buffer = network.initialise((side, side, 3), dtype=np.float64)
    generator = np.random.default_rng(0)
    x, labels = generator.normal(size=(4, side, side, 3)), np.arange(4)
    mode = nn.Mode(training=True, batch_size=4)

    def losses():
        outputs, saved = network.forward(x, mode)
        values, kept = loss.forward(outputs, labels)
        return values.mean(), kept, saved

    with kernels.using("cpu"):
        before, kept, saved = losses()
        network.backward(loss.backward(np.full(4, 1 / 4), kept), saved)
        gradient = buffer.grads[: buffer.trainable]
        assert np.linalg.norm(gradient) > 1e-3
        step = 1e-6 / np.linalg.norm(gradient)
        buffer.values[: buffer.trainable] -= step * gradient
        after, _, _ = losses()
        assert network.forward(x, nn.EVALUATE)[0].shape == (4, 5)
    assert before - after == pytest.approx(step * gradient @ gradient, rel=1e-2)
