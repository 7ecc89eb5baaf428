"""The rows of layers. Each twin is written in PyTorch's functions, on channels-last arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from finite_differences import away_from_ties
from hypothesis import assume
from hypothesis import strategies as st
from rows import OneLayer, Row, Twin

from minidl import nn
from minidl.errors import ShapeError
from minidl.nn.padding import MODES

few, some = st.integers(0, 3), st.integers(1, 4)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.tuples(st.integers(0, 2), st.integers(0, 2))
eps = st.sampled_from([1e-5, 0.1])


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, ...]:
    return (*draw(st.lists(st.integers(1, 3), max_size=2)), draw(some))


sequences = st.tuples(st.integers(1, 3), st.integers(1, 3))
sequences_to_pool = st.tuples(st.integers(1, 7), st.integers(1, 3))
images = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))

Drawn = Callable[[st.DrawFn], tuple[nn.Layer, tuple[int, ...], Twin]]


def row(kind: type[nn.Layer], words: int = 0, **settings: Any) -> Callable[[Drawn], Row]:
    """Make the row of a function that draws a layer, the shape of its samples and its twin."""

    @st.composite
    def drawn(draw: st.DrawFn, of: Drawn) -> OneLayer:
        layer, shape, twin = of(draw)
        try:
            layer.build(shape)
        except ShapeError:
            assume(False)
        generator = np.random.default_rng(draw(st.integers(0, 999)))
        batch = (draw(st.integers(1, 3)), *shape)
        if words:
            return OneLayer(layer, generator.integers(0, words, batch), twin)
        return OneLayer(layer, away_from_ties(generator, batch), twin)

    return lambda of: Row(kind, drawn(of), **settings)


def first(x: Any) -> Any:
    """Channels first, as PyTorch has them."""
    return x.movedim(-1, 1)


def last(y: Any) -> Any:
    return y.movedim(1, -1)


def elementwise(layers: list[nn.Layer], twin: Callable[[Any, Any, Any], Any]) -> Row:
    """The row of an activation: ``twin(torch, x, layer)``."""

    @row(type(layers[0]))
    def made(draw):
        layer = draw(st.sampled_from(layers))
        return layer, draw(shapes()), lambda torch, x, p: twin(torch, x, layer)

    return made


ACTIVATIONS = [
    elementwise([nn.ELU(), nn.ELU(0.3)], lambda t, x, own: t.nn.functional.elu(x, own.alpha)),
    elementwise([nn.GELU()], lambda t, x, own: t.nn.functional.gelu(x)),
    elementwise(
        [nn.LeakyReLU(0.1), nn.LeakyReLU(-0.5)],
        lambda t, x, own: t.nn.functional.leaky_relu(x, own.slope),
    ),
    elementwise([nn.Hardswish()], lambda t, x, own: t.nn.functional.hardswish(x)),
    elementwise([nn.Mish()], lambda t, x, own: t.nn.functional.mish(x)),
    elementwise([nn.ReLU()], lambda t, x, own: t.relu(x)),
    elementwise([nn.SiLU()], lambda t, x, own: t.nn.functional.silu(x)),
    elementwise([nn.Sigmoid()], lambda t, x, own: t.sigmoid(x)),
    elementwise([nn.Softmax()], lambda t, x, own: t.softmax(x, -1)),
    elementwise([nn.Softplus()], lambda t, x, own: t.nn.functional.softplus(x)),
    elementwise([nn.Softsign()], lambda t, x, own: t.nn.functional.softsign(x)),
    elementwise([nn.Tanh()], lambda t, x, own: t.tanh(x)),
]


@row(nn.PReLU)
def prelu(draw):
    def twin(torch, x, p):
        return torch.nn.functional.prelu(x.movedim(-1, 1), p["weight"]).movedim(1, -1)

    return nn.PReLU(draw(st.booleans())), draw(shapes()), twin


@row(nn.Linear)
def linear(draw):
    return (
        nn.Linear(draw(some), draw(st.booleans())),
        draw(shapes()),
        lambda torch, x, p: torch.nn.functional.linear(x, p["weight"].T, p.get("bias")),
    )


@row(nn.Embedding, words=3)
def embedding(draw):
    shape = tuple(draw(st.lists(some, max_size=2)))
    twin: Twin = lambda torch, x, p: torch.nn.functional.embedding(x, p["weight"])  # noqa: E731
    return nn.Embedding(3, draw(some)), shape, twin


def surrounded(torch: Any, x: Any, size: Any, stride: Any, dilation: Any, padding: Any,
               value: float = 0.0) -> Any:  # fmt: skip
    """Images or signals, channels last, as PyTorch has them and with their padding written out."""
    ends: list[int] = []
    axes = zip(x.shape[1:-1], size, stride, dilation, strict=True)
    for axis, (length, k, step, d) in enumerate(axes):
        if padding == "same":
            missing = max(0, (-(-length // step) - 1) * step + d * (k - 1) + 1 - length)
            ends = [missing // 2, missing - missing // 2, *ends]
        else:
            ends = [padding[axis], padding[axis], *ends]
    return torch.nn.functional.pad(first(x), ends, value=value)


@row(nn.Conv2d)
def conv2d(draw):
    groups, size, stride, dilation = draw(st.integers(1, 3)), draw(pairs), draw(pairs), draw(pairs)
    padding, out = draw(paddings | st.just("same")), groups * draw(st.integers(1, 2))
    layer = nn.Conv2d(out, size, stride, padding, dilation, draw(st.booleans()), groups=groups)
    height, width, channels = draw(images)

    def twin(torch, x, p):
        padded = surrounded(torch, x, size, stride, dilation, padding)
        f, w = torch.nn.functional.conv2d, p["weight"].permute(3, 2, 0, 1).contiguous()
        return last(f(padded, w, p.get("bias"), stride, 0, dilation, groups))

    return layer, (min(height, 4), min(width, 4), groups * min(channels, 2)), twin


@row(nn.Conv1d)
def conv1d(draw):
    groups, size, stride, dilation = (draw(st.integers(1, 3)) for _ in range(4))
    padding, out = draw(st.integers(0, 2) | st.just("same")), groups * draw(st.integers(1, 2))
    layer = nn.Conv1d(out, size, stride, padding, dilation, draw(st.booleans()), groups=groups)
    steps, channels = draw(st.tuples(st.integers(1, 7), st.integers(1, 2)))

    def twin(torch, x, p):
        around = padding if padding == "same" else (padding,)
        padded = surrounded(torch, x, (size,), (stride,), (dilation,), around)
        f, w = torch.nn.functional.conv1d, p["weight"].permute(2, 1, 0).contiguous()
        return last(f(padded, w, p.get("bias"), stride, 0, dilation, groups))

    return layer, (steps, groups * channels), twin


@row(nn.ConvTranspose2d)
def conv_transpose2d(draw):
    size, stride, padding, more = draw(pairs), draw(pairs), draw(paddings), draw(paddings)
    more = (more[0] % stride[0], more[1] % stride[1])
    layer = nn.ConvTranspose2d(draw(some), size, stride, padding, more, draw(st.booleans()))
    height, width, channels = draw(images)

    def twin(torch, x, p):
        f, w = torch.nn.functional.conv_transpose2d, p["weight"].permute(2, 3, 0, 1).contiguous()
        return last(f(first(x), w, p.get("bias"), stride, padding, more))

    return layer, (min(height, 4), min(width, 4), channels), twin


def pooling(kind: type[Any], name: str, axes: int) -> Row:
    """The row of a pooling layer over so many axes: ``torch.nn.functional.name``."""
    averages = issubclass(kind, nn.AvgPool2d)

    @row(kind)
    def made(draw):
        size, stride = draw(pairs)[:axes], draw(pairs)[:axes]
        half = tuple(draw(st.integers(0, side // 2)) for side in size)
        padding, ceil_mode = draw(st.sampled_from([half, "same"])), draw(st.booleans())
        settings = {"ceil_mode": ceil_mode} if padding != "same" else {}
        if averages:
            settings["count_include_pad"] = draw(st.booleans())
        layer = kind(*(a if a == "same" or axes == 2 else a[0] for a in (size, stride, padding)),
                     **{"ceil_mode": ceil_mode} | settings)  # fmt: skip

        def twin(torch, x, p):
            pool = getattr(torch.nn.functional, name)
            if padding != "same":
                return last(pool(first(x), size, stride, half, **settings))
            value = 0.0 if averages else -np.inf
            around = (size, stride, (1,) * axes, padding, value)
            y = pool(surrounded(torch, x, *around), size, stride)
            if averages and not layer.count_include_pad:
                y = y / pool(surrounded(torch, torch.ones_like(x), *around), size, stride)
            return last(y)

        return layer, draw(images if axes == 2 else sequences_to_pool), twin

    return made


@row(nn.GlobalMaxPool2d)
def global_max_pool2d(draw):
    def twin(torch, x, p):
        return torch.nn.functional.adaptive_max_pool2d(first(x), 1).flatten(1)

    return nn.GlobalMaxPool2d(), draw(images), twin


@row(nn.GlobalAvgPool2d)
def global_avg_pool2d(draw):
    return nn.GlobalAvgPool2d(), draw(images), lambda torch, x, p: x.mean(dim=(1, 2))


def norm(synchronised: bool, **settings: Any) -> Row:
    @row(nn.BatchNorm, **settings)
    def made(draw):
        layer = nn.BatchNorm(draw(st.floats(0, 1)), draw(eps), synchronised)

        def twin(torch, x, p):
            assume(x[..., 0].numel() > 1)  # PyTorch refuses to normalise one number alone
            f, means = torch.nn.functional.batch_norm, (p["mean"], p["variance"])
            how = (p["gamma"], p["beta"], True, layer.momentum, layer.eps)
            return last(f(first(x), *means, *how))

        return layer, (draw(st.integers(2, 3)), *draw(shapes())), twin

    return made


CUT = "equal to the serial run that normalises over the same groups of samples"
batch_norm = norm(False, groups=True, notes=dict.fromkeys(("ring", "server", "pipeline"), CUT))
synchronised_batch_norm = norm(
    True,
    name="BatchNorm(synchronised=True)",
    groups=True,
    notes={
        "ring": "equal to the serial run over the whole batch",
        "server": "equal to the serial run over the whole batch",
        "pipeline": f"micro-batches are not there at once: {CUT}",
    },
)


@row(nn.LayerNorm)
def layer_norm(draw):
    layer = nn.LayerNorm(draw(eps))

    def twin(torch, x, p):
        return torch.nn.functional.layer_norm(x, x.shape[-1:], p["gamma"], p["beta"], layer.eps)

    return layer, draw(shapes()), twin


@row(nn.RMSNorm)
def rms_norm(draw):
    layer = nn.RMSNorm(draw(eps))

    def twin(torch, x, p):
        return torch.nn.functional.rms_norm(x, x.shape[-1:], p["gamma"], layer.eps)

    return layer, draw(shapes()), twin


@row(nn.GroupNorm)
def group_norm(draw):
    groups, shape = draw(st.integers(1, 3)), draw(shapes())
    layer = nn.GroupNorm(groups, draw(eps))

    def twin(torch, x, p):
        assume(x[0].numel() > groups)  # PyTorch refuses to normalise one number alone
        f = torch.nn.functional.group_norm
        return last(f(first(x), groups, p["gamma"], p["beta"], layer.eps))

    return layer, (*shape[:-1], groups * shape[-1]), twin


@row(
    nn.Dropout,
    notes={"oracle": "PyTorch draws other masks; it is shown which elements were kept"},
)
def dropout(draw):
    layer = nn.Dropout(draw(st.floats(0, 0.95)))

    def twin(torch, x, p):
        mode = nn.Mode(training=True, seed=3, step=5, batch_size=len(x))
        kept = torch.tensor(layer.forward(np.ones(x.shape), mode)[0] != 0)
        return torch.where(kept, x / (1 - layer.rate), 0)

    return layer, draw(shapes()), twin


@row(nn.Flatten)
def flatten(draw):
    return nn.Flatten(), draw(shapes()), lambda torch, x, p: torch.flatten(x, 1)


@row(nn.Reshape)
def reshape(draw):
    height, width, channels = shape = draw(images)
    wanted = (channels, height * width)
    return nn.Reshape(*wanted), shape, lambda torch, x, p: x.reshape(len(x), *wanted)


@row(nn.Upsample)
def upsample(draw):
    scale = draw(pairs)

    def twin(torch, x, p):
        larger = tuple(side * by for side, by in zip(x.shape[1:3], scale, strict=True))
        return last(torch.nn.functional.interpolate(first(x), larger, mode="nearest"))

    return nn.Upsample(scale), draw(images), twin


@row(nn.FitImage)
def fit_image(draw):
    size = draw(st.integers(1, 13))

    def twin(torch, x, p):
        height, width = x.shape[1:3]
        f = size // max(height, width)
        larger = torch.nn.functional.interpolate(first(x), scale_factor=f, mode="nearest")
        down, across = size - f * height, size - f * width
        border = (across // 2, across - across // 2, down // 2, down - down // 2)
        return last(torch.nn.functional.pad(larger, border))

    return nn.FitImage(size), draw(images), twin


@row(nn.Pad2d)
def pad2d(draw):
    mode, shape, value = draw(st.sampled_from(MODES)), draw(images), draw(st.integers(-1, 1))
    most = [side - 1 if mode == "reflect" else 3 for side in shape[:2]]
    ends = tuple(tuple(draw(st.integers(0, by)) for _ in range(2)) for by in most)

    def twin(torch, x, p):
        constant = {"value": float(value)} if mode == "constant" else {}
        return last(torch.nn.functional.pad(first(x), (*ends[1], *ends[0]), mode, **constant))

    return nn.Pad2d(ends, mode, value), shape, twin


@row(nn.PadChannels)
def pad_channels(draw):
    more, stride, shape = draw(few), draw(some), draw(images)

    def twin(torch, x, p):
        return torch.nn.functional.pad(x[:, ::stride, ::stride], (0, more))

    return nn.PadChannels(shape[-1] + more, stride), shape, twin


@row(nn.TakeLast)
def take_last(draw):
    both, (steps, half) = draw(st.booleans()), draw(sequences)

    def twin(torch, x, p):
        return torch.cat((x[:, -1, :half], x[:, 0 if both else -1, half:]), dim=-1)

    return nn.TakeLast(both), (steps, 2 * half), twin


def recurrent(kind: type[nn.Recurrent]) -> Row:
    @row(kind)
    def made(draw):
        hidden, layers, both = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.booleans())
        shape = draw(sequences)

        def twin(torch, x, p):
            module = getattr(torch.nn, kind.__name__)(
                shape[1], hidden, layers, bidirectional=both, batch_first=True, dtype=x.dtype
            )
            weights = {}
            for name in {path.split(".")[1] for path in p}:
                of = {end: p.get(f"cells.{name}.{end}") for end in ("weight", "recurrent", "bias")}
                weights[f"weight_ih_l{name}"] = of["weight"].T
                weights[f"weight_hh_l{name}"] = of["recurrent"].T
                weights[f"bias_ih_l{name}"] = of["bias"]
                other = torch.zeros_like(of["bias"])  # the bias above does its work too
                if kind is nn.GRU:
                    other = torch.cat((other[: 2 * hidden], p[f"cells.{name}.candidate_bias"]))
                weights[f"bias_hh_l{name}"] = other
            return torch.func.functional_call(module, weights, (x,))[0]

        return kind(hidden, layers, both), shape, twin

    return made


def dense(torch: Any, x: Any, p: Any, name: str) -> Any:
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


@row(nn.Sequential)
def sequential(draw):
    def twin(torch, x, p):
        return dense(torch, torch.tanh(dense(torch, x, p, "0")), p, "2")

    return nn.Sequential(nn.Linear(draw(some)), nn.Tanh(), nn.Linear(2)), draw(shapes()), twin


@row(nn.Residual)
def residual(draw):
    width, projected, shape = draw(some), draw(st.booleans()), draw(shapes())
    body = nn.Sequential(nn.Linear(width if projected else shape[-1]), nn.Tanh())

    def twin(torch, x, p):
        around = dense(torch, x, p, "shortcut") if projected else x
        return torch.tanh(dense(torch, x, p, "body.0")) + around

    return nn.Residual(body, nn.Linear(width) if projected else None), shape, twin


@row(nn.Concat)
def concat(draw):
    widths = draw(st.lists(some, max_size=2))

    def twin(torch, x, p):
        ways = [dense(torch, x, p, str(place)) for place in range(len(widths))]
        return torch.cat((*ways, torch.tanh(x)), dim=-1)

    return nn.Concat(*map(nn.Linear, widths), nn.Tanh()), draw(shapes()), twin


@row(nn.AuxiliaryHeads)
def auxiliary_heads(draw):
    width, classes = draw(some), draw(some)
    stages = (nn.Sequential(nn.Linear(width), nn.Tanh()), nn.Tanh(), nn.Linear(classes))

    def twin(torch, x, p):
        low = torch.tanh(dense(torch, x, p, "0.0"))
        high = torch.tanh(low)
        ways = ((high, "2"), (low, "head0"), (high, "head1"))
        return torch.cat([dense(torch, way, p, name) for way, name in ways], dim=-1)

    heads = [nn.Linear(classes) for _ in stages[1:]]
    return nn.AuxiliaryHeads(*stages, heads=heads), draw(shapes()), twin


LAYERS = [
    linear, conv1d, conv2d, conv_transpose2d, embedding,
    pooling(nn.MaxPool2d, "max_pool2d", 2), pooling(nn.AvgPool2d, "avg_pool2d", 2),
    pooling(nn.MaxPool1d, "max_pool1d", 1), pooling(nn.AvgPool1d, "avg_pool1d", 1),
    global_max_pool2d, global_avg_pool2d,
    batch_norm, synchronised_batch_norm, layer_norm, rms_norm, group_norm, dropout,
    *ACTIVATIONS, prelu, *map(recurrent, (nn.RNN, nn.GRU, nn.LSTM)), take_last,
    flatten, reshape, upsample, fit_image, pad2d, pad_channels,
    sequential, residual, concat, auxiliary_heads,
]  # fmt: skip
