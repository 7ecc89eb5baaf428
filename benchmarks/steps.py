"""One training step of an MLP and of small CNNs: forward, backward, SGD with momentum.

Beside PyTorch, where it can be imported, on the same batch and as many threads.

Run it with ``python -m benchmarks.steps [threads]``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import TORCH, cores, interleaved, machine
from minidl import kernels, models, nn, optim, rng

CASES: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...], int]] = {
    "MLP 784-512-256-10, batch 64": (lambda: models.mlp((512, 256)), (784,), 64),
    "LeNet-5 28x28, batch 64": (models.lenet5, (28, 28, 1), 64),
    "digits CNN 8x8, batch 64": (models.digits_cnn, (8, 8, 1), 64),
    "digits CNN 28x28, batch 64": (models.digits_cnn, (28, 28, 1), 64),
}


def ours(
    make: Callable[[], nn.Sequential], shape: tuple[int, ...], batch: int
) -> Callable[[], object]:
    """One step of ours, as `Serial` does it."""
    model, loss, optimizer = make(), nn.CrossEntropy(), optim.SGD(lr=0.01, momentum=0.9)
    buffer = model.initialise(shape)
    slots = {name: np.zeros(buffer.trainable, np.float32) for name in optimizer.slots}
    x, labels = _data(shape, batch)
    upstream = np.full(batch, 1 / batch, np.float32)

    def step() -> None:
        outputs, saved = model.forward(x, nn.Mode(training=True, batch_size=batch))
        _, loss_saved = loss.forward(outputs, labels)
        model.backward(loss.backward(upstream, loss_saved), saved)
        optimizer.step(buffer.values, buffer.grads, slots, 0)
        buffer.grads[...] = 0

    return step


def theirs(
    make: Callable[[], nn.Sequential], shape: tuple[int, ...], batch: int
) -> Callable[[], object]:
    """The same step in PyTorch, on its own layout of images."""
    import torch

    model = make()
    model.initialise(shape)
    twin = _twin(model, shape)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.01, momentum=0.9)
    x, labels = (torch.from_numpy(array) for array in _data(shape, batch))
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2).contiguous()

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        torch.nn.functional.cross_entropy(twin(x), labels).backward()
        optimizer.step()

    return step


def _data(shape: tuple[int, ...], batch: int) -> tuple[np.ndarray, np.ndarray]:
    numbers = rng.stream(0, "benchmark")
    x = numbers.random((batch, *shape), np.float32)
    return x, numbers.integers(0, 10, batch)


def _twin(model: nn.Sequential, shape: tuple[int, ...]) -> Any:
    """The network of the same layers in PyTorch."""
    import torch

    layers: list[Any] = []
    for _, layer in model.children():
        match layer:
            case nn.Linear():
                layers.append(torch.nn.LazyLinear(layer.out_features))
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
    x = torch.zeros(1, *shape)
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
    for name, (make, shape, batch) in CASES.items():
        ways = {"minidl": ours(make, shape, batch)}
        if TORCH:
            ways["torch"] = theirs(make, shape, batch)
        times = interleaved(ways)
        ratio = f"torch/minidl {times['torch'] / times['minidl']:5.2f}   " if TORCH else ""
        shown = "   ".join(f"{way} {seconds * 1e3:7.3f} ms" for way, seconds in times.items())
        print(f"{name:30} {ratio}{shown}")


if __name__ == "__main__":
    main()
