"""Learning from examples: outputs are to come close to targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl import kernels
from minidl.data import Batch, Dataset
from minidl.errors import NonFiniteError
from minidl.nn import EVALUATE, Layer, Loss, Mode, Parameter
from minidl.runtime.trace import Recorder
from minidl.tasks.task import Phase, Sums, Task


@dataclass(frozen=True)
class Supervised(Task):
    """Minimise a loss between the model's outputs and the data's targets.

    Parameters
    ----------
    loss
        Compares the two.
    """

    loss: Loss

    def taken(self, model: Layer, dataset: Dataset) -> Dataset:
        targets = self.loss.taken(model.build(dataset.sample_shape), dataset.targets)
        return dataset if targets is dataset.targets else replace(dataset, targets=targets)

    def check(self, model: Layer, dataset: Dataset) -> None:
        self.loss.check(model.build(dataset.sample_shape), dataset.targets)

    def gradients(
        self, phase: Phase, model: Layer, batch: Batch, mode: Mode, trace: Recorder
    ) -> Sums:
        with trace.span("forward"):
            outputs, saved = model.forward(batch.x, mode)
            doutputs, sums = self.loss_gradient(model, batch.x, outputs, batch.y, mode)
        with trace.span("backward"):
            model.accumulate(doutputs, saved)
        return sums

    def loss_gradient(
        self, model: Layer, x: np.ndarray, outputs: np.ndarray, targets: np.ndarray, mode: Mode
    ) -> tuple[np.ndarray, Sums]:
        """The gradient of the batch's mean loss by `outputs`, and these samples' sums.

        Raises
        ------
        NonFiniteError
            If the loss is NaN or infinite; `model`, `x` and `mode` tell where that began.
        """
        wide = kernels.wide(outputs)
        losses, saved = self.loss.forward(wide, targets)
        total = float(losses.sum())
        if not math.isfinite(total):
            raise non_finite(model, x, mode)
        xp = kernels.array_module(losses)
        upstream = xp.full(len(losses), mode.scale / mode.batch_size, losses.dtype)
        doutputs = self.loss.backward(upstream, saved)
        with np.errstate(over="ignore"):  # a scale that is too large is found at the update
            doutputs = doutputs.astype(outputs.dtype, copy=False)
        return doutputs, self._sums(losses, wide, targets)

    def score(self, model: Layer, batch: Batch) -> Sums:
        return self.score_outputs(model.forward(batch.x, EVALUATE)[0], batch.y)

    def score_outputs(self, outputs: np.ndarray, targets: np.ndarray) -> Sums:
        """As `score`, for outputs that are there already."""
        return self._sums(self.loss.forward(outputs, targets)[0], outputs, targets)

    def _sums(self, losses: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> Sums:
        found = {"loss": losses} | self.loss.metrics(outputs, targets)
        return Sums.over(len(losses), {name: float(each.sum()) for name, each in found.items()})


def non_finite(model: Layer, x: np.ndarray, mode: Mode) -> NonFiniteError:
    """The error for a loss that is NaN or infinite, naming the layer where it began.

    The forward pass is run again with every innermost layer watched; if it was one in
    float16, then once more in float32, to tell a range that is too small from divergence.
    """
    if mode.total is not None:
        mode = replace(mode, total=None)  # others do not run theirs again
        nowhere = (
            "where samples are normalised together with those of others: with this rank's alone, "
            "every layer's output is finite"
        )
    else:
        nowhere = "in the loss itself: every layer's output is finite"
    where, advice = _first_non_finite(model, x, mode), "A lower learning rate often helps."
    narrow = [p for p in model.parameters().values() if p.value.dtype == np.float16]
    if where and (narrow or x.dtype == np.float16):
        with _widened(narrow):
            wide = _first_non_finite(model, kernels.wide(x), mode)
        if wide is None or where == _INPUT:
            fits = "" if where == _INPUT else " In float32, with the same weights, all is finite."
            advice = (
                "Mixed precision computes in float16, which holds no number beyond 65504."
                f"{fits} Make the inputs smaller or normalise them, or train without precision."
            )
    return NonFiniteError(
        f"the loss is not finite at step {mode.step}: NaN or infinity first appears "
        f"{where or nowhere}. {advice}"
    )


_INPUT = "in the input of the model"


def _first_non_finite(model: Layer, x: np.ndarray, mode: Mode) -> str | None:
    """Where NaN or infinity appears first in a forward pass; None if nowhere."""
    if not kernels.array_module(x).isfinite(x).all():
        return _INPUT
    with np.errstate(all="ignore"), _watched(model) as found:
        model.forward(x, mode)
    return f"in the output of {found[0]}" if found else None


@contextmanager
def _widened(parameters: Sequence[Parameter]) -> Iterator[None]:
    """Within the block, these parameters are float32."""
    before = [(parameter.value, parameter.grad) for parameter in parameters]
    try:
        for parameter, (value, grad) in zip(parameters, before, strict=True):
            parameter.bind(kernels.wide(value), grad)
        yield
    finally:
        for parameter, (value, grad) in zip(parameters, before, strict=True):
            parameter.bind(value, grad)


@contextmanager
def _watched(model: Layer) -> Iterator[list[str]]:
    """Within the block, list every innermost layer that turns finite input into NaN or infinity."""
    found: list[str] = []

    def watching(layer: Layer, forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(x: np.ndarray, mode: Mode) -> tuple[np.ndarray, Any]:
            y, saved = forward(x, mode)
            if not kernels.array_module(y).isfinite(y).all():
                found.append(layer.describe())
            return y, saved

        return watched

    innermost = [layer for _, layer in model.walk() if not any(True for _ in layer.children())]
    try:
        for layer in innermost:
            layer.__dict__["forward"] = watching(layer, layer.forward)
        yield found
    finally:
        for layer in innermost:
            layer.__dict__.pop("forward", None)
