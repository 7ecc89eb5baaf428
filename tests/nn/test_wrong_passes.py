"""Targets of another shape, gradients by losses and missing slots are refused in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl import kernels, nn, optim
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


SHAPE = (6, 6, 2)
FLOATS_ONLY = [
    nn.ReLU(), nn.LeakyReLU(), nn.ELU(), nn.GELU(), nn.Hardswish(), nn.Mish(), nn.PReLU(),
    nn.SiLU(), nn.Sigmoid(), nn.Softmax(), nn.Softplus(), nn.Softsign(), nn.Tanh(), nn.Linear(3),
    nn.Conv2d(3, 2), nn.BatchNorm(), nn.LayerNorm(), nn.GlobalAvgPool2d(), nn.MaxPool2d(2),
]  # fmt: skip
OTHERS = [
    nn.Flatten(), nn.Reshape(72), nn.Dropout(0.5), nn.Pad2d(1), nn.Upsample(2), nn.FitImage(8),
    nn.Concat(nn.ReLU()), nn.GlobalMaxPool2d(), nn.AvgPool2d(2),
]  # fmt: skip


@pytest.mark.parametrize("layer", [*FLOATS_ONLY, *OTHERS], ids=named)
def test_layers_take_arrays_and_functions_of_numbers_take_floats(layer: nn.Layer):
    layer.initialise(SHAPE)
    x, mode = np.ones((2, *SHAPE), np.float32), nn.Mode(training=True, batch_size=2)
    with kernels.using("reference"):
        y, saved = layer.forward(x, mode)
        for given in (x.tolist(), None):
            with pytest.raises(InputError, match=r"arrays of NumPy or CuPy, not (list|NoneType)"):
                layer.forward(given, mode)
        for given in (y.tolist(), None, y.astype(np.int64)):
            with pytest.raises(InputError, match=r"not (with int64|list|NoneType)"):
                layer.backward(given, saved)
        if layer in FLOATS_ONLY:
            with pytest.raises(InputError, match="with int64"):
                layer.forward(x.astype(np.int64), mode)


@pytest.mark.parametrize("loss", LOSSES, ids=named)
def test_losses_take_arrays_and_outputs_are_floats(loss: nn.Loss):
    outputs, labelled = np.ones((2, 3), np.float32), isinstance(loss, nn.Hinge | nn.CrossEntropy)
    targets = np.zeros(2 if labelled else (2, 3), np.int64)
    with kernels.using("reference"):
        _, saved = loss.forward(outputs, targets)
        for given in ((outputs.tolist(), targets), (outputs, targets.tolist())):
            with pytest.raises(InputError, match="takes arrays of NumPy or CuPy, not list"):
                loss.forward(*given)
        with pytest.raises(InputError, match="not with int64"):
            loss.forward(outputs.astype(np.int64), targets)
        with pytest.raises(InputError, match="arrays of NumPy or CuPy, not list"):
            loss.backward([1.0, 1.0], saved)
