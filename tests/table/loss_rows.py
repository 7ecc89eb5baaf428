"""The rows of losses, and those of the games that a GAN plays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from finite_differences import away_from_ties
from hypothesis import strategies as st
from rows import OneGame, OneLoss, Row

from minidl import nn

SHAPES = st.tuples(
    st.integers(1, 3),
    st.lists(st.integers(1, 3), max_size=1).map(tuple),
    st.integers(1, 4),
).map(lambda parts: (parts[0], *parts[1], parts[2]))

LossTwin = Callable[[Any, Any, Any, Any], Any]


def row(losses: list[nn.Loss], targets: str, twin: LossTwin, name: str = "") -> Row:
    """The row of a loss with some settings: ``twin(torch.nn.functional, z, t, loss)``."""

    @st.composite
    def drawn(draw: st.DrawFn) -> OneLoss:
        loss, shape = draw(st.sampled_from(losses)), draw(SHAPES)
        generator = np.random.default_rng(draw(st.integers(0, 999)))
        # No two of these differ by 1, where the margin of a hinge begins.
        z = 0.97 * away_from_ties(generator, shape)
        if targets == "labels":
            t = generator.integers(0, shape[-1], shape[:-1])
            if (ignored := getattr(loss, "ignore_index", None)) is not None:
                t[generator.random(t.shape) < 0.3] = ignored
        elif targets == "probabilities":
            t = generator.uniform(size=shape)
        else:
            t = z - away_from_ties(generator, shape)
        if getattr(loss, "weight", None):
            weight = generator.choice([0.25, 0.5, 1, 3], shape[-1])
            loss = nn.CrossEntropy(loss.label_smoothing, loss.ignore_index, weight)
        if isinstance(loss, nn.WithAuxiliary):
            loss = nn.WithAuxiliary(loss.loss, shape[-1], loss.weights)
            z = np.concatenate((z, z[::-1] / 2, -z), axis=-1)
        return OneLoss(loss, z, t, lambda torch, z, t: twin(torch.nn.functional, z, t, loss))

    return Row(type(losses[0]), drawn(), name)


def cross_entropy(f: Any, z: Any, t: Any, own: Any) -> Any:
    ignored = -100 if own.ignore_index is None else own.ignore_index
    settings = {
        "weight": None if own.weight is None else z.new_tensor(own.weight),
        "label_smoothing": own.label_smoothing,
        "ignore_index": ignored,
        "reduction": "none",
    }
    each = f.cross_entropy(z.movedim(-1, 1), t, **settings).reshape(len(z), -1)
    counts = (t != ignored).reshape(len(z), -1).sum(dim=1).clip(1)
    return each.sum(dim=1) / counts


def with_auxiliary(f: Any, z: Any, t: Any, own: Any) -> Any:
    parts = zip((1.0, *own.weights), z.split(own.outputs, dim=-1), strict=True)
    return sum(weight * cross_entropy(f, part, t, own.loss) for weight, part in parts)


def hinge(f: Any, z: Any, t: Any, own: Any) -> Any:
    each = f.multi_margin_loss(z.reshape(-1, z.shape[-1]), t.reshape(-1), reduction="none")
    return each.reshape(t.shape)


LOSSES = [
    row(
        [
            nn.CrossEntropy(),
            nn.CrossEntropy(0.1),
            nn.CrossEntropy(0.1, -100),
        ],
        "labels",
        cross_entropy,
    ),
    row(
        [nn.CrossEntropy(weight=[1]), nn.CrossEntropy(0.1, -100, [1])],  # drawn for the classes
        "labels",
        cross_entropy,
        "CrossEntropy(weight=...)",
    ),
    row([nn.Hinge()], "labels", hinge),
    row(
        [nn.BCEWithLogits()],
        "probabilities",
        lambda f, z, t, own: f.binary_cross_entropy_with_logits(z, t, reduction="none"),
    ),
    row([nn.MSE()], "numbers", lambda f, z, t, own: f.mse_loss(z, t, reduction="none")),
    row([nn.L1()], "numbers", lambda f, z, t, own: f.l1_loss(z, t, reduction="none")),
    row(
        [nn.Huber(), nn.Huber(0.3)],
        "numbers",
        lambda f, z, t, own: f.huber_loss(z, t, delta=own.delta, reduction="none"),
    ),
    row([nn.WithAuxiliary(nn.CrossEntropy(0.1), 1, (0.3, 0.7))], "labels", with_auxiliary),
]

SIDES = ("real", "fake", "generator")


def belief(torch: Any, z: Any, side: str, sign: int, aim: str) -> Any:
    """`sign` times the cross-entropy of z, the generator's side being that of `aim`."""
    wanted = torch.ones_like(z) if (aim if side == "generator" else side) == "real" else 0 * z
    each = torch.nn.functional.binary_cross_entropy_with_logits(z, wanted, reduction="none")
    return sign * each if side == "generator" else each


NO_PIPELINE = (
    "a pipeline trains one network's outputs towards targets, and refuses a task with two networks"
)
GAMES = [
    Row(kind, st.just(OneGame(kind(), twin)), absent={"pipeline": NO_PIPELINE})
    for kind, twin in (
        (nn.Minimax, lambda torch, z, side: belief(torch, z, side, -1, "fake")),
        (nn.NonSaturating, lambda torch, z, side: belief(torch, z, side, 1, "real")),
        (nn.LeastSquares, lambda torch, z, side: (z - float(side != "fake")) ** 2 / 2),
    )
]
