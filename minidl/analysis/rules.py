"""What one layer costs and how it moves receptive fields; a rule for each kind of layer.

A layer of your own is taught by ``multiply_adds.register`` and ``sight.register``,
which are `functools.singledispatch`. Without a rule, a layer that keeps the shape and has
nothing to learn is taken for a function of each position alone, which costs nothing.
"""

from __future__ import annotations

from functools import singledispatch

from minidl import nn
from minidl.analysis.receptive_field import Sight
from minidl.errors import InputError
from minidl.nn.parameters import Shape
from minidl.nn.pooling import GlobalPool2d, Pool2d
from minidl.nn.windows import around


@singledispatch
def multiply_adds(layer: nn.Layer, given: Shape, made: Shape) -> int:
    """Multiplications, each with an addition, that one sample costs in a forward pass.

    As is usual, only products with weights count: additions of biases,
    normalisation (which evaluation can fold into the weights before it), pooling
    and activations are nothing beside them.

    Parameters
    ----------
    layer
        Built, and not made of other layers.
    given
        The shape of one sample as the layer is given it.
    made
        The shape of one sample as it comes out of the layer.

    Raises
    ------
    InputError
        If it has parameters and there is no rule for it.
    """
    if any(parameter.has_gradient for parameter in layer.parameters().values()):
        raise _no_rule("multiply_adds", layer)
    return 0


@multiply_adds.register
def _(layer: nn.Linear, given: Shape, made: Shape) -> int:
    return _positions(made) * layer.weight.size


@multiply_adds.register
def _(layer: nn.Conv2d, given: Shape, made: Shape) -> int:
    return _positions(made) * layer.weight.size


@multiply_adds.register
def _(layer: nn.ConvTranspose2d, given: Shape, made: Shape) -> int:
    return _positions(given) * layer.weight.size  # each input pixel goes into a whole window


@multiply_adds.register
def _(layer: nn.Recurrent, given: Shape, made: Shape) -> int:
    steps = given[0]
    return steps * sum(cell.weight.size + cell.recurrent.size for cell in layer.cells.values())


@multiply_adds.register(nn.BatchNorm)
@multiply_adds.register(nn.LayerNorm)
@multiply_adds.register(nn.GroupNorm)
@multiply_adds.register(nn.RMSNorm)
@multiply_adds.register(nn.PReLU)
@multiply_adds.register(nn.Embedding)  # a row is looked up, nothing is multiplied
def _(layer: nn.Layer, given: Shape, made: Shape) -> int:
    return 0


def _positions(made: Shape) -> int:
    """How often the whole weight is applied."""
    count = 1
    for size in made[:-1]:
        count *= size
    return count


@singledispatch
def sight(layer: nn.Layer, seen: Sight, given: Shape, made: Shape) -> Sight:
    """The receptive fields behind a layer, from those before it.

    In evaluation, that is: in training, batch normalisation lets every position
    see the whole image.

    Parameters
    ----------
    layer
        Not made of other layers.
    seen
        The fields of the positions that it is given.
    given
        The shape of one sample as the layer is given it.
    made
        The shape of one sample as it comes out of the layer.

    Raises
    ------
    InputError
        If it changes the shape of an image and there is no rule for it.
    """
    if seen is not None and given[:2] != made[:2]:
        raise _no_rule("sight", layer)
    return seen


@sight.register
def _(layer: nn.Conv2d, seen: Sight, given: Shape, made: Shape) -> Sight:
    if seen is None:
        return None
    window = (layer.kernel_size, layer.stride)
    before, _ = around(layer.padding, given, *window, layer.dilation)
    windows = zip(seen, *window, before, layer.dilation, strict=True)
    down, across = (field.behind_window(*window) for field, *window in windows)
    return down, across


@sight.register
def _(layer: Pool2d, seen: Sight, given: Shape, made: Shape) -> Sight:
    if seen is None:
        return None
    before, _ = around(layer.padding, given, layer.size, layer.stride)
    windows = zip(seen, layer.size, layer.stride, before, strict=True)
    down, across = (field.behind_window(*window) for field, *window in windows)
    return down, across


@sight.register
def _(layer: nn.Pad2d, seen: Sight, given: Shape, made: Shape) -> Sight:
    if seen is None:
        return None
    starts = (before for before, _ in layer.padding)
    down, across = (field.behind_window(1, 1, by) for field, by in zip(seen, starts, strict=True))
    return down, across


@sight.register
def _(layer: nn.PadChannels, seen: Sight, given: Shape, made: Shape) -> Sight:
    if seen is None:
        return None
    down, across = (field.behind_window(1, layer.stride, 0) for field in seen)
    return down, across


@sight.register
def _(layer: nn.FitImage, seen: Sight, given: Shape, made: Shape) -> Sight:
    if seen is None:
        return None
    factor, top, left = layer.placement(given)
    down, across = seen
    return down.enlarged(factor, top), across.enlarged(factor, left)


@sight.register(nn.Flatten)
@sight.register(nn.Reshape)
@sight.register(nn.Upsample)  # neighbours may be copies of one position: no single step joins them
@sight.register(nn.ConvTranspose2d)  # nor here, where they may see as many positions or fewer
@sight.register(GlobalPool2d)
def _(layer: nn.Layer, seen: Sight, given: Shape, made: Shape) -> Sight:
    return None


def _no_rule(name: str, layer: nn.Layer) -> InputError:
    kind = type(layer).__name__
    return InputError(
        f"the analysis has no rule for {layer.describe()}; "
        f"teach it one with analysis.{name}.register({kind})"
    )
