"""Layers and losses, and their gradients, equal PyTorch's in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidl import kernels, nn
from minidl.errors import ShapeError

torch = pytest.importorskip("torch", reason="PyTorch, the oracle of these tests, is not installed")

few, some = st.integers(0, 2), st.integers(1, 3)
pairs, paddings = st.tuples(some, some), st.tuples(few, few)
seeds = st.integers(0, 999)


@pytest.fixture(autouse=True, params=kernels.CHOICES)
def on_each_kernels(request):
    with kernels.using(request.param):
        yield


def ours(layer, x, generator):
    """Output, upstream gradient, input gradient and the buffer of a layer with random weights."""
    buffer = layer.initialise(x.shape[1:], dtype=np.float64)
    buffer.values[: buffer.trainable] = generator.normal(size=buffer.trainable)
    y, saved = layer.forward(x, nn.Mode(training=True, batch_size=len(x)))
    dy = generator.normal(size=y.shape)
    return y, dy, layer.backward(dy, saved), buffer


def channels_first(x):
    return np.moveaxis(x, -1, 1)


def tensor(x):
    return torch.tensor(np.ascontiguousarray(x), requires_grad=True)


def close(one, other):
    if isinstance(other, torch.Tensor):
        other = other.detach().numpy()
    np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


@given(n=some, h=st.integers(1, 7), w=st.integers(1, 7), c=some, o=some, size=pairs, stride=pairs,
       padding=paddings, dilation=pairs, groups=some, seed=seeds)  # fmt: skip
def test_conv2d(n, h, w, c, o, size, stride, padding, dilation, groups, seed):
    generator = np.random.default_rng(seed)
    layer = nn.Conv2d(groups * o, size, stride, padding, dilation, groups=groups)
    x = generator.normal(size=(n, h, w, groups * c))
    try:
        layer.build(x.shape[1:])
    except ShapeError:
        assume(False)
    y, dy, dx, _ = ours(layer, x, generator)
    of_x = tensor(channels_first(x))
    of_w, of_b = tensor(layer.weight.value.transpose(3, 2, 0, 1)), tensor(layer.bias.value)
    of_y = torch.nn.functional.conv2d(of_x, of_w, of_b, stride, padding, dilation, groups)
    of_y.backward(torch.tensor(channels_first(dy).copy()))
    close(channels_first(y), of_y)
    close(channels_first(dx), of_x.grad)
    close(layer.weight.grad.transpose(3, 2, 0, 1), of_w.grad)
    close(layer.bias.grad, of_b.grad)


@given(n=some, steps=st.integers(1, 9), c=some, o=some, size=some, stride=some, padding=few,
       dilation=some, groups=some, seed=seeds)  # fmt: skip
def test_conv1d(n, steps, c, o, size, stride, padding, dilation, groups, seed):
    generator = np.random.default_rng(seed)
    layer = nn.Conv1d(groups * o, size, stride, padding, dilation, groups=groups)
    x = generator.normal(size=(n, steps, groups * c))
    try:
        layer.build(x.shape[1:])
    except ShapeError:
        assume(False)
    y, dy, dx, _ = ours(layer, x, generator)
    of_x = tensor(channels_first(x))
    of_w, of_b = tensor(layer.weight.value.transpose(2, 1, 0)), tensor(layer.bias.value)
    of_y = torch.nn.functional.conv1d(of_x, of_w, of_b, stride, padding, dilation, groups)
    of_y.backward(torch.tensor(channels_first(dy).copy()))
    close(channels_first(y), of_y)
    close(channels_first(dx), of_x.grad)
    close(layer.weight.grad.transpose(2, 1, 0), of_w.grad)
    close(layer.bias.grad, of_b.grad)


@given(n=some, h=some, w=some, c=some, o=some, size=pairs, stride=pairs, padding=paddings,
       more=paddings, seed=seeds)  # fmt: skip
def test_conv_transpose2d(n, h, w, c, o, size, stride, padding, more, seed):
    generator = np.random.default_rng(seed)
    more = (more[0] % stride[0], more[1] % stride[1])
    layer = nn.ConvTranspose2d(o, size, stride, padding, more)
    x = generator.normal(size=(n, h, w, c))
    try:
        layer.build(x.shape[1:])
    except ShapeError:
        assume(False)
    y, dy, dx, _ = ours(layer, x, generator)
    of_x = tensor(channels_first(x))
    of_w, of_b = tensor(layer.weight.value.transpose(2, 3, 0, 1)), tensor(layer.bias.value)
    of_y = torch.nn.functional.conv_transpose2d(of_x, of_w, of_b, stride, padding, more)
    of_y.backward(torch.tensor(channels_first(dy).copy()))
    close(channels_first(y), of_y)
    close(channels_first(dx), of_x.grad)
    close(layer.weight.grad.transpose(2, 3, 0, 1), of_w.grad)
    close(layer.bias.grad, of_b.grad)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@given(n=some, h=st.integers(1, 7), w=st.integers(1, 7), c=some, size=st.tuples(some, some),
       dilation=pairs, seed=seeds)  # fmt: skip
def test_same_convolution(n, h, w, c, size, dilation, seed):
    generator = np.random.default_rng(seed)
    layer, x = nn.Conv2d(2, size, 1, "same", dilation), generator.normal(size=(n, h, w, c))
    y, dy, dx, _ = ours(layer, x, generator)
    of_x = tensor(channels_first(x))
    of_w, of_b = tensor(layer.weight.value.transpose(3, 2, 0, 1)), tensor(layer.bias.value)
    of_y = torch.nn.functional.conv2d(of_x, of_w, of_b, 1, "same", dilation)
    of_y.backward(torch.tensor(channels_first(dy).copy()))
    close(channels_first(y), of_y)
    close(channels_first(dx), of_x.grad)
    close(layer.weight.grad.transpose(3, 2, 0, 1), of_w.grad)


@given(shape=st.lists(some, min_size=2, max_size=4), o=some, seed=seeds)
def test_linear(shape, o, seed):
    generator = np.random.default_rng(seed)
    layer, x = nn.Linear(o), generator.normal(size=shape)
    y, dy, dx, _ = ours(layer, x, generator)
    of_x, of_w, of_b = tensor(x), tensor(layer.weight.value.T), tensor(layer.bias.value)
    of_y = torch.nn.functional.linear(of_x, of_w, of_b)
    of_y.backward(torch.tensor(dy))
    for one, other in (
        (y, of_y), (dx, of_x.grad), (layer.weight.grad.T, of_w.grad), (layer.bias.grad, of_b.grad)
    ):  # fmt: skip
        close(one, other)


@pytest.mark.parametrize("kind", ["max", "avg"])
@given(n=some, h=st.integers(1, 7), w=st.integers(1, 7), size=st.integers(1, 4), stride=some,
       padding=few, seed=seeds)  # fmt: skip
def test_pooling(kind, n, h, w, size, stride, padding, seed):
    padding = min(padding, size // 2)
    assume(min(h, w) + 2 * padding >= size)
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, h, w, 2))
    layer = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[kind](size, stride, padding)
    y, dy, dx, _ = ours(layer, x, generator)
    of_x = tensor(channels_first(x))
    of_y = getattr(torch.nn.functional, f"{kind}_pool2d")(of_x, size, stride, padding)
    of_y.backward(torch.tensor(channels_first(dy).copy()))
    close(channels_first(y), of_y)
    close(channels_first(dx), of_x.grad)


@given(n=some, h=some, w=some, c=some, widths=st.lists(some, min_size=1, max_size=3), seed=seeds)
def test_concat_and_global_avg_pool2d(n, h, w, c, widths, seed):
    generator = np.random.default_rng(seed)
    branches = [nn.Conv2d(o, (1, 3), padding=(0, 1)) for o in widths]
    layer = nn.Sequential(nn.Concat(*branches, nn.Sequential()), nn.GlobalAvgPool2d())
    x = generator.normal(size=(n, h, w, c))
    y, dy, dx, _ = ours(layer, x, generator)
    of_x = tensor(channels_first(x))
    of_w = [tensor(branch.weight.value.transpose(3, 2, 0, 1)) for branch in branches]
    of_b = [tensor(branch.bias.value) for branch in branches]
    ways = [
        torch.nn.functional.conv2d(of_x, w, b, padding=(0, 1))
        for w, b in zip(of_w, of_b, strict=True)
    ]
    of_y = torch.nn.functional.adaptive_avg_pool2d(torch.cat([*ways, of_x], 1), 1).flatten(1)
    of_y.backward(torch.tensor(dy))
    close(y, of_y)
    close(channels_first(dx), of_x.grad)
    for branch, other_w, other_b in zip(branches, of_w, of_b, strict=True):
        close(branch.weight.grad.transpose(3, 2, 0, 1), other_w.grad)
        close(branch.bias.grad, other_b.grad)


@given(n=some, h=some, w=some, c=some, scale=some, seed=seeds)
def test_upsample(n, h, w, c, scale, seed):
    generator = np.random.default_rng(seed)
    y, dy, dx, _ = ours(nn.Upsample(scale), generator.normal(size=(n, h, w, c)), generator)
    of_x = tensor(channels_first(y[:, ::scale, ::scale]))
    of_y = torch.nn.functional.interpolate(of_x, scale_factor=scale, mode="nearest")
    of_y.backward(torch.tensor(channels_first(dy).copy()))
    close(channels_first(y), of_y)
    close(channels_first(dx), of_x.grad)


@given(n=st.integers(2, 5), h=some, c=some, momentum=st.floats(0, 1), seed=seeds)
def test_batch_norm(n, h, c, momentum, seed):
    generator = np.random.default_rng(seed)
    layer, x = nn.BatchNorm(momentum, eps=1e-3), generator.normal(2, 3, (n, h, 2, c))
    y, dy, dx, buffer = ours(layer, x, generator)
    buffer.follow_means()
    other = torch.nn.BatchNorm2d(c, eps=1e-3, momentum=momentum, dtype=torch.float64)
    with torch.no_grad():
        other.weight.copy_(torch.tensor(layer.gamma.value))
        other.bias.copy_(torch.tensor(layer.beta.value))
    of_x = tensor(channels_first(x))
    of_y = other(of_x)
    of_y.backward(torch.tensor(channels_first(dy).copy()))
    close(channels_first(y), of_y)
    close(channels_first(dx), of_x.grad)
    close(layer.gamma.grad, other.weight.grad)
    close(layer.beta.grad, other.bias.grad)
    close(layer.mean.value, other.running_mean)
    close(layer.variance.value, other.running_var)
    close(channels_first(layer.forward(x, nn.EVALUATE)[0]), other.eval()(of_x))


@given(shape=st.lists(some, min_size=2, max_size=4), eps=st.sampled_from([1e-5, 0.1]), seed=seeds)
def test_layer_norm(shape, eps, seed):
    generator = np.random.default_rng(seed)
    layer, x = nn.LayerNorm(eps), generator.normal(2, 3, shape)
    y, dy, dx, _ = ours(layer, x, generator)
    of_x, of_w, of_b = tensor(x), tensor(layer.gamma.value), tensor(layer.beta.value)
    of_y = torch.nn.functional.layer_norm(of_x, shape[-1:], of_w, of_b, eps)
    of_y.backward(torch.tensor(dy))
    for one, other in (
        (y, of_y), (dx, of_x.grad), (layer.gamma.grad, of_w.grad), (layer.beta.grad, of_b.grad)
    ):  # fmt: skip
        close(one, other)


@given(n=some, middle=st.lists(some, max_size=2), groups=some, each=some, seed=seeds)
def test_group_norm(n, middle, groups, each, seed):
    generator = np.random.default_rng(seed)
    layer, x = nn.GroupNorm(groups), generator.normal(2, 3, (n, *middle, groups * each))
    assume(x[0].size > groups)  # PyTorch refuses to normalise one number alone
    y, dy, dx, _ = ours(layer, x, generator)
    of_x, of_w, of_b = (tensor(a) for a in (channels_first(x), layer.gamma.value, layer.beta.value))
    of_y = torch.nn.functional.group_norm(of_x, groups, of_w, of_b)
    of_y.backward(torch.tensor(channels_first(dy).copy()))
    close(channels_first(y), of_y)
    close(channels_first(dx), of_x.grad)
    close(layer.gamma.grad, of_w.grad)
    close(layer.beta.grad, of_b.grad)


@given(shape=st.lists(some, min_size=1, max_size=3), words=some, features=some, seed=seeds)
def test_embedding(shape, words, features, seed):
    generator = np.random.default_rng(seed)
    layer, x = nn.Embedding(words, features), generator.integers(0, words, shape)
    y, dy, _, _ = ours(layer, x, generator)
    of_w = tensor(layer.weight.value)
    of_y = torch.nn.functional.embedding(torch.tensor(x), of_w)
    of_y.backward(torch.tensor(dy))
    close(y, of_y)
    close(layer.weight.grad, of_w.grad)


@pytest.mark.parametrize(
    ("layer", "other"),
    [
        (nn.ReLU(), torch.relu),
        (nn.Tanh(), torch.tanh),
        (nn.Sigmoid(), torch.sigmoid),
        (nn.LeakyReLU(0.2), lambda x: torch.nn.functional.leaky_relu(x, 0.2)),
        (nn.ELU(), torch.nn.functional.elu),
        (nn.ELU(0.4), lambda x: torch.nn.functional.elu(x, 0.4)),
        (nn.GELU(), torch.nn.functional.gelu),
        (nn.SiLU(), torch.nn.functional.silu),
        (nn.Softplus(), torch.nn.functional.softplus),
        (nn.Softmax(), lambda x: torch.softmax(x, dim=-1)),
    ],
)
@given(shape=st.lists(some, min_size=2, max_size=4), seed=seeds)
def test_activations(layer, other, shape, seed):
    generator = np.random.default_rng(seed)
    x = 3 * generator.normal(size=shape)
    x[np.abs(x) < 0.3] = 0  # the value at the kink, and the gradient there
    y, dy, dx, _ = ours(layer, x, generator)
    of_x = tensor(x)
    of_y = other(of_x)
    of_y.backward(torch.tensor(dy))
    close(y, of_y)
    close(dx, of_x.grad)


@given(n=some, middle=st.lists(some, max_size=2), c=some, smoothing=st.floats(0, 0.9),
       scale=st.sampled_from([1.0, 1e4]), seed=seeds)  # fmt: skip
def test_cross_entropy(n, middle, c, smoothing, scale, seed):
    generator = np.random.default_rng(seed)
    z = scale * generator.normal(size=(n, *middle, c))
    labels = generator.integers(0, c, (n, *middle))
    losses, saved = nn.CrossEntropy(smoothing).forward(z, labels)
    of_z = tensor(channels_first(z))
    mean = torch.nn.functional.cross_entropy(of_z, torch.tensor(labels), label_smoothing=smoothing)
    mean.backward()
    close(losses.mean(), mean)
    gradient = nn.CrossEntropy(smoothing).backward(np.full(n, 1 / n), saved)
    close(channels_first(gradient), of_z.grad)


@given(n=some, c=some, scale=st.sampled_from([1.0, 1e4]), seed=seeds)
def test_hinge(n, c, scale, seed):
    generator = np.random.default_rng(seed)
    z, labels = scale * generator.normal(size=(n, c)), generator.integers(0, c, n)
    losses, saved = nn.Hinge().forward(z, labels)
    of_z = tensor(z)
    mean = torch.nn.functional.multi_margin_loss(of_z, torch.tensor(labels))
    mean.backward()
    close(losses.mean(), mean)
    close(nn.Hinge().backward(np.full(n, 1 / n), saved), of_z.grad)


@given(n=some, t=some, c=some, smoothing=st.floats(0, 0.9), seed=seeds)
def test_an_ignored_label(n, t, c, smoothing, seed):
    """PyTorch's mean over all positions of a sample alone is ours."""
    generator = np.random.default_rng(seed)
    z, labels = generator.normal(size=(n, t, c)), generator.integers(0, c, (n, t))
    labels[:, 1:][generator.random((n, t - 1)) < 0.4] = -100
    loss = nn.CrossEntropy(smoothing, ignore_index=-100)
    losses, saved = loss.forward(z, labels)
    of_z = tensor(z)
    each = [
        torch.nn.functional.cross_entropy(one, torch.tensor(wanted), label_smoothing=smoothing)
        for one, wanted in zip(of_z, labels, strict=True)
    ]
    mean = sum(each) / n
    mean.backward()
    close(losses.mean(), mean)
    close(loss.backward(np.full(n, 1 / n), saved), of_z.grad)


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (nn.MSE(), "mse_loss"),
        (nn.L1(), "l1_loss"),
        (nn.Huber(), "huber_loss"),
        (nn.BCEWithLogits(), "binary_cross_entropy_with_logits"),
    ],
)
@given(shape=st.lists(some, min_size=1, max_size=3), scale=st.sampled_from([1.0, 1e4]), seed=seeds)
def test_elementwise_losses(loss, name, shape, scale, seed):
    generator = np.random.default_rng(seed)
    z, t = scale * generator.normal(size=shape), generator.uniform(size=shape)
    losses, saved = loss.forward(z, t)
    of_z = tensor(z)
    mean = getattr(torch.nn.functional, name)(of_z, torch.tensor(t))
    mean.backward()
    close(losses.mean(), mean)
    close(loss.backward(np.full(len(z), 1 / len(z)), saved), of_z.grad)
