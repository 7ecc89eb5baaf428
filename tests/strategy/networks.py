"""Networks, data and optimizers for Hypothesis to draw: what every strategy must train alike."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from minidl import data, nn, optim, rng, train
from minidl.strategy import Strategy

LARS = optim.LARS(lr=1.0, weight_decay=0.01)
ZERO_AT_FIRST = ("bias", "candidate_bias", "beta")
"""Not for LARS, which moves a parameter of zeros by the whole gradient, and one of 1e-17 by almost
nothing: where the first gradient cancels but for rounding, as with Hinge, equal runs would part."""


@dataclass(frozen=True, repr=False)
class Case:
    """A training run that any strategy can carry out."""

    layers: tuple[nn.Layer, ...]
    dataset: data.Dataset
    loss: nn.Loss
    optimizer: optim.Optimizer
    batch_size: int
    seed: int

    def __repr__(self) -> str:
        layers = ", ".join(type(layer).__name__ for layer in self.layers)
        return (
            f"Case([{layers}], inputs {self.dataset.inputs.shape}, {type(self.loss).__name__}, "
            f"{self.optimizer}, batch_size={self.batch_size}, seed={self.seed})"
        )

    def trained(self, strategy: Strategy, epochs: int = 2) -> train.Trainer:
        """A fresh trainer after some epochs under `strategy`, in float64."""
        model = copy.deepcopy(nn.Sequential(*self.layers))  # else two runs would share parameters
        trainer = train.Trainer(model, self.loss, self.optimizer, seed=self.seed, dtype="float64")
        trainer.fit(self.dataset, epochs=epochs, batch_size=self.batch_size, strategy=strategy)
        return trainer


def dense_layer(width: int) -> st.SearchStrategy[nn.Layer]:
    """A layer that keeps the width, so that any number of them can follow each other."""
    return st.one_of(
        st.builds(lambda: nn.Linear(width)),
        st.builds(lambda: nn.Linear(width, bias=False)),
        st.just(nn.Tanh()),
        st.just(nn.Sigmoid()),
        st.sampled_from([nn.ELU(), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.Softmax()]),
        st.builds(nn.LeakyReLU, st.sampled_from([0.1, 0.3])),
        st.builds(nn.LayerNorm),
        st.builds(lambda: nn.GroupNorm(width)),
        st.builds(nn.Dropout, st.sampled_from([0.0, 0.2, 0.5])),
        st.builds(
            lambda inner: nn.Residual(nn.Sequential(*inner)),
            st.lists(
                st.builds(lambda: nn.Linear(width)) | st.just(nn.Tanh()), min_size=1, max_size=2
            ),
        ),
    )


@st.composite
def dense_cases(draw: st.DrawFn, min_layers: int = 1, batch_norm: bool = False) -> Case:
    """Dense networks of any depth, on few samples, with batches that rarely divide."""
    width, classes = draw(st.integers(1, 5)), draw(st.integers(2, 4))
    body = draw(st.lists(dense_layer(width), min_size=min_layers, max_size=6))
    if batch_norm:
        body.insert(draw(st.integers(0, len(body))), nn.BatchNorm())
    layers = (nn.Linear(width), *body, nn.Linear(classes))
    return draw(_on_data((draw(st.integers(1, 4)),), layers, classes))


@st.composite
def image_cases(draw: st.DrawFn) -> Case:
    """Small convolutional networks."""
    channels, classes = draw(st.integers(1, 3)), draw(st.integers(2, 4))
    layers = [nn.Conv2d(channels, 3, padding=1), nn.ReLU()]
    layers += draw(
        st.sampled_from(
            [
                [nn.MaxPool2d(2)],
                [nn.Conv2d(2, 2, 2, padding="same"), nn.MaxPool2d(2, 1, "same")],
                [nn.AvgPool2d((2, 3), 2, "same")],
                [nn.AvgPool2d(2), nn.Dropout(0.3)],
                [nn.GroupNorm(channels), nn.GELU()],
                [nn.Upsample((1, 2)), nn.Reshape(8, 5, channels), nn.MaxPool2d(2)],
                [nn.Residual(nn.Conv2d(channels, 3, padding=1)), nn.Tanh()],
                [nn.Conv2d(2, 3, stride=2), nn.Dropout(0.4)],
                [nn.Concat(nn.Conv2d(2, (1, 3), padding=(0, 1)), nn.Dropout(0.3)), nn.Tanh()],
                [nn.PadChannels(channels + 1, stride=2)],
                [nn.Conv2d(2 * channels, 3, groups=channels), nn.Tanh()],
                [nn.Reshape(20, channels), nn.Conv1d(2, 3, 2, "same"), nn.Reshape(5, 2, 2)],
                [nn.ConvTranspose2d(2, (3, 2), 2, 1, (1, 0)), nn.Tanh()],
            ]
        )
    )
    layers += [draw(st.sampled_from([nn.Flatten(), nn.GlobalAvgPool2d()])), nn.Linear(classes)]
    return draw(_on_data((5, 4, draw(st.integers(1, 2))), tuple(layers), classes))


@st.composite
def sequence_cases(draw: st.DrawFn) -> Case:
    """Small recurrent networks, which hand on sequences (steps, features) or the last step."""
    features, hidden, classes = (draw(st.integers(low, 3)) for low in (2, 1, 2))
    layers = (
        draw(st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]))(
            hidden, *draw(st.sampled_from([(), (2, False, 0.3), (1, True), (1, False, 0.0, True)]))
        ),
        draw(st.sampled_from([nn.Dropout(0.3), nn.Tanh(), nn.Linear(2)])),
        draw(st.sampled_from([nn.TakeLast(), nn.Flatten()])),
        nn.Linear(classes),
    )
    return draw(_on_data((draw(st.integers(1, 4)), features), layers, classes))


@st.composite
def token_cases(draw: st.DrawFn) -> Case:
    """Networks that look up whole numbers first."""
    width, classes, words = (draw(st.integers(1, 4)) for _ in range(3))
    body = draw(st.lists(dense_layer(width), max_size=3))
    layers = (nn.Embedding(words, width), *body, nn.Flatten(), nn.Linear(classes + 1))
    return draw(_on_data((draw(st.integers(1, 3)),), layers, classes + 1, words))


@st.composite
def continuation_cases(draw: st.DrawFn) -> Case:
    """Networks that foretell at every step of a sequence which whole number comes next."""
    words, steps = draw(st.integers(2, 4)), draw(st.integers(1, 4))
    layers = (
        nn.Embedding(words, 2),
        draw(st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]))(draw(st.integers(1, 3))),
        nn.Dropout(0.3),
        nn.Linear(words),
    )
    case = draw(_on_data((steps,), layers, words, words))
    numbers = rng.stream(case.seed, "continuations").integers(0, words, (len(case.dataset), steps))
    loss = draw(st.sampled_from([nn.CrossEntropy(), nn.CrossEntropy(0.1, 0)]))
    return replace(case, dataset=replace(case.dataset, targets=numbers), loss=loss)


@st.composite
def _on_data(
    draw: st.DrawFn,
    shape: tuple[int, ...],
    layers: tuple[nn.Layer, ...],
    classes: int,
    words: int = 0,
) -> Case:
    samples, seed = draw(st.integers(4, 13)), draw(st.integers(0, 1000))
    numbers = rng.stream(seed, "test data")
    inputs = numbers.normal(size=(samples, *shape))
    if words:
        inputs = numbers.integers(0, words, inputs.shape)
    if draw(st.booleans()):
        loss: nn.Loss = draw(
            st.sampled_from(
                [nn.CrossEntropy(), nn.CrossEntropy(0.1), nn.CrossEntropy(0.1, 0), nn.Hinge()]
            )
        )
        targets = numbers.integers(0, classes, samples)
    else:
        loss = draw(st.sampled_from([nn.MSE(), nn.L1(), nn.Huber(0.5)]))
        targets = numbers.normal(size=(samples, classes))
    optimizer: optim.Optimizer = draw(
        st.sampled_from(
            [
                optim.SGD(lr=0.005),
                optim.SGD(lr=0.002, momentum=0.9, weight_decay=0.01),
                optim.SGD(lr=0.002, momentum=0.8, nesterov=True),
                optim.Adam(lr=0.001, eps=1e-3),
                optim.AdamW(lr=0.001, eps=1e-3),
                optim.Adagrad(lr=0.005, eps=1e-3),
                optim.RMSprop(lr=0.001, momentum=0.5, eps=1e-3),
                optim.Groups(LARS, ((ZERO_AT_FIRST, optim.SGD(lr=0.005)),)),
                optim.Clipped(optim.SGD(lr=0.01, momentum=0.9), norm=0.1),
                optim.Clipped(optim.Adam(lr=0.001, eps=1e-3), value=0.02),
                optim.without_decay(optim.SGD(lr=0.005, momentum=0.9, weight_decay=0.1)),
                optim.Groups(optim.Adam(lr=0.001, eps=1e-3), ((("weight",), LARS),)),
                optim.SGD(
                    optim.Composed((optim.LinearWarmup(0.01, 2), optim.Cosine(0.01, 4)), (2,))
                ),
            ]
        )
    )
    batch_size = draw(st.integers(4, 9))
    return Case(layers, data.Dataset(inputs, targets), loss, optimizer, batch_size, seed)


def assert_same_weights(one: train.Trainer, other: train.Trainer) -> None:
    """Every parameter equal, but for float64 rounding."""
    expected, found = one.weights(), other.weights()
    assert list(expected) == list(found)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-8, atol=1e-10, err_msg=name)
