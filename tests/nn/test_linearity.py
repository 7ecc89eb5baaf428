"""Layers that are linear maps: superposition, and a gradient that is the adjoint."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import kernels, nn


class AsSequence(nn.Layer):
    """Images (N, H, W, C) as sequences of rows, (N, H, W · C)."""

    def build(self, shape):
        return shape[0], shape[1] * shape[2]

    def forward(self, x, mode):
        return x.reshape(*x.shape[:2], x.shape[2] * x.shape[3]), x.shape

    def backward(self, dy, saved):
        return dy.reshape(saved)


LINEAR = {
    "Linear": lambda: nn.Linear(3, bias=False),
    "Conv2d": lambda: nn.Conv2d(2, (3, 2), stride=2, padding=1, bias=False),
    "Conv2d in groups": lambda: nn.Conv2d(4, (3, 2), padding=1, bias=False, groups=2),
    "Conv1d": lambda: nn.Sequential(AsSequence(), nn.Conv1d(3, 3, 2, 1, bias=False)),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(2, (3, 2), 2, 1, 1, bias=False),
    "AvgPool2d": lambda: nn.AvgPool2d(3, stride=2, padding=1),
    "GlobalAvgPool2d": nn.GlobalAvgPool2d,
    "AvgPool2d, the rest counted": lambda: nn.AvgPool2d(3, 2, 1, True, False),
    "Pad2d with zeros": lambda: nn.Pad2d(((0, 2), (1, 3))),
    "Pad2d with the edge": lambda: nn.Pad2d(((0, 2), (1, 3)), "replicate"),
    "PadChannels": lambda: nn.PadChannels(5, stride=2),
    "Flatten": nn.Flatten,
    "Upsample": lambda: nn.Upsample((2, 3)),
    "FitImage": lambda: nn.FitImage(15),
    "Dropout": lambda: nn.Dropout(0.4),
    "Concat": lambda: nn.Concat(nn.Linear(2, bias=False), nn.Sequential()),
    "Residual": lambda: nn.Residual(nn.Linear(2, bias=False)),
}


@pytest.mark.parametrize("name", LINEAR)
@given(n=st.integers(0, 3), h=st.integers(1, 7), w=st.integers(1, 7), seed=st.integers(0, 99))
def test_superposition_and_adjoint(name, n, h, w, seed):
    generator = np.random.default_rng(seed)
    layer = LINEAR[name]()
    layer.initialise((h, w, 2), seed=seed, dtype=np.float64)
    mode = nn.Mode(training=True, seed=seed, batch_size=max(1, n))
    a, b = generator.normal(size=(2, n, h, w, 2))
    with kernels.using("reference"):
        (of_a, saved), (of_b, _) = layer.forward(a, mode), layer.forward(b, mode)
        both, _ = layer.forward(2 * a - 3 * b, mode)
        np.testing.assert_allclose(both, 2 * of_a - 3 * of_b, atol=1e-12)
        dy = generator.normal(size=of_a.shape)
        dx = layer.backward(dy, saved)
    np.testing.assert_allclose((dx * a).sum(), (dy * of_a).sum(), atol=1e-10)
