"""Targets of another shape, gradients by losses and missing slots are refused in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import nn, optim
from minidl.errors import InputError, ShapeError

LOSSES = [nn.MSE(), nn.L1(), nn.Huber(), nn.BCEWithLogits(), nn.Hinge(), nn.CrossEntropy()]
RULES = [
    optim.SGD(0.1, 0.9), optim.Adam(0.1), optim.AdamW(0.1), optim.Adagrad(0.1),
    optim.RMSprop(0.1), optim.LARS(0.1),
]  # fmt: skip


def named(case: Any) -> str:
    return type(case).__name__


@pytest.mark.parametrize("loss", LOSSES, ids=named)
def test_targets_and_gradients_of_losses_are_not_broadcast(loss: nn.Loss):
    outputs = np.ones((2, 3), np.float32)
    labelled = isinstance(loss, nn.Hinge | nn.CrossEntropy)
    right = (2,) if labelled else (2, 3)
    for shape in {(2, 1), (1, 3), (1,), (3,), (2,), (3, 3)} - {right}:
        with pytest.raises(ShapeError):
            loss.forward(outputs, np.zeros(shape, np.int64))
    if labelled:
        for labels, told in (
            ([0, 3], "from 0 to 2, not 3"),
            ([-1, 0], "not -1"),
            ([0.5, 1], "whole"),
        ):
            with pytest.raises(InputError, match=told):
                loss.forward(outputs, np.array(labels))
    losses, saved = loss.forward(outputs, np.zeros(right, np.int64))
    assert losses.shape == (2,)
    for count in (1, 3):
        with pytest.raises(ShapeError, match=r"must have shape \(2,\)"):
            loss.backward(np.ones(count, np.float32), saved)


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_a_missing_slot_and_a_negative_step_are_named(rule: optim.Optimizer):
    w, g = np.ones(6, np.float32), np.ones(6, np.float32)
    slots = {name: np.zeros(6, np.float32) for name in rule.slots}
    with pytest.raises(InputError, match="no step -1"):
        rule.step(w, g, slots, -1)
    for name in rule.slots:
        with pytest.raises(InputError, match=f"none for '{name}'"):
            rule.step(w, g, {other: slots[other] for other in slots if other != name}, 0)
    np.testing.assert_array_equal(w, 1)
