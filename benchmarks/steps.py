"""One training step of an MLP, small CNNs and recurrent networks: both ways, SGD with momentum.

Beside PyTorch, where it can be imported, on the same batch and as many threads.

Run it with ``python -m benchmarks.steps [threads] [part of a name]``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import TORCH, cores, interleaved, machine
from minidl import kernels, models, nn, optim, rng


def characters(recurrent: nn.Layer) -> nn.Sequential:
    """As `models.char_lstm`, with the recurrent layer of one's choice."""
    return nn.Sequential(nn.Embedding(64, 32), recurrent, nn.Dropout(0.3), nn.Linear(64))


CASES: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...], int]] = {
    "MLP 784-512-256-10, batch 64": (lambda: models.mlp((512, 256)), (784,), 64),
    "LeNet-5 28x28, batch 64": (models.lenet5, (28, 28, 1), 64),
    "digits CNN 8x8, batch 64": (models.digits_cnn, (8, 8, 1), 64),
    "digits CNN 28x28, batch 64": (models.digits_cnn, (28, 28, 1), 64),
    "64 characters, LSTM 128, batch 64": (lambda: characters(nn.LSTM(128)), (64,), 64),
    "64 characters, LSTM 192, batch 32": (models.char_lstm, (64,), 32),
    "64 characters, LSTM 256, batch 64": (lambda: characters(nn.LSTM(256)), (64,), 64),
    "64 characters, GRU 128, batch 64": (lambda: characters(nn.GRU(128)), (64,), 64),
    "64 characters, GRU 192, batch 32": (lambda: characters(nn.GRU(192)), (64,), 32),
    "64 characters, GRU 256, batch 64": (lambda: characters(nn.GRU(256)), (64,), 64),
}


def ours(
    make: Callable[[], nn.Sequential], shape: tuple[int, ...], batch: int, xp: Any = np
) -> Callable[[], object]:
    """One step of ours, as `Serial` does it, on arrays of `xp`: NumPy or CuPy."""
    model, loss, optimizer = make(), nn.CrossEntropy(), optim.SGD(lr=0.01, momentum=0.9)
    initial = model.initialise(shape).values
    buffer = nn.ParameterBuffer(model.parameters(), np.float32, xp)
    buffer.values[...] = xp.asarray(initial)
    slots = {name: xp.zeros(buffer.trainable, np.float32) for name in optimizer.slots}
    x, labels = map(xp.asarray, _data(model, shape, batch))
    upstream = xp.full(batch, 1 / batch, np.float32)

    def step() -> None:
        outputs, saved = model.forward(x, nn.Mode(training=True, batch_size=batch))
        _, loss_saved = loss.forward(outputs, labels)
        model.accumulate(loss.backward(upstream, loss_saved), saved)
        learnt = slice(buffer.trainable)
        optimizer.step(buffer.values[learnt], buffer.grads[learnt], slots, 0)
        buffer.grads[...] = 0

    return step


def theirs(
    make: Callable[[], nn.Sequential], shape: tuple[int, ...], batch: int, device: str = "cpu"
) -> Callable[[], object]:
    """The same step in PyTorch, on its own layout of images; `device` is ``cpu`` or ``cuda``."""
    import torch

    model = make()
    model.initialise(shape)
    twin = _twin(model, shape).to(device)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.01, momentum=0.9)
    x, labels = (torch.from_numpy(array).to(device) for array in _data(model, shape, batch))
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2).contiguous()

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        outputs = twin(x)
        logits = outputs.reshape(-1, outputs.shape[-1])
        torch.nn.functional.cross_entropy(logits, labels.reshape(-1)).backward()
        optimizer.step()

    return step


def _data(
    model: nn.Sequential, shape: tuple[int, ...], batch: int
) -> tuple[np.ndarray, np.ndarray]:
    numbers = rng.stream(0, "benchmark")
    if model.takes_integers:
        x, labels = numbers.integers(0, 64, (2, batch, *shape))
        return x, labels
    x = numbers.random((batch, *shape), np.float32)
    return x, numbers.integers(0, 10, batch)


def _twin(model: nn.Sequential, shape: tuple[int, ...]) -> Any:
    """The network of the same layers in PyTorch."""
    import torch

    class Outputs(torch.nn.Module):
        """A recurrent layer of PyTorch without the last state that it also returns."""

        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Any) -> Any:
            return self.layer(x)[0]

    layers: list[Any] = []
    features = 0
    for _, layer in model.children():
        match layer:
            case nn.Linear():
                layers.append(torch.nn.LazyLinear(layer.out_features))
            case nn.Embedding():
                layers.append(torch.nn.Embedding(layer.vocabulary, layer.features))
                features = layer.features
            case nn.LSTM() | nn.GRU():
                kind = getattr(torch.nn, type(layer).__name__)
                layers.append(Outputs(kind(features, layer.hidden_size, batch_first=True)))
            case nn.Conv2d():
                layers.append(
                    torch.nn.LazyConv2d(
                        layer.out_channels, layer.kernel_size, padding=layer.padding
                    )
                )
            case nn.ReLU():
                layers.append(torch.nn.ReLU())
            case nn.Tanh():
                layers.append(torch.nn.Tanh())
            case nn.MaxPool2d():
                layers.append(torch.nn.MaxPool2d(2))
            case nn.AvgPool2d():
                layers.append(torch.nn.AvgPool2d(2))
            case nn.Dropout():
                layers.append(torch.nn.Dropout(layer.rate))
            case nn.Flatten():
                layers.append(torch.nn.Flatten())
            case nn.FitImage():
                border = (layer.size - shape[0]) // 2
                layers.append(torch.nn.ZeroPad2d(border))
            case _:
                raise TypeError(f"this benchmark knows no PyTorch layer for {layer.describe()}")
    twin = torch.nn.Sequential(*layers)
    x = torch.zeros(1, *shape, dtype=torch.int64 if model.takes_integers else torch.float32)
    twin(x.permute(0, 3, 1, 2) if x.ndim == 4 else x)
    return twin


def main() -> None:
    """Print what was measured."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else cores()
    kernels.set_threads(threads)
    if TORCH:
        import torch

        torch.set_num_threads(threads)
    print(f"{machine()}; {threads} threads; one training step, median of interleaved rounds")
    part = sys.argv[2] if len(sys.argv) > 2 else ""
    for name, (make, shape, batch) in CASES.items():
        if part not in name:
            continue
        ways = {"minidl": ours(make, shape, batch)}
        if TORCH:
            ways["torch"] = theirs(make, shape, batch)
        times = interleaved(ways)
        ratio = f"torch/minidl {times['torch'] / times['minidl']:5.2f}   " if TORCH else ""
        shown = "   ".join(f"{way} {seconds * 1e3:7.3f} ms" for way, seconds in times.items())
        print(f"{name:34} {ratio}{shown}")


if __name__ == "__main__":
    main()
