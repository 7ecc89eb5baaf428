"""Training on a GPU: the same weights; and where there is none, nothing on the wrong side."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pretended_cupy import pretended

from minidl import data, models, nn, optim, rng, strategy
from minidl.errors import InputError
from minidl.optim import MixedPrecision
from minidl.tasks import Adversarial
from minidl.train import Trainer

Case = tuple[Callable[[], nn.Layer], tuple[int, ...], Any, optim.Optimizer]

CASES: dict[str, Case] = {
    "dense": (
        lambda: nn.Sequential(
            nn.Linear(5), nn.LayerNorm(), nn.GELU(), nn.Dropout(0.3), nn.Linear(5), nn.ELU(),
            nn.RMSNorm(), nn.PReLU(True), nn.Mish(), nn.Hardswish(), nn.Softsign(), nn.Linear(3),
        ), (4,), nn.CrossEntropy(0.1, weight=(1, 2, 3)), optim.Clipped(optim.Adam(1e-3), norm=0.5),
    ),
    "images": (
        lambda: nn.Sequential(
            nn.Pad2d(1, "reflect"), nn.Conv2d(4, 3), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2d(2),
            nn.Residual(nn.Conv2d(4, 3, padding=1, groups=2)), nn.GroupNorm(2), nn.SiLU(),
            nn.ConvTranspose2d(3, 2, 2), nn.AvgPool2d(2, 2, 1, True, False), nn.Pad2d(1),
            nn.Concat(nn.GlobalAvgPool2d(), nn.GlobalMaxPool2d()), nn.Linear(3),
        ), (6, 6, 2), nn.Hinge(), optim.SGD(0.01, momentum=0.9, nesterov=True),
    ),
    "tokens": (
        lambda: nn.Sequential(
            nn.Embedding(4, 3), nn.LSTM(3, layers=2), nn.GRU(3, bidirectional=True), nn.RNN(2),
            nn.TakeLast(), nn.Linear(3),
        ), (5,), nn.CrossEntropy(ignore_index=0), optim.AdamW(1e-3),
    ),
    "game": (
        lambda: models.GAN(
            nn.Sequential(nn.Linear(4), nn.BatchNorm(), nn.Tanh(), nn.Linear(3)),
            nn.Sequential(nn.Linear(4), nn.LeakyReLU(0.2), nn.Linear(1)), latent=2,
        ), (3,), Adversarial(discriminator_steps=2), optim.SGD(0.02),
    ),
}  # fmt: skip


def samples(name: str) -> data.Dataset:
    numbers, shape = rng.stream(0, name), CASES[name][1]
    inputs = numbers.normal(size=(11, *shape))
    if name == "tokens":
        inputs = numbers.integers(0, 4, inputs.shape)
    return data.Dataset(inputs, numbers.integers(0, 3, 11))


def trained(name: str, device: str, **settings: Any) -> Trainer:
    make, _, loss, optimizer = CASES[name]
    trainer = Trainer(make(), copy.deepcopy(loss), optimizer, **settings)
    how = strategy.Serial(micro_batches=2, device=device)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        trainer.fit(samples(name), epochs=2, batch_size=4, validation=samples(name), strategy=how)
    said = any("slower here than float32" in str(each.message) for each in heard)
    assert said == ("precision" in settings and device == "cpu")
    return trainer


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "cupy", pretended())
    monkeypatch.delitem(sys.modules, "minidl.kernels.gpu", raising=False)
    yield
    sys.modules.pop("minidl.kernels.gpu", None)


def assert_equal_runs(name: str, rtol: float, **settings: Any) -> None:
    host, device = trained(name, "cpu", **settings), trained(name, "gpu", **settings)
    for parameter, value in host.weights().items():
        found = device.weights()[parameter]
        assert type(found) is np.ndarray
        np.testing.assert_allclose(found, value, rtol=rtol, atol=rtol, err_msg=parameter)
    one, other = host.history.last(), device.history.last()
    assert other.validation == pytest.approx(one.validation, rel=100 * rtol)
    assert other.train == pytest.approx(one.train, rel=100 * rtol)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("pretended_gpu")
def test_nothing_stays_on_the_wrong_side(name: str) -> None:
    assert_equal_runs(name, 1e-9, dtype="float64")


class Watched(nn.Layer):
    """Passes on what comes, and notes of which type it is."""

    def __init__(self, types: set[np.dtype]) -> None:
        self.types = types

    def forward(self, x: Any, mode: nn.Mode) -> tuple[Any, Any]:
        if mode.training:
            self.types.add(x.dtype)
        return x, None

    def backward(self, dy: Any, saved: Any) -> Any:
        self.types.add(dy.dtype)
        return dy


@pytest.mark.usefixtures("pretended_gpu")
@pytest.mark.parametrize("name", ["dense", "images", "tokens"])
def test_mixed_precision_stays_on_the_right_side(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in float16 from layer to layer, or a GPU would compute most of it in float32."""
    make, *rest = CASES[name]
    first, *others = make().layers  # tokens, of the first, are whole numbers
    types: set[np.dtype] = set()
    watched = [each for layer in others for each in (Watched(types), layer)]
    monkeypatch.setitem(CASES, name, (lambda: nn.Sequential(first, *watched), *rest))
    assert_equal_runs(name, 2e-2, precision=MixedPrecision(2.0**10))
    assert types == {np.dtype(np.float16)}


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_trains_to_the_same_weights(name: str) -> None:
    assert_equal_runs(name, 1e-8, dtype="float64")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["dense", "images", "tokens"])
def test_a_gpu_trains_in_mixed_precision(name: str) -> None:
    assert_equal_runs(name, 2e-2, precision=MixedPrecision(2.0**10))


def test_without_a_gpu_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "minidl.kernels.gpu", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(InputError, match="CuPy, which is not installed"):
        trained("dense", "gpu")
    monkeypatch.setitem(sys.modules, "cupy", pretended(devices=0))
    with pytest.raises(InputError, match="there is no GPU to train on"):
        trained("dense", "gpu")
    sys.modules.pop("minidl.kernels.gpu", None)
    with pytest.raises(InputError, match="unknown device 'tpu'; known: cpu, gpu"):
        trained("dense", "tpu")
