"""Sigmoid and binary cross entropy in one, for yes-or-no questions."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import kernels
from minidl.errors import InputError
from minidl.nn.loss import (
    ElementwiseLoss,
    expect_outputs,
    expect_targets,
    mean_per_sample,
    share_per_sample,
)
from minidl.nn.parameters import Array, Shape


class BCEWithLogits(ElementwiseLoss):
    """-t log p - (1 - t) log(1 - p), where p is the sigmoid of the network's outputs.

    Outputs and targets have one shape (N, ...); targets are probabilities, from 0
    to 1. The loss is written as ``|z| q + log(1 + exp(-|z|))``, where q is 1 - t for
    positive z and t for negative, which overflows for no z. Its metric is
    ``"accuracy"``.
    """

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        xp = kernels.array_module(outputs)
        z, t = outputs, self.alike(outputs, targets)
        size, against = xp.abs(z), xp.where(z > 0, 1 - t, t)
        # Certainty, |z| = inf, costs nothing where it is right: then nothing is against it.
        losses = xp.where(against != 0, size, 0) * against + xp.log1p(xp.exp(-size))
        return mean_per_sample(losses), (z, t)

    def backward(self, dlosses: Array, saved: Any) -> Array:
        z, t = saved
        return (kernels.of(z).sigmoid(z) - t) * share_per_sample(dlosses, z.shape)

    def metrics(self, outputs: Array, targets: Array) -> dict[str, Array]:
        expect_outputs(self, outputs)
        expect_targets(self, targets, outputs.shape)
        return {"accuracy": mean_per_sample((outputs > 0) == (targets > 0.5))}

    def check(self, outputs_shape: Shape, targets: np.ndarray) -> None:
        super().check(outputs_shape, targets)
        if targets.size and not 0 <= targets.min() <= targets.max() <= 1:
            raise InputError(
                "BCEWithLogits: targets must be from 0 to 1; "
                f"they run from {targets.min()} to {targets.max()}"
            )
