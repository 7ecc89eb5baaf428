"""Where vectors are flattened images, which PyTorch holds in another order.

An image here is (H, W, C) and there (C, H, W), and so are the vectors that it is flattened
to. A layer that weighs such a vector therefore has its weights in another order too: the
first Linear behind a `Flatten`, or the last one before a `Reshape`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from minidl.errors import InputError
from minidl.nn.batch_norm import BatchNorm
from minidl.nn.flatten import Flatten
from minidl.nn.layer import Layer
from minidl.nn.layer_norm import LayerNorm
from minidl.nn.linear import Linear
from minidl.nn.parameters import Parameter, Shape
from minidl.nn.recurrent import Recurrent
from minidl.nn.reshape import Reshape
from minidl.nn.sequential import Sequential

Place = tuple[str, Layer, Shape | None, Shape | None]
"""A layer's dotted name, the layer, and the images that its input and its output are."""


def places(model: Layer) -> Iterator[Place]:
    """All layers that are not made of others, in the order of their definition, each once.

    Raises
    ------
    InputError
        If a flattened image goes where its order cannot be followed.
    """
    seen: set[int] = set()
    for place in _within(model, ""):
        if id(place[1]) not in seen:
            seen.add(id(place[1]))
            yield place


def _within(model: Layer, path: str) -> Iterator[Place]:
    """`places` of a layer and of all below it."""
    chain = list(_chain(model, path))
    images = _images([layer for _, layer in chain])
    if path and (images[0] or images[-1]):
        raise _lost(model, f"begins or ends with a flattened image {images[0] or images[-1]}")
    for (name, layer), (given, made) in zip(chain, pairwise(images), strict=True):
        if _composite(layer):
            for part, child in layer.children():
                yield from _within(child, _below(name, part))
        else:
            yield name, layer, given, made


def _chain(layer: Layer, path: str) -> Iterator[tuple[str, Layer]]:
    """The layers of a Sequential, and of those within it, one after another."""
    if isinstance(layer, Sequential):
        for part, child in layer.children():
            yield from _chain(child, _below(path, part))
    else:
        yield path, layer


def _images(chain: list[Layer]) -> list[Shape | None]:
    """Before each layer and behind the last: of which image a vector is made, if of one."""
    images: list[Shape | None] = [None] * (len(chain) + 1)
    for here, layer in enumerate(chain):
        images[here + 1] = _flattened(layer) or (images[here] if _keeps_order(layer) else None)
    for here, layer in reversed(list(enumerate(chain))):
        known, behind = images[here], images[here + 1]
        wanted = _unfolded(layer) or (behind if _keeps_order(layer) else None)
        if known and wanted and known != wanted:
            raise _lost(layer, f"takes a flattened image {known} for one of shape {wanted}")
        images[here] = known or wanted
        if images[here] and not (wanted or _keeps_order(layer) or isinstance(layer, Linear)):
            raise _lost(layer, f"is given a flattened image {known}")
        if behind and not (_flattened(layer) or _keeps_order(layer) or isinstance(layer, Linear)):
            raise _lost(layer, f"makes what becomes an image {behind}")
    return images


def _flattened(layer: Layer) -> Shape | None:
    """The image of which this layer makes a vector."""
    if not isinstance(layer, Flatten | Reshape) or not (image := _image(layer.given)):
        return None
    if isinstance(layer, Reshape) and len(layer.shape) > 1:
        raise _lost(layer, f"mixes the axes of an image {image}")
    return image


def _unfolded(layer: Layer) -> Shape | None:
    """The image that this layer makes of a vector."""
    return _image(layer.shape) if isinstance(layer, Reshape) else None


def _image(shape: Shape) -> Shape | None:
    """The shape if it is that of an image whose order matters."""
    return shape if len(shape) == 3 and shape[2] > 1 and shape[0] * shape[1] > 1 else None


def _keeps_order(layer: Layer) -> bool:
    if isinstance(layer, Flatten | Reshape):
        return len(layer.given) == 1 and isinstance(layer, Flatten)
    own = any(isinstance(attribute, Parameter) for attribute in vars(layer).values())
    return isinstance(layer, BatchNorm | LayerNorm) or not (own or any(layer.children()))


def _lost(layer: Layer, what: str) -> InputError:
    return InputError(
        f"{layer.describe()} {what}, which PyTorch holds channels first, in another order; that "
        "can be followed only within a Sequential, through Linear, BatchNorm, LayerNorm and "
        "layers without parameters"
    )


def _composite(layer: Layer) -> bool:
    return any(layer.children()) and not isinstance(layer, Recurrent)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
