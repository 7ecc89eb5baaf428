"""Where vectors are flattened images, which PyTorch holds in another order.

An image here is (H, W, C) and there (C, H, W), and so are the vectors that it is flattened
to. A layer that weighs such a vector therefore has its weights in another order too: the
first Linear behind a `Flatten`, or the last one before a `Reshape`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import prod

from minidl.errors import InputError
from minidl.nn.activations import PReLU
from minidl.nn.batch_norm import BatchNorm
from minidl.nn.conv2d import Conv2d
from minidl.nn.conv_transpose2d import ConvTranspose2d
from minidl.nn.flatten import Flatten
from minidl.nn.group_norm import GroupNorm
from minidl.nn.layer import Layer
from minidl.nn.layer_norm import LayerNorm, RMSNorm
from minidl.nn.linear import Linear
from minidl.nn.parameters import Parameter, Shape
from minidl.nn.pooling import Pool1d
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
    sides = [_sides(layer, *firsts) for layer, firsts in zip(chain, _firsts(chain), strict=True)]
    for here, layer in enumerate(chain):
        flattened, _ = sides[here]
        images[here + 1] = flattened or (images[here] if _keeps_order(layer) else None)
    for here, layer in reversed(list(enumerate(chain))):
        known, behind, (flattened, made) = images[here], images[here + 1], sides[here]
        wanted = made or (behind if _keeps_order(layer) else None)
        if known and wanted and known != wanted:
            raise _lost(layer, f"takes a flattened image {known} for one of shape {wanted}")
        images[here] = known or wanted
        if images[here] and not (wanted or _keeps_order(layer) or isinstance(layer, Linear)):
            raise _lost(layer, f"is given a flattened image {known}")
        if behind and not (flattened or _keeps_order(layer) or isinstance(layer, Linear)):
            raise _lost(layer, f"makes what becomes an image {behind}")
    return images


def _firsts(chain: list[Layer]) -> Iterator[tuple[bool, bool]]:
    """Whether PyTorch has channels before positions on either side of each layer.

    Near a convolution or pooling, that is; elsewhere a sample (T, D) is a sequence, there as here.
    """
    first = [False] * (len(chain) + 1)
    for here, layer in enumerate(chain):
        first[here + 1] = _convolves(layer) or (first[here] and _keeps_axes(layer))
    for here, layer in reversed(list(enumerate(chain))):
        first[here] |= _convolves(layer) or (first[here + 1] and _keeps_axes(layer))
    return pairwise(first)


def _sides(
    layer: Layer, first_before: bool, first_behind: bool
) -> tuple[Shape | None, Shape | None]:
    """The image that a layer makes a vector of, and the one that it makes of a vector."""
    if not isinstance(layer, Flatten | Reshape):
        return None, None
    flattened = _image(layer.given, first_before)
    if isinstance(layer, Flatten):
        return flattened, None
    if flattened and len(layer.shape) > 1:
        raise _lost(layer, f"mixes the axes of an image {flattened}")
    return flattened, _image(layer.shape, first_behind)


def _image(shape: Shape, channels_first: bool) -> Shape | None:
    """The shape if it is that of an image, or of a signal, whose order matters."""
    image = len(shape) == 3 or (len(shape) == 2 and channels_first)
    return shape if image and shape[-1] > 1 and prod(shape[:-1]) > 1 else None


def _convolves(layer: Layer) -> bool:
    kinds = Conv2d | ConvTranspose2d | Pool1d
    return any(isinstance(part, kinds) for _, part in layer.walk())


def _keeps_axes(layer: Layer) -> bool:
    own = any(isinstance(attribute, Parameter) for attribute in vars(layer).values())
    return isinstance(layer, BatchNorm | GroupNorm | PReLU) or not (
        own or any(layer.children()) or isinstance(layer, Flatten | Reshape)
    )


def _keeps_order(layer: Layer) -> bool:
    if isinstance(layer, Flatten | Reshape):
        return len(layer.given) == 1 and isinstance(layer, Flatten)
    own = any(isinstance(attribute, Parameter) for attribute in vars(layer).values())
    known = BatchNorm | LayerNorm | RMSNorm | PReLU
    return isinstance(layer, known) or not (own or any(layer.children()))


def _lost(layer: Layer, what: str) -> InputError:
    return InputError(
        f"{layer.describe()} {what}, which PyTorch holds channels first, in another order; that "
        "can be followed only within a Sequential, through Linear, PReLU, BatchNorm, "
        "layers without parameters"
    )


def _composite(layer: Layer) -> bool:
    return any(layer.children()) and not isinstance(layer, Recurrent)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
