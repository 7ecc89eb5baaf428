"""For Hypothesis to draw: networks here and the same ones in PyTorch, with the same names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl import nn

some = st.integers(1, 4)
flags = st.booleans()


@dataclass(frozen=True)
class Twins:
    """A network, the shape of its samples, and what makes the same one of PyTorch's modules.

    `other` is given the module `torch`, so that networks can be drawn without it.
    """

    model: nn.Sequential
    shape: tuple[int, ...]
    other: Callable[[Any], list[Any]]
    words: int = 0

    def __repr__(self) -> str:
        kinds = [type(layer).__name__ for _, layer in self.model.walk()]
        return f"Twins({kinds}, {self.shape})"

    def batch(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """Samples, in float64 or whole numbers."""
        if self.words:
            return generator.integers(0, self.words, (n, *self.shape))
        return generator.normal(size=(n, *self.shape))

    def randomised(self, generator: np.random.Generator) -> nn.Sequential:
        """The network, with random weights; variances are positive."""
        buffer = self.model.initialise(self.shape, dtype=np.float64)
        buffer.values[...] = generator.uniform(0.1, 1, len(buffer))
        buffer.values[: buffer.trainable] *= generator.choice([-1, 1], buffer.trainable)
        return self.model


@st.composite
def images(draw: st.DrawFn) -> Twins:
    """A convolution, perhaps a norm, and a vector that is weighed behind a `Flatten`."""
    h, w, c, o, width = (draw(some) for _ in range(5))
    bias, norm, after, out = draw(flags), draw(st.integers(0, 2)), draw(flags), draw(some)
    norms, each = ([], [nn.BatchNorm()], [nn.GroupNorm(o)])[norm], draw(flags)
    behind = [nn.BatchNorm()] if after else []
    flat = h * w * o
    model = nn.Sequential(
        nn.Pad2d(1), nn.Conv2d(o, 3, bias=bias), *norms, nn.PReLU(each),
        nn.Sequential(nn.Flatten()), *behind, nn.Dropout(0.2), nn.Linear(width, bias=bias),
        nn.Tanh(), nn.Linear(out),
    )  # fmt: skip

    def other(torch: Any) -> list[Any]:
        t = torch.nn
        return [
            t.ZeroPad2d(1), t.Conv2d(c, o, 3, bias=bias),
            *([], [t.BatchNorm2d(o)], [t.GroupNorm(o, o)])[norm],
            t.PReLU(o if each else 1), t.Sequential(t.Flatten()),
            *([t.BatchNorm1d(flat)] if after else []),
            t.Dropout(0.2), t.Linear(flat, width, bias=bias), t.Tanh(), t.Linear(width, out),
        ]  # fmt: skip

    return Twins(model, (h, w, c), other)


@st.composite
def generators(draw: st.DrawFn) -> Twins:
    """A vector that becomes an image, is convolved, and is a vector again."""
    d, h, w, c, o = (draw(some) for _ in range(5))
    norm = draw(flags)
    size = h * w * c
    model = nn.Sequential(
        nn.Linear(size), *([nn.BatchNorm()] if norm else []), nn.Tanh(), nn.Reshape(h, w, c),
        nn.Conv2d(o, 1), nn.Reshape(h * w * o), nn.Linear(size), nn.Reshape(h, w, c),
        nn.Flatten(), nn.LayerNorm(), nn.RMSNorm(), nn.PReLU(True), nn.Linear(1),
    )  # fmt: skip

    def other(torch: Any) -> list[Any]:
        t = torch.nn
        return [
            t.Linear(d, size), *([t.BatchNorm1d(size)] if norm else []), t.Tanh(),
            t.Unflatten(1, (c, h, w)), t.Conv2d(c, o, 1), t.Flatten(), t.Linear(h * w * o, size),
            t.Unflatten(1, (c, h, w)), t.Flatten(), t.LayerNorm(size),
            t.RMSNorm(size, 2**-23), t.PReLU(size), t.Linear(size, 1),
        ]  # fmt: skip

    return Twins(model, (d,), other)


@st.composite
def tokens(draw: st.DrawFn) -> Twins:
    """A table of vectors, a recurrent layer, norms and a weighing of all steps together."""
    kind = draw(st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]))
    words, steps, width, hidden, layers = (draw(some) for _ in range(5))
    both = draw(flags)
    size = hidden * (1 + both)
    model = nn.Sequential(
        nn.Embedding(words, width), kind(hidden, layers, both), nn.LayerNorm(),
        nn.Linear(2), nn.Flatten(), nn.Linear(1),
    )  # fmt: skip

    def other(torch: Any) -> list[Any]:
        t = torch.nn
        recurrent = getattr(t, kind.__name__)(
            width, hidden, layers, bidirectional=both, batch_first=True
        )
        recurrent.register_forward_hook(lambda *call: call[-1][0])  # its outputs, not its states
        return [
            t.Embedding(words, width), recurrent, t.LayerNorm(size),
            t.Linear(size, 2), t.Flatten(), t.Linear(2 * steps, 1),
        ]  # fmt: skip

    return Twins(model, (steps,), other, words)


@st.composite
def convolutions(draw: st.DrawFn) -> Twins:
    """Convolutions of a signal and of images, in groups and transposed, behind each other."""
    steps, c, o, h, w, groups = (draw(some) for _ in range(6))
    bias = draw(flags)
    model = nn.Sequential(
        nn.Linear(c), nn.Flatten(), nn.Linear(steps * c), nn.Reshape(steps, c),
        nn.Conv1d(o * groups, 3, padding=1, bias=bias, groups=1), nn.GroupNorm(o),
        nn.MaxPool1d(3, 1, 1), nn.Conv1d(2 * groups, 1, groups=groups), nn.Tanh(), nn.Flatten(),
        nn.Linear(h * w * groups), nn.Reshape(h, w, groups),
        nn.Conv2d(2 * groups, 3, padding=1, bias=bias, groups=groups), nn.BatchNorm(),
        nn.ConvTranspose2d(o, (2, 3), 2, bias=bias), nn.Flatten(), nn.Linear(1),
    )  # fmt: skip

    def other(torch: Any) -> list[Any]:
        t = torch.nn
        return [
            t.Linear(2, c), t.Flatten(), t.Linear(steps * c, steps * c), t.Unflatten(1, (c, steps)),
            t.Conv1d(c, o * groups, 3, padding=1, bias=bias), t.GroupNorm(o, o * groups),
            t.MaxPool1d(3, 1, 1), t.Conv1d(o * groups, 2 * groups, 1, groups=groups), t.Tanh(),
            t.Flatten(),
            t.Linear(steps * 2 * groups, h * w * groups), t.Unflatten(1, (groups, h, w)),
            t.Conv2d(groups, 2 * groups, 3, padding=1, bias=bias, groups=groups),
            t.BatchNorm2d(2 * groups), t.ConvTranspose2d(2 * groups, o, (2, 3), 2, bias=bias),
            t.Flatten(), t.Linear(2 * h * (2 * w + 1) * o, 1),
        ]  # fmt: skip

    return Twins(model, (steps, 2), other)


networks = st.one_of(images(), generators(), tokens(), convolutions())
