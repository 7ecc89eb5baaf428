"""Layers one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

from minidl.checks import checked
from minidl.errors import InputError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


@checked
class Sequential(Layer):
    """The layers given, each fed with the output of the one before.

    They are named by their place, so that the parameters are ``"0.weight"``,
    ``"0.bias"``, ``"2.weight"`` and so on. ``network[2:5]`` is a `Sequential` of the
    same layers, not copies, under the names that they have in `network`.
    ``network[2] = layer`` replaces one, ``del network[2]`` removes it, and
    ``network.layers = ...`` replaces all of them.

    Parameters
    ----------
    *layers
        Any number, also none, which gives the identity.
    names
        Other names than the places, one for each layer; different layers need different ones.

    Raises
    ------
    InputError
        If one of them is no layer, or the names do not fit.
    """

    def __init__(self, *layers: Layer, names: Sequence[str] | None = None) -> None:
        self._arrange(layers, None if names is None else tuple(map(str, names)))

    _layers: tuple[Layer, ...] = ()
    _names: tuple[str, ...] | None = None

    def _arrange(self, layers: Iterable[Layer], names: tuple[str, ...] | None) -> None:
        layers = tuple(layers)
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise InputError(
                    f"Sequential: argument {position} must be a layer, such as nn.Linear(10), "
                    f"not {layer!r}"
                )
        if names is not None and len(names) != len(layers):
            raise InputError(
                f"Sequential: {len(layers)} layers need as many names, not {len(names)}"
            )
        owner = dict(zip(names or (), layers, strict=False))
        if names is not None and any(owner[n] is not layers[at] for at, n in enumerate(names)):
            raise InputError(f"Sequential: two layers have one name: {names}")
        self._layers, self._names = layers, names

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in their order; other ones can be put in their place."""
        return self._layers

    @layers.setter
    def layers(self, layers: Iterable[Layer]) -> None:
        self._arrange(layers, self._names)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each layer."""
        return tuple(map(str, range(len(self._layers)))) if self._names is None else self._names

    @names.setter
    def names(self, names: Sequence[str]) -> None:
        self._arrange(self._layers, tuple(map(str, names)))

    def children(self) -> Iterator[tuple[str, Layer]]:
        return zip(self.names, self.layers, strict=True)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, place: int) -> Layer: ...
    @overload
    def __getitem__(self, place: slice) -> Sequential: ...
    def __getitem__(self, place: int | slice) -> Layer:
        if not isinstance(place, slice):
            return self.layers[place]
        part = Sequential(*self.layers[place], names=self.names[place])
        part.__dict__["_path"] = self.path
        return part

    def __setitem__(self, place: int, layer: Layer) -> None:
        layers = list(self.layers)
        layers[place] = layer
        self.layers = tuple(layers)

    def __delitem__(self, place: int | slice) -> None:
        layers, names = list(self.layers), None if self._names is None else list(self._names)
        for each in (layers, names):
            if each is not None:
                del each[place]
        self._arrange(layers, None if names is None else tuple(names))

    @property
    def takes_integers(self) -> bool:
        """Whether the first layer does."""
        return bool(self.layers and self.layers[0].takes_integers)

    def check_integers(self, x: Array) -> None:
        if self.layers:
            self.layers[0].check_integers(x)

    def build(self, shape: Shape) -> Shape:
        for layer in self.layers:
            shape = layer.build(shape)
        return shape

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        saved = _Saved(mode.pause)
        for layer in self.layers:
            saved.pause()
            x, kept = layer.forward(x, mode)
            saved.append(kept)
        return x, saved if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        for layer, kept in zip(reversed(self.layers), reversed(saved), strict=True):
            saved.pause()
            dy = layer.backward(dy, kept)
        return dy

    def accumulate(self, dy: Array, saved: Any) -> None:
        first = next((i for i, layer in enumerate(self.layers) if layer.learns), None)
        if first is not None:
            for place in range(len(self) - 1, first, -1):
                saved.pause()
                dy = self.layers[place].backward(dy, saved[place])
            saved.pause()
            self.layers[first].accumulate(dy, saved[first])


class _Saved(list[Any]):
    """What each layer keeps, and what to call between them."""

    def __init__(self, pause: Callable[[], None] | None) -> None:
        super().__init__()
        self._pause = pause

    def pause(self) -> None:
        """Give whoever wants it a chance to stop."""
        if self._pause is not None:
            self._pause()
