"""What a loss is: one number for each sample, and its gradient."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minidl import kernels
from minidl.errors import InputError, ShapeError
from minidl.kernels.contracts.types import DOUBLE, SINGLE, floats, no_array
from minidl.nn.parameters import Array, Shape
from minidl.reprs import brief


class Loss:
    """The base of every loss.

    A loss gives each sample one number (the mean over any axes between the
    batch's and the last), and leaves the mean over the batch to its caller: who
    sees a slice of a batch passes ``dlosses = 1 / global batch size``, and the
    gradients of all slices add up to that of the mean.
    """

    __repr__ = brief

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        """The losses, of shape (N,), and what `backward` will need."""
        raise TypeError(f"{type(self).__name__} defines no forward")

    def backward(self, dlosses: Array, saved: Any) -> Array:
        """The gradient of the network's outputs.

        Parameters
        ----------
        dlosses
            Gradient by each sample's loss, of shape (N,).
        saved
            What the forward pass of the same samples returned.
        """
        raise TypeError(f"{type(self).__name__} defines no backward")

    def metrics(self, outputs: Array, targets: Array) -> dict[str, Array]:
        """What else is worth watching: by name, one number for each sample, of shape (N,)."""
        return {}

    def taken(self, outputs_shape: Shape, targets: np.ndarray) -> np.ndarray:
        """A data set's targets as `forward` takes them, where there is one way to read them.

        Parameters as for `check`, which is asked afterwards.
        """
        return targets

    def check(self, outputs_shape: Shape, targets: np.ndarray) -> None:
        """See, before training, that a data set's targets fit.

        Parameters
        ----------
        outputs_shape
            The shape of the network's output for one sample.
        targets
            All targets, axis 0 being the samples.

        Raises
        ------
        InputError
            If their type or their values do not fit the loss.
        ShapeError
            If their shape does not fit the output.
        """


class ElementwiseLoss(Loss):
    """The base of losses that compare each output with a target of its own, both (N, ...)."""

    def alike(self, outputs: Array, targets: Array) -> Array:
        """A batch's targets, of the outputs' shape, as an array of their type and device."""
        expect_outputs(self, outputs)
        expect_targets(self, targets, outputs.shape)
        if targets.dtype.kind not in "fiub":
            raise InputError(
                f"{type(self).__name__}: targets must be real numbers, not of type {targets.dtype}"
            )
        return kernels.array_module(outputs).asarray(targets, dtype=outputs.dtype)

    def taken(self, outputs_shape: Shape, targets: np.ndarray) -> np.ndarray:
        one_each = tuple(outputs_shape) == (1,) and targets.ndim == 1
        return targets[:, None] if one_each else targets

    def check(self, outputs_shape: Shape, targets: np.ndarray) -> None:
        name = type(self).__name__
        if targets.shape[1:] != tuple(outputs_shape):
            raise ShapeError(
                f"{name}: the network's outputs have shape {tuple(outputs_shape)} for each sample, "
                f"the targets {targets.shape[1:]}; they must be equal"
            )
        if targets.dtype.kind not in "fiub":
            raise InputError(f"{name}: targets must be real numbers, not of type {targets.dtype}")
        if not np.isfinite(targets).all():
            raise InputError(f"{name}: targets must be finite; some are NaN or infinite")


def expect_outputs(loss: Loss, outputs: Array, axes: int = 1) -> None:
    """Raise an InputError unless outputs are floats, on so many axes at least."""
    try:
        dtype = outputs.dtype
    except AttributeError:
        raise no_array(outputs, taker=type(loss).__name__) from None
    if dtype is not SINGLE and dtype is not DOUBLE:
        floats(outputs)
    if outputs.ndim < axes:
        wanted = "(N, ...)" if axes == 1 else "(N, ..., C)"
        raise ShapeError(
            f"{type(loss).__name__} takes outputs {wanted}, not of shape {outputs.shape}"
        )


def expect_targets(loss: Loss, targets: Array, shape: tuple[int, ...]) -> None:
    """Raise an InputError unless a batch of targets is an array of this shape.

    Nothing is broadcast.
    """
    if not hasattr(targets, "dtype"):
        raise no_array(targets, taker=type(loss).__name__)
    if targets.shape != tuple(shape):
        raise ShapeError(
            f"{type(loss).__name__}: targets must have shape {tuple(shape)} for these outputs, "
            f"not {targets.shape}"
        )


def mean_per_sample(values: Array) -> Array:
    """(N, ...) to (N,); of a sample without values, 0."""
    count = prod(values.shape[1:])
    values = values.reshape(len(values), count)
    if values.dtype.kind == "f":  # divided first: their mean is finite where their sum is not
        return (values / max(1, count)).sum(axis=1)
    return values.sum(axis=1) / max(1, count)


def share_per_sample(dlosses: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of `mean_per_sample` by each value of (N, ...), with axes of 1 to broadcast.

    Raises
    ------
    InputError
        If `dlosses` are no floats.
    ShapeError
        If they are not one number for each of the N samples.
    """
    floats(dlosses)
    if dlosses.shape != tuple(shape[:1]):
        raise ShapeError(
            f"the gradient by the losses must have shape {tuple(shape[:1])}, a number for each "
            f"sample of the forward pass, not {dlosses.shape}"
        )
    share = dlosses / max(1, prod(shape[1:]))
    return share.reshape(len(dlosses), *[1] * (len(shape) - 1))
