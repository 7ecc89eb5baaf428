"""What PyTorch calls the parameters of a layer, and how it lays them out; a rule for each kind.

A rule gives views of the parameters, turned to PyTorch's layout. Reading one exports the
parameter, writing into it imports it, so there are no two halves to keep in step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from minidl import kernels
from minidl.errors import InputError
from minidl.nn.activations import PReLU
from minidl.nn.batch_norm import BatchNorm
from minidl.nn.conv2d import Conv2d
from minidl.nn.conv_transpose2d import ConvTranspose2d
from minidl.nn.embedding import Embedding
from minidl.nn.group_norm import GroupNorm
from minidl.nn.layer import Layer
from minidl.nn.layer_norm import LayerNorm, RMSNorm
from minidl.nn.linear import Linear
from minidl.nn.parameters import Array, Parameter, Shape
from minidl.nn.recurrent import Recurrent
from minidl.nn.recurrent.cell import Cell
from minidl.nn.recurrent.gru import GRUCell
from minidl.reprs import brief


@dataclass(frozen=True)
class Tensor:
    """One tensor of PyTorch's, and what it is to a layer here.

    Parameters
    ----------
    value
        What an export writes.
    write
        Takes an array of the same shape and lets the layer have it.
    needed
        Whether an import must find it.
    """

    value: Array
    write: Callable[[Array], None]
    needed: bool = True

    __repr__ = brief


def overwriting(view: Array, shape: Shape | None = None) -> Tensor:
    """The tensor that is read from a view of a parameter, and written into it.

    Parameters
    ----------
    view
        With its axes in PyTorch's order.
    shape
        PyTorch's, if it has some of these axes in one.
    """

    def write(tensor: Array) -> None:
        view[...] = tensor.reshape(view.shape)

    return Tensor(view.reshape(shape or view.shape), write)


@singledispatch
def pytorch_tensors(layer: Layer, given: Shape | None, made: Shape | None) -> dict[str, Tensor]:
    """What PyTorch's layer of this kind holds, by PyTorch's names, in its order.

    A layer of your own is taught by ``pytorch_tensors.register``.

    Parameters
    ----------
    layer
        Initialised, and not made of other layers.
    given
        The shape (H, W, C) of the image, or (T, C) of the signal, of which the vector is
        made that comes in; None if of none. PyTorch holds such a vector channels first.
    made
        The same for the vector that goes out.

    Raises
    ------
    InputError
        If it has parameters and there is no rule for it.
    """
    if any(isinstance(attribute, Parameter) for attribute in vars(layer).values()):
        kind = type(layer).__name__
        raise InputError(
            f"there is no rule for what PyTorch calls the parameters of {layer.describe()}; "
            f"give one with nn.pytorch_tensors.register({kind})"
        )
    return {}


@pytorch_tensors.register
def _(layer: Linear, given: Shape | None, made: Shape | None) -> dict[str, Tensor]:
    w = layer.weight.value
    given, made = given or w.shape[:1], made or w.shape[1:]
    axes = range(len(given) + len(made))
    order = (*_last_first(axes[len(given) :]), *_last_first(axes[: len(given)]))
    found = {"weight": overwriting(w.reshape(*given, *made).transpose(order), w.shape[::-1])}
    return found | ({"bias": _vector(layer.bias, made)} if layer.has_bias else {})


@pytorch_tensors.register
def _(layer: Conv2d, given: Shape | None, made: Shape | None) -> dict[str, Tensor]:
    w = layer.weight.value
    found = {"weight": overwriting(w.transpose(-1, -2, *range(w.ndim - 2)))}
    return found | ({"bias": overwriting(layer.bias.value)} if layer.has_bias else {})


@pytorch_tensors.register
def _(layer: ConvTranspose2d, given: Shape | None, made: Shape | None) -> dict[str, Tensor]:
    found = {"weight": overwriting(layer.weight.value.transpose(2, 3, 0, 1))}
    return found | ({"bias": overwriting(layer.bias.value)} if layer.has_bias else {})


@pytorch_tensors.register(LayerNorm)
@pytorch_tensors.register(GroupNorm)
def _(layer: LayerNorm | GroupNorm, given: Shape | None, made: Shape | None) -> dict[str, Tensor]:
    return {"weight": _vector(layer.gamma, given), "bias": _vector(layer.beta, given)}


@pytorch_tensors.register
def _(layer: RMSNorm, given: Shape | None, made: Shape | None) -> dict[str, Tensor]:
    return {"weight": _vector(layer.gamma, given)}


@pytorch_tensors.register
def _(layer: PReLU, given: Shape | None, made: Shape | None) -> dict[str, Tensor]:
    return {"weight": _vector(layer.weight, given if layer.per_channel else None)}


@pytorch_tensors.register
def _(layer: BatchNorm, given: Shape | None, made: Shape | None) -> dict[str, Tensor]:
    return {
        "weight": _vector(layer.gamma, given),
        "bias": _vector(layer.beta, given),
        "running_mean": _vector(layer.mean, given),
        "running_var": _vector(layer.variance, given),
        # PyTorch reads it only for a BatchNorm without momentum, of which there is none here.
        "num_batches_tracked": Tensor(np.zeros((), np.int64), lambda _: None, needed=False),
    }


@pytorch_tensors.register
def _(layer: Embedding, given: Shape | None, made: Shape | None) -> dict[str, Tensor]:
    return {"weight": overwriting(layer.weight.value)}


@pytorch_tensors.register
def _(layer: Recurrent, given: Shape | None, made: Shape | None) -> dict[str, Tensor]:
    found = {}
    for name, cell in layer.cells.items():
        found[f"weight_ih_l{name}"] = overwriting(cell.weight.value.T)
        found[f"weight_hh_l{name}"] = overwriting(cell.recurrent.value.T)
        found[f"bias_ih_l{name}"] = overwriting(cell.bias.value)
        found[f"bias_hh_l{name}"] = _second_bias(cell)
    return found


def _second_bias(cell: Cell) -> Tensor:
    """What is added to `bias`, which an import has written just before.

    PyTorch has two biases everywhere, whose sum is what counts. Only the last third of a
    GRU's, which is multiplied by a gate, stands for itself.
    """
    bias = cell.bias.value
    alone = cell.candidate_bias.value if isinstance(cell, GRUCell) else bias[:0]
    summed = len(bias) - len(alone)
    value = kernels.array_module(bias).zeros_like(bias)
    value[summed:] = alone

    def write(tensor: Array) -> None:
        bias[:summed] += tensor[:summed]
        alone[...] = tensor[summed:]

    return Tensor(value, write)


def _vector(parameter: Parameter, image: Shape | None) -> Tensor:
    axes = range(len(image or parameter.shape))
    view = parameter.value.reshape(image or parameter.shape).transpose(_last_first(axes))
    return overwriting(view, parameter.shape)


def _last_first(axes: range) -> tuple[int, ...]:
    return axes[-1], *axes[:-1]
