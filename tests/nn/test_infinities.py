"""Losses and activations of infinite and of the largest and smallest numbers.

Frozen values first; then PyTorch, in float64, wherever it gives a number: where it gives NaN,
as for 0 times infinity, there may be a limit here.
"""

from __future__ import annotations

from math import exp, inf, log1p, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn, optim
from minidl.data import Dataset
from minidl.train import Trainer

DTYPES = [np.float32, np.float64]
TRAINING = nn.Mode(training=True)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def of_loss(loss, outputs, targets, dtype):
    """The losses, and the gradients of their sum."""
    z = np.asarray(outputs, dtype)
    losses, saved = loss.forward(z, np.asarray(targets))
    gradient = loss.backward(np.ones(len(z), dtype), saved)
    assert losses.dtype == gradient.dtype == dtype
    return losses, gradient


MASKED = [
    # outputs, label, loss, gradient
    ([1, -inf, 2], 2, log1p(exp(-1)), [1 / (1 + exp(1)), 0, -1 / (1 + exp(1))]),
    ([1, -inf, 2], 0, 1 + log1p(exp(-1)), [-1 / (1 + exp(-1)), 0, 1 / (1 + exp(-1))]),
    ([1, -inf, 2], 1, inf, [1 / (1 + exp(1)), -1, 1 / (1 + exp(-1))]),
    ([-inf, 5, -inf], 1, 0, [0, 0, 0]),
    ([1e38, 0, -1e38], 0, 0, [0, 0, 0]),
    ([1e38, 0, -1e38], 2, 2e38, [1, 0, -1]),
    ([-inf, -inf, -inf], 0, nan, [nan, nan, nan]),
    ([inf, 0, 1], 0, nan, [nan, nan, nan]),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight", [None, (2, 2, 2)])
@pytest.mark.parametrize(("outputs", "label", "loss", "gradient"), MASKED)
def test_cross_entropy_of_masked_classes(outputs, label, loss, gradient, weight, dtype):
    """A logit of -inf; where the label's is, the loss is infinite. The values are PyTorch's."""
    factor = 1 if weight is None else weight[0]
    with np.errstate(invalid="ignore", over="ignore"):
        losses, found = of_loss(nn.CrossEntropy(weight=weight), [outputs], [label], dtype)
        expected = np.array([loss], dtype) * dtype(factor)
    np.testing.assert_allclose(losses, expected, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(found, factor * np.array([gradient]), rtol=1e-6, atol=1e-30)


@given(
    n=st.integers(1, 3), c=st.integers(1, 4), masked=st.integers(0, 3), ignored=st.booleans(),
    weighted=st.booleans(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 99),
)  # fmt: skip
def test_masked_classes_are_as_if_they_were_not_there(n, c, masked, ignored, weighted, dtype, seed):
    generator = np.random.default_rng(seed)
    z, labels = generator.normal(size=(n, c)), generator.integers(0, c, n)
    kept = np.sort(generator.permutation(c + masked)[:c])
    wide, wide_labels = np.full((n, c + masked), -inf), kept[labels]
    wide[:, kept] = z
    if ignored:
        labels[0], wide_labels[0] = -1, -1
    weight = generator.uniform(0.1, 2, c + masked) if weighted else None
    few = nn.CrossEntropy(0, -1, None if weight is None else weight[kept])
    with np.errstate(all="raise", under="ignore"):
        losses, gradient = of_loss(nn.CrossEntropy(0, -1, weight), wide, wide_labels, dtype)
    expected, of_few = of_loss(few, z, labels, dtype)
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient[:, kept], of_few, rtol=1e-4, atol=1e-6)
    gradient[:, kept] = 0
    assert not gradient.any()


def test_a_network_with_masked_outputs_is_trained():
    class Mask(nn.Layer):
        """The last of the classes cannot be."""

        def forward(self, x, mode):
            return np.where(np.arange(x.shape[1]) < x.shape[1] - 1, x, -np.inf).astype(x.dtype), x

        def backward(self, dy, saved):
            return dy * (np.arange(dy.shape[1]) < dy.shape[1] - 1)

    x = np.random.default_rng(0).normal(size=(12, 3))
    trainer = Trainer(nn.Sequential(nn.Linear(4), Mask()), nn.CrossEntropy(), optim.SGD(0.1))
    trainer.fit(Dataset(x, (x[:, 0] > 0).astype(int)), epochs=3, batch_size=4)
    losses = trainer.history.losses
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


OTHER_LOSSES = [
    # loss, outputs, target, loss, gradient
    (nn.BCEWithLogits(), [inf], [1], 0, [0]),
    (nn.BCEWithLogits(), [inf], [0], inf, [1]),
    (nn.BCEWithLogits(), [inf], [0.5], inf, [0.5]),
    (nn.BCEWithLogits(), [-inf], [1], inf, [-1]),
    (nn.BCEWithLogits(), [-inf], [0], 0, [0]),
    (nn.BCEWithLogits(), [1e38], [0.25], 0.75e38, [0.75]),
    (nn.Hinge(), [3, -inf, 2.5], 0, 0.5 / 3, [-1 / 3, 0, 1 / 3]),
    (nn.Hinge(), [-inf, -inf, 0], 0, inf, [-1 / 3, 0, 1 / 3]),
    (nn.Hinge(), [-inf, -inf, -inf], 0, 0, [0, 0, 0]),
    (nn.Hinge(), [inf, 0, 1e38], 0, 0, [0, 0, 0]),
    (nn.Hinge(), [-1e38, 1e38, 1e38], 0, 4e38 / 3, [-2 / 3, 1 / 3, 1 / 3]),
    (nn.CrossEntropy(0.3), [1e38, -1e38, -1e38], 0, 4e37, [0.2, -0.1, -0.1]),
    (nn.CrossEntropy(0.3, None, [2] * 3), [1e38, -1e38, -1e38], 0, 8e37, [0.4, -0.2, -0.2]),
    (nn.L1(), [2e38, 2e38], [0, 0], 2e38, [0.5, 0.5]),
    (nn.L1(), [-inf], [0], inf, [-1]),
    (nn.Huber(0.5), [-inf], [0], inf, [-0.5]),
    (nn.Huber(0.5), [1e38], [0], 0.5e38, [0.5]),
    (nn.MSE(), [inf], [0], inf, [inf]),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "outputs", "target", "loss", "gradient"), OTHER_LOSSES)
def test_other_losses_of_infinite_and_large_outputs(kind, outputs, target, loss, gradient, dtype):
    losses, found = of_loss(kind, [outputs], [target], dtype)
    np.testing.assert_allclose(losses, [loss], rtol=1e-6)
    np.testing.assert_allclose(found, [gradient], rtol=1e-6)


ACTIVATIONS = {
    # by name in torch.nn.functional: the layer, its values at ±inf, its slopes there
    "elu": (nn.ELU(), (-1, inf), (0, 1)),
    "gelu": (nn.GELU(), (nan, inf), (0, 1)),
    "hardswish": (nn.Hardswish(), (nan, inf), (0, 1)),
    "leaky_relu": (nn.LeakyReLU(), (-inf, inf), (0.01, 1)),
    "mish": (nn.Mish(), (nan, inf), (nan, nan)),
    "relu": (nn.ReLU(), (0, inf), (0, 1)),
    "sigmoid": (nn.Sigmoid(), (0, 1), (0, 0)),
    "silu": (nn.SiLU(), (nan, inf), (nan, nan)),
    "softplus": (nn.Softplus(), (0, inf), (0, 1)),
    "softsign": (nn.Softsign(), (nan, nan), (0, 0)),
    "tanh": (nn.Tanh(), (-1, 1), (0, 0)),
}


def of_activation(layer, x):
    with np.errstate(all="ignore"):
        y, saved = layer.forward(x[:, np.newaxis], TRAINING)
        dx = layer.backward(np.ones_like(y), saved)
    return y[:, 0], dx[:, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_at_infinity(name, dtype):
    layer, values, slopes = ACTIVATIONS[name]
    y, dx = of_activation(layer, np.array([-inf, inf], dtype))
    np.testing.assert_allclose(y, values, rtol=1e-6)
    np.testing.assert_allclose(dx, slopes, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_pytorch_from_the_smallest_to_the_largest(torch, name, dtype):
    info = np.finfo(dtype)
    tiny = [info.tiny, info.smallest_subnormal, 0]
    sizes = [inf, info.max / 8, 1e37, 1e20, 1e9, 89, 87, 40, 20, 10, 6, 3, 1, 0.625, 1e-8, *tiny]
    x = np.array([*sizes, *(-size for size in sizes)], dtype)
    y, dx = of_activation(ACTIVATIONS[name][0], x)
    of_x = torch.tensor(x.astype(np.float64), requires_grad=True)
    of_y = getattr(torch.nn.functional, name)(of_x)
    of_y.sum().backward()
    # Functions that tend to a border are as near to it as the numbers are dense there.
    near = {"rtol": 1e-5 if dtype == np.float32 else 1e-10, "atol": 10 * info.eps}
    for ours, theirs in ((y, of_y.detach().numpy()), (dx, of_x.grad.numpy())):
        known = ~np.isnan(theirs)
        np.testing.assert_allclose(ours[known], theirs[known].astype(dtype), **near)


def test_the_slope_of_elu_does_not_vanish_before_the_exponential_does():
    x = np.array([-20, -40, -80], np.float32)
    np.testing.assert_allclose(of_activation(nn.ELU(), x)[1], np.exp(x), rtol=1e-5)


SIZES = [inf, 1e38, 1e37, 1e30, 1e4, 100, 2.5, 1e-8, 1e-40, 0]
LOSSES = [
    # a loss, its targets for three outputs, its name in torch.nn.functional, settings there
    (nn.CrossEntropy(), "labels", "cross_entropy", {}),
    (nn.CrossEntropy(0.1), "labels", "cross_entropy", {"label_smoothing": 0.1}),
    (nn.Hinge(), "labels", "multi_margin_loss", {}),
    (nn.BCEWithLogits(), [0, 0.5, 1], "binary_cross_entropy_with_logits", {}),
    (nn.MSE(), [0, -3, 1e4], "mse_loss", {}),
    (nn.L1(), [0, -3, 1e4], "l1_loss", {}),
    (nn.Huber(0.3), [0, -3, 1e4], "huber_loss", {"delta": 0.3}),
]


@pytest.mark.parametrize(("loss", "targets", "name", "settings"), LOSSES)
@given(
    z=st.lists(st.sampled_from([*SIZES, *(-s for s in SIZES)]), min_size=3, max_size=3),
    label=st.integers(0, 2),
    dtype=st.sampled_from(DTYPES),
)
def test_losses_are_those_of_pytorch_from_the_smallest_to_the_largest(
    torch, loss, targets, name, settings, z, label, dtype
):
    target = np.array([label] if targets == "labels" else [targets])
    of_z = torch.tensor(np.array([z], dtype).astype(np.float64), requires_grad=True)
    wanted = torch.tensor(target)
    theirs = getattr(torch.nn.functional, name)(of_z, wanted, reduction="none", **settings)
    theirs = theirs.reshape(1, -1).mean(dim=1)
    theirs.sum().backward()
    with np.errstate(all="ignore"):
        losses, gradient = of_loss(loss, [z], target, dtype)
        numbers = theirs.detach().numpy().astype(dtype), of_z.grad.numpy().astype(dtype)
    for ours, expected in zip((losses, gradient), numbers, strict=True):
        known = ~np.isnan(expected) | (targets == "labels")
        np.testing.assert_allclose(ours[known], expected[known], rtol=1e-5, atol=1e-7)
