"""A student's layer that makes float64 of float32, as NumPy 2 does, trains like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minidl import kernels, nn, optim, rng
from minidl.runtime import Virtual
from minidl.strategy import ParameterServer, Pipeline, RingAllReduce, Serial, Strategy
from minidl.train import Trainer

STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "serial": Serial,
    "ring": lambda: RingAllReduce(2, runtime=Virtual()),
    "server": lambda: ParameterServer(2, runtime=Virtual()),
    "pipeline": lambda: Pipeline(3, micro_batches=2, runtime=Virtual()),
}


class Wider(nn.Layer):
    """x · √2; a number of NumPy's is a float64."""

    def forward(self, x: Any, mode: nn.Mode) -> tuple[Any, Any]:
        return x * np.sqrt(2.0), None

    def backward(self, dy: Any, saved: Any) -> Any:
        return dy * np.sqrt(2.0)


class Alike(Wider):
    """The same without a change of type."""

    def forward(self, x: Any, mode: nn.Mode) -> tuple[Any, Any]:
        return x * x.dtype.type(2**0.5), None

    def backward(self, dy: Any, saved: Any) -> Any:
        return dy * dy.dtype.type(2**0.5)


def network(own: type[nn.Layer]) -> nn.Sequential:
    return nn.Sequential(
        own(), nn.Conv2d(4, 3, padding=1), own(), nn.GroupNorm(2), nn.ReLU(), own(),
        nn.ConvTranspose2d(2, 2, 2), nn.GroupNorm(2), own(), nn.PReLU(), nn.Flatten(), own(),
        nn.LayerNorm(), own(), nn.RMSNorm(), nn.Reshape(8, 8), own(), nn.LSTM(3), own(), nn.GRU(3),
        own(), nn.TakeLast(), nn.Linear(3), own(),
    )  # fmt: skip


def trained(own: type[nn.Layer], strategy: Strategy) -> tuple[list[float], dict[str, np.ndarray]]:
    numbers = rng.stream(0, "mixed types")
    x, labels = numbers.normal(size=(16, 4, 2, 1)), numbers.integers(0, 3, 16)
    made = Trainer(network(own), nn.CrossEntropy(), optim.SGD(0.1, momentum=0.9))
    history = made.fit(
        (x, labels), epochs=4, batch_size=8, validation=(x, labels), strategy=strategy
    )
    return history.losses, made.weights()


@pytest.mark.parametrize("name", kernels.CHOICES)
@pytest.mark.parametrize("kind", STRATEGIES)
def test_a_layer_that_widens_trains_as_one_that_does_not(kind: str, name: str) -> None:
    with kernels.using(name):
        losses, weights = trained(Wider, STRATEGIES[kind]())
        wanted, expected = trained(Alike, Serial())
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, wanted, rtol=1e-3)
    for parameter, value in weights.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected[parameter], atol=2e-3, err_msg=parameter)
