"""Time the CPU kernels against their definitions and, where it is installed, PyTorch.

Run ``python -m benchmarks.kernels [--threads N] [--seconds S] [WORD ...]``; only cases whose
names contain a word are run. All contenders use equally many threads and take turns, and
medians are compared: a ratio above 1 means that minidl is that many times faster. Of
PyTorch's two memory formats each case counts the faster one.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.measure import cores, interleaved, machine
from minidl import kernels
from minidl.kernels import cpu, reference

try:
    import torch
except ImportError:
    torch = None

Run = Callable[[], Any]

CONVOLUTIONS = {
    # images, height, width, channels, filters, kernel, stride, padding, groups
    "digits 3x3": (64, 8, 8, 1, 16, 3, 1, 1, 1),
    "digits second 3x3": (64, 8, 8, 16, 32, 3, 1, 1, 1),
    "lenet first 5x5": (64, 28, 28, 1, 6, 5, 1, 2, 1),
    "lenet second 5x5": (64, 14, 14, 6, 16, 5, 1, 0, 1),
    "cifar first 3x3": (32, 32, 32, 3, 32, 3, 1, 1, 1),
    "vgg 3x3": (32, 32, 32, 64, 64, 3, 1, 1, 1),
    "resnet 3x3 stride 2": (16, 28, 28, 64, 128, 3, 2, 1, 1),
    "resnet late 3x3": (16, 7, 7, 256, 256, 3, 1, 1, 1),
    "resnet 1x1": (8, 28, 28, 256, 64, 1, 1, 0, 1),
    "alexnet first 11x11": (4, 224, 224, 3, 64, 11, 4, 2, 1),
    "resnext 3x3": (8, 28, 28, 256, 256, 3, 1, 1, 32),
    "mobilenet depthwise 3x3": (8, 28, 28, 256, 256, 3, 1, 1, 256),
}

PRODUCTS = {
    # rows, summands, columns
    "mlp layer": (64, 784, 128),
    "lstm gates": (32, 128, 512),
    "classifier": (64, 256, 10),
    "small square": (256, 256, 256),
    "large square": (1024, 1024, 1024),
}


def convolution_cases() -> Iterator[tuple[str, dict[str, Run]]]:
    """Each convolution, its input gradient and its weight gradient."""
    generator = np.random.default_rng(0)
    for name, (n, height, width, c, o, k, stride, padding, groups) in CONVOLUTIONS.items():
        x = generator.normal(size=(n, height, width, c)).astype(np.float32)
        w = generator.normal(size=(k, k, c // groups, o)).astype(np.float32)
        b = generator.normal(size=o).astype(np.float32)
        steps = (stride, stride), (padding, padding), (1, 1), groups
        dy = cpu.conv2d(x, w, b, *steps)
        calls: dict[str, tuple[str, tuple[Any, ...]]] = {
            "forward": ("conv2d", (x, w, b, *steps)),
            "input gradient": ("conv2d_input_gradient", (dy, w, x.shape, *steps)),
            "weight gradient": ("conv2d_weight_gradient", (dy, x, w.shape, *steps)),
        }
        for part, (function, arguments) in calls.items():
            runs = {
                "minidl": bind(getattr(cpu, function), arguments),
                "reference": bind(getattr(reference, function), arguments),
            }
            if torch is not None:
                runs |= torch_convolutions(part, x, w, b, dy, steps)
            yield f"conv2d {name}, {part}", runs


def torch_convolutions(
    part: str, x: np.ndarray, w: np.ndarray, b: np.ndarray, dy: np.ndarray, steps: Any
) -> dict[str, Run]:
    """The same with PyTorch, in both of its memory formats."""
    runs: dict[str, Run] = {}
    for layout in ("contiguous_format", "channels_last"):
        tx, tdy, tw = (
            torch.tensor(value.transpose(axes)).contiguous(memory_format=getattr(torch, layout))
            for value, axes in ((x, (0, 3, 1, 2)), (dy, (0, 3, 1, 2)), (w, (3, 2, 0, 1)))
        )
        mask = [part == "input gradient", part == "weight gradient", False]
        if part == "forward":
            run = bind(torch.conv2d, (tx, tw, torch.tensor(b), *steps))
        else:
            arguments = (tdy, tx, tw, None, *steps[:3], False, (0, 0), steps[3], mask)
            run = bind(torch.ops.aten.convolution_backward, arguments)
        runs[f"torch {layout}"] = run
    return runs


def product_cases() -> Iterator[tuple[str, dict[str, Run]]]:
    """Each product as a layer's forward pass and as its two gradients."""
    generator = np.random.default_rng(0)
    for name, (m, k, n) in PRODUCTS.items():
        x, w, dy = (
            generator.normal(size=shape).astype(np.float32) for shape in ((m, k), (k, n), (m, n))
        )
        for part, (a, b) in {
            "forward": (x, w),
            "input gradient": (dy, w.T),
            "weight gradient": (x.T, dy),
        }.items():
            runs = {
                "minidl": bind(cpu.matmul, (a, b)),
                "reference": bind(reference.matmul, (a, b)),
            }
            if torch is not None:
                runs["torch"] = bind(torch.matmul, (torch.from_numpy(a), torch.from_numpy(b)))
            yield f"matmul {name}, {part}", runs


def elementwise_cases() -> Iterator[tuple[str, dict[str, Run]]]:
    """Activations, pooling and normalisation on what a convolution gives them."""
    x = np.random.default_rng(0).normal(size=(32, 32, 32, 64)).astype(np.float32)
    rows, ones = x.reshape(-1, 64), np.ones(64, np.float32)
    cases: dict[str, tuple[str, tuple[Any, ...], Any]] = {
        "relu": ("relu", (x,), lambda t: torch.relu(t)),
        "tanh": ("tanh", (x,), lambda t: torch.tanh(t)),
        "sigmoid": ("sigmoid", (x,), lambda t: torch.sigmoid(t)),
        "max pool 2x2": (
            "max_pool2d",
            (x, (2, 2), (2, 2), (0, 0)),
            lambda t: (
                torch.max_pool2d_with_indices(t, 2, 2)
                if hasattr(torch, "max_pool2d_with_indices")
                else torch.nn.functional.max_pool2d(t, 2, 2, return_indices=True)
            ),
        ),
        "batch norm": (
            "batch_norm",
            (rows, ones, ones, 1e-5),
            lambda t: torch.native_batch_norm(
                t, torch.ones(64), torch.ones(64), None, None, True, 0.1, 1e-5
            ),
        ),
    }
    for name, (function, arguments, other) in cases.items():
        runs = {
            "minidl": bind(getattr(cpu, function), arguments),
            "reference": bind(getattr(reference, function), arguments),
        }
        if torch is not None:
            images = torch.tensor(x.transpose(0, 3, 1, 2))
            runs["torch contiguous_format"] = bind(other, (images.contiguous(),))
            last = images.contiguous(memory_format=torch.channels_last)
            runs["torch channels_last"] = bind(other, (last,))
        yield f"elementwise {name}", runs


def bind(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Run:
    """The call without arguments."""
    return lambda: function(*arguments)


def main() -> None:
    """Print the machine and one line for each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--seconds", type=float, default=1.0, help="for each case")
    parser.add_argument("words", nargs="*")
    given = parser.parse_args()
    kernels.set_threads(given.threads)
    if torch is not None:
        torch.set_num_threads(given.threads)
    features = cpu.products.BYTES * 8
    print(f"{machine()}; {given.threads} threads, {features} bit vectors")
    print("to torch   to NumPy      minidl       torch  case")
    for cases in (convolution_cases, product_cases, elementwise_cases):
        for name, runs in cases():
            if given.words and not any(word in name for word in given.words):
                continue
            with torch.no_grad() if torch is not None else open(os.devnull):
                took = interleaved(runs, given.seconds)
            mine = took.pop("minidl")
            plain = took.pop("reference")
            best = min(took.values(), default=float("nan"))
            print(
                f"{best / mine:8.2f} {plain / mine:10.2f} {mine * 1e3:8.3f} ms "
                f"{best * 1e3:8.3f} ms  {name}",
                flush=True,
            )


if __name__ == "__main__":
    main()
