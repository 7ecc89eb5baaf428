"""What `tests/table` does not compare with PyTorch: evaluation, and branches of convolutions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn

torch = pytest.importorskip("torch", reason="PyTorch, the oracle of these tests, is not installed")

some = st.integers(1, 3)
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
